"""A directory that one process at a time builds anew, aside, and that says what is in it: its mark."""

from contextlib import contextmanager

from memorization.cli import UserError
from memorization.files import beside, locked, read_json, recover, replacing, write_json

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
    if not path.exists() and beside(path)[1].exists():  # a killed build has moved it away
        with _locked(path):
            pass
    if not path.exists():
        return None
    return read_json(path / MARK) if (path / MARK).is_file() else {}


@contextmanager
def _locked(path):
    """Hold the lock of `path`, and clear what killed builds left."""
    with locked(path):
        recover(path)
        yield
