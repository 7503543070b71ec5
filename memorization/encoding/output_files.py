"""Where stage 1 writes its results until they are whole, and which files they may replace."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memorization.encoding.canary_secrets import FILE_BEGINS
from memorization.encoding.kinds import OF_ENCODING
from memorization.encoding.probes import LISTING_BEGINS
from memorization.encoding.stored_sets import ROWS
from memorization.shell.cli import UserError
from memorization.store.files import locked, naming
from memorization.store.manifests import difference, identity, manifest_path, read_manifest


@contextmanager
def working_directory(result: Path) -> Iterator[Path]:
    """A temporary directory beside a result, under the result's lock. What a killed process left in it is removed."""
    work = result.with_name(f".{result.name}.memorization-work")
    with locked(result), naming(work):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def refuse_to_replace_others(paths: Mapping[str, Path]) -> None:
    """Raise UserError if this stage did not write what is at the path of a result.

    It recognizes its results by their manifest, or by their content where a kill among the last steps left none. A
    directory may also hold the caches of `datasets`, but nothing else.
    """
    files = {ROWS, "state.json", "dataset_info.json"}
    for path in paths.values():
        described = manifest_path(path).is_file()
        if not path.exists() or described and not path.is_dir():
            continue
        if path.is_dir():
            names = {file.name for file in path.iterdir() if not file.match("cache-*.arrow")}
            if described and (others := sorted(names - files)):
                raise UserError(
                    f"{path}: holds {others[0]}, which this stage has not written; move it away, or write elsewhere "
                    "(--name)"
                )
            ours = described or names == files
        else:
            with path.open("rb") as file:
                ours = file.readline().startswith((LISTING_BEGINS, FILE_BEGINS))
        if not ours:
            raise UserError(f"{path}: is there, and not a result of ours; move it away, or write elsewhere (--name)")


def refuse_to_replace_another(paths: Mapping[str, Path], made_of: dict[str, Any]) -> None:
    """Raise UserError if the results at these paths are of another encoding, naming what differs."""
    remedy = "replace it with --overwrite, or write elsewhere (--output-dir, --name)"
    for kind, path in paths.items():
        if not (path.exists() and manifest_path(path).is_file()):
            continue
        try:
            before = read_manifest(path, OF_ENCODING[kind]).made_of
        except UserError:
            raise UserError(f"{path}: was written by another version; {remedy}") from None
        if identity(before) != identity(made_of):
            raise UserError(f"{path}: is another encoding, with another {difference(before, made_of)}; {remedy}")
