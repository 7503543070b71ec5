"""A directory that one process at a time builds anew, aside, and that says what is in it: its mark."""

import re
import shutil
from contextlib import contextmanager

from memorization.cli import UserError
from memorization.files import locked, read_json, replacing, write_json

MARK = "memorization-index.json"  # in every directory of ours, written last


@contextmanager
def building(path):
    """Yield an empty directory and the dict to fill for its mark; it takes the place of `path` if the block ends well.

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
            write_json(directory / MARK, mark)


def read_mark(path):
    """The mark of a directory, empty where it has none; None where there is no directory."""
    if not path.exists() and _left(path, "old"):
        with _locked(path):  # puts it back
            pass
    if not path.exists():
        return None
    mark = read_json(path / MARK) if (path / MARK).is_file() else None
    return mark if isinstance(mark, dict) else {}


@contextmanager
def _locked(path):
    """Hold the lock of `path`, clear what killed builds left, and put back a directory they moved away."""
    with locked(path):
        for old in _left(path, "old"):
            if path.exists():
                shutil.rmtree(old)
            else:
                old.rename(path)
        for unfinished in _left(path, "tmp"):
            shutil.rmtree(unfinished)
        yield


def _left(path, suffix):
    """What files.replacing, killed, left beside `path`: a new directory (tmp), or the one that was there (old)."""
    name = re.compile(rf"\.{re.escape(path.name)}\.\d+\.{suffix}")
    return [found for found in path.parent.glob(f".{path.name}.*") if name.fullmatch(found.name)]
