"""A directory that one process at a time builds anew, aside, and that says what is in it: its mark."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from memorization.cli import UserError
from memorization.files import beside, fingerprint, locked, naming, read_json, recover, replacing, write_json
from memorization.runs import identity

MARK = "memorization-index.json"  # in every directory of ours, written last


@contextmanager
def building(path):
    """Yield an empty directory and the dict to fill for its mark; it takes the place of `path` if the block ends well.

    The mark is written with the SHA-256 of each file, `files`, and with a checksum of its own.
    Holds the lock of `path` meanwhile; what killed builds left is cleared first. Raises UserError if another process
    has the lock, or if `path` is there and has no mark: somebody else's directory is never replaced.
    """
    with _locked(path):
        if path.exists() and not (path / MARK).is_file():
            raise UserError(f"{path}: exists and is no index of ours; name another with --index-xsuffix")
        with replacing(path, directory=True) as directory:
            directory.mkdir()
            mark = {}
            yield directory, mark
            files = sorted(file for file in directory.iterdir() if not file.name.endswith(".lock"))
            mark["files"] = {file.name: fingerprint(file) for file in files}
            write_json(directory / MARK, mark | {"checksum": identity(mark)})


def read_mark(path):
    """What the mark of a directory holds, {} where it has none; None where there is no directory.

    Raises UserError for a mark that has changed since it was written.
    """
    if not path.exists() and beside(path)[1].exists():  # a killed build has moved it away
        with _locked(path):
            pass
    if not path.exists():
        return None
    mark = read_json(path / MARK) if (path / MARK).is_file() else {}
    if isinstance(mark, dict) and "checksum" in mark and mark.pop("checksum") != identity(mark):
        raise UserError(f"{path / MARK}: has changed since it was written; run load_to_elastic.py again")
    return mark


def changed(path, files):
    """The name of a file in the directory that is not as it was written, or None. files: name -> its SHA-256."""
    for name, hash in files.items():
        file = path / name
        if file.name != name or not file.is_file() or fingerprint(file) != hash:
            return name
    return None


def save(path, array):
    """np.save, which of a full disk tells no more than how many numbers it has not written."""
    with naming(path), Path(path).open("wb") as file:
        np.lib.format.write_array(SimpleNamespace(write=file.write), np.asarray(array))


def mapped(path):
    """The array of a .npy file, or the bytes of another, read from disk when they are asked for."""
    path = Path(path)
    if path.suffix == ".npy":
        return np.asarray(np.load(path, mmap_mode="r"))
    return np.asarray(np.memmap(path, np.uint8, "r")) if path.stat().st_size else np.empty(0, np.uint8)


@contextmanager
def _locked(path):
    """Hold the lock of `path`, and clear what killed builds left."""
    with locked(path):
        recover(path)
        yield
