"""A directory of ours: built beside its place, moved there whole, with a mark that names the files that we wrote.

The mark, memorization-<kind>.json in the directory, holds the SHA-256 of each file and a checksum of its own. A file
that is not in the mark, or differs from it, is somebody else's: a directory that holds one is never replaced.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from memorization.shell.cli import UserError
from memorization.store.files import fingerprint, read_json, recover, replacing, write_json
from memorization.store.manifests import identity


def mark_path(path: str | Path, kind: str) -> Path:
    """Where the mark of a directory of a kind lies."""
    return Path(path) / f"memorization-{kind}.json"


@contextmanager
def building(path: Path, kind: str, ours: Iterable[str] = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield an empty directory and the dict to fill for its mark; it takes the place of `path` if the block ends well.

    The mark is written last, with the hash of each file, `files`. ours: as of check_ours, which is called before and
    after the block. The caller holds the lock of `path`; what killed builds left is cleared first.
    """
    recover(path)
    check_ours(path, kind, ours)
    with replacing(path, directory=True) as directory:
        directory.mkdir()
        mark: dict[str, Any] = {}
        yield directory, mark
        files = sorted(file for file in directory.rglob("*") if file.is_file())
        mark["files"] = {file.relative_to(directory).as_posix(): fingerprint(file) for file in files}
        write_json(mark_path(directory, kind), mark | {"checksum": identity(mark)})
        check_ours(path, kind, ours)


def check_ours(path: Path, kind: str, ours: Iterable[str] = ()) -> None:
    """Raise UserError if `path` exists and is not a directory that holds only what we wrote. An empty one may go.

    ours: endings of names of files that nobody writes by hand: in a directory with a mark they are ours even if they
    have changed.
    """
    if not path.exists():
        return
    remedy = "name another directory, or move it away"
    if not path.is_dir():
        raise UserError(f"{path}: is no directory; {remedy}")
    if not (first := next(path.iterdir(), None)):
        return
    if not (mark := mark_path(path, kind)).is_file():
        raise UserError(f"{path}: holds {first.name}, and is no {kind} of ours; {remedy}")
    others = [name for name in _entries(path) if name != mark.name and not name.endswith(tuple(ours))]
    files = files_of(read_mark(path, kind)) if others else {}
    for name in others:
        if name not in files:
            raise UserError(f"{path}: holds {name}, which is not of the {kind} in it; {remedy}")
        if (path / name).is_symlink() or changed(path, {name: files[name]}):
            raise UserError(f"{path}: {name} has been changed since it was written; {remedy}")


def read_mark(path: str | Path, kind: str) -> Any:
    """The content of a directory's mark, {} where it has none. Raises UserError if it has changed."""
    mark = read_json(file) if (file := mark_path(path, kind)).is_file() else {}
    if isinstance(mark, dict) and "checksum" in mark and mark.pop("checksum") != identity(mark):
        raise UserError(f"{file}: has changed since it was written; make the {kind} anew, elsewhere if need be")
    return mark


def changed(path: Path, files: Mapping[str, str | None]) -> str | None:
    """The name of a file in the directory that has changed or is missing, or None. files: name -> its SHA-256."""
    for name, hash in files.items():
        file = path / name
        if ".." in Path(name).parts or not file.is_file() or fingerprint(file) != hash:
            return name
    return None


def files_of(mark: Any) -> dict[str, str]:
    """The files of a mark, name -> hash; {} for a mark that names none."""
    files = mark.get("files") if isinstance(mark, dict) else None
    return files if isinstance(files, dict) else {}


def _entries(directory: Path) -> Iterator[str]:
    """The names of all files in a directory and below it, and of the empty directories."""
    for path, directories, names in os.walk(directory, onerror=_raise):
        here = Path(path).relative_to(directory)
        links = [name for name in directories if (Path(path) / name).is_symlink()]
        yield from sorted((here / name).as_posix() for name in [*names, *links])
        if not (names or directories or here == Path()):
            yield here.as_posix()


def _raise(error: OSError) -> NoReturn:
    raise error
