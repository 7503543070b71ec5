"""A directory that one process at a time builds anew, aside, and that says what is in it: its mark."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from memorization.store import directories
from memorization.store.files import beside, locked, naming, recover

KIND, OURS = "index", (".npy", ".utf8")  # the mark's, and the endings of the files


@contextmanager
def building(path):
    """As directories.building, under the lock of `path`.

    Files of an index that are damaged are ours all the same.
    """
    with locked(path), directories.building(path, KIND, OURS) as made:
        yield made


def read_mark(path):
    """What the mark of a directory holds, {} where it has none; None where there is no directory.

    Raises UserError for a mark that has changed since it was written.
    """
    if not path.exists() and beside(path)[1].exists():  # a killed build has moved it away
        with locked(path):
            recover(path)
    return directories.read_mark(path, KIND) if path.exists() else None


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
