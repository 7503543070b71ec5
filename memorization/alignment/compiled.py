"""numba where it is installed; without it the same functions run as plain Python, slower."""

import hashlib
from pathlib import Path

try:
    import numba
except ImportError:
    numba = None

HERE = Path(__file__).parent


def _compiler():
    """A decorator that compiles a function when first called, and keeps the machine code on disk.

    numba looks for changes in a function's own file only, not in those of the functions it calls: so the code is
    kept under the fingerprint of this whole directory.
    """
    if numba is None:
        return lambda function: function
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))).hexdigest()[:16]
    directory = Path(numba.config.CACHE_DIR or HERE / "__pycache__") / f"numba-{sources}"

    def compiled(function):
        previous, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(directory)
        try:
            return numba.njit(cache=True, nogil=True)(function)
        except RuntimeError:  # there is nowhere to keep it
            return numba.njit(nogil=True)(function)
        finally:
            numba.config.CACHE_DIR = previous

    return compiled


compiled = _compiler()
