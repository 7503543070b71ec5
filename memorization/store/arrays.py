"""Directories of arrays: built whole by one process at a time, with a mark, and mapped into memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from memorization.store import directories
from memorization.store.files import beside, locked, naming, recover

KIND, OURS = "index", (".npy", ".utf8", ".zlib")  # the mark's, and the endings of the files


@contextmanager
def building_arrays(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """As directories.building, under the lock of `path`. Damaged files of arrays may be replaced."""
    with locked(path), directories.building(path, KIND, OURS) as new:
        yield new


def read_arrays_mark(path: Path) -> Any:
    """The content of a directory's mark, {} where it has none; None where there is no directory.

    Raises UserError for a mark that has changed since it was written.
    """
    if not path.exists() and beside(path)[1].exists():  # a killed build has moved it away
        with locked(path):
            recover(path)
    return directories.read_mark(path, KIND) if path.exists() else None


def save(path: str | Path, array: Any) -> None:
    """As np.save, but an error of a full disk names the file."""
    with naming(path), Path(path).open("wb") as file:
        np.lib.format.write_array(SimpleNamespace(write=file.write), np.asarray(array))


def mapped(path: str | Path) -> np.ndarray:
    """The array of a .npy file, or the bytes of another, mapped into memory."""
    path = Path(path)
    if path.suffix == ".npy":
        return np.asarray(np.load(path, mmap_mode="r"))
    return np.asarray(np.memmap(path, np.uint8, "r")) if path.stat().st_size else np.empty(0, np.uint8)
