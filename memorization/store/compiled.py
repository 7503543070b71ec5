"""numba where it is installed; without it the same functions run as plain Python, slower."""

import hashlib
import os
import sys
from functools import cache
from pathlib import Path

from tqdm import tqdm

try:
    import numba
    from numba.core import event
except ImportError:
    numba = None
else:

    class _Told(event.Listener):
        """Says, once, what the first call waits for."""

        def on_start(self, _):
            if not self.said and os.environ.get("RANK", "0") == "0":
                tqdm.write("compiling, once; that takes half a minute at the most", file=sys.stderr)
            self.said = True

        def on_end(self, _):
            pass

        said = False


@cache
def _directory(package):
    """Where the machine code of a package's functions lies, by the fingerprint of its files.

    numba looks for changes in a function's own file only, not in those of the functions it calls: these are all of the
    same package.
    """
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(package.glob("*.py")))).hexdigest()[:16]
    return str(Path(numba.config.CACHE_DIR or package / "__pycache__") / f"numba-{sources}")


def compiled(function):
    """A function that is compiled when first called, its machine code kept on disk."""
    if numba is None:
        return function
    directory = _directory(Path(function.__code__.co_filename).parent)
    previous, numba.config.CACHE_DIR = numba.config.CACHE_DIR, directory
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # there is nowhere to keep it
        return numba.njit(nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = previous


if numba is not None:
    event.register("numba:compile", _Told())  # which starts where the disk holds no machine code yet
