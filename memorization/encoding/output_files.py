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
    """A directory beside a result for the time of the block, in which one process works on it at a time.

    What a killed process left there goes.
    """
    work = result.with_name(f".{result.name}.memorization-work")
    with locked(result), naming(work):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def refuse_to_replace_others(paths: Mapping[str, Path]) -> None:
    """Raise UserError if something lies in a result's place that this stage has not made.

    Its own it knows by the manifest, or, left without one by a kill among the last steps, by what it consists of. A
    directory may hold no more than that, and what `datasets` keeps there of computations.
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


def refuse_to_replace_another(paths: Mapping[str, Path], made_of: Mapping[str, Any]) -> None:
    """Raise UserError if an encoding of other making is in the results' place, naming what differs."""
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
