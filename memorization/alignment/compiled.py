"""numba where it is installed; without it the same functions run as plain Python, slower."""

import hashlib
import os
import sys
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


HERE = Path(__file__).parent


def _compiler():
    """A decorator that compiles a function when first called, and keeps the machine code on disk.

    numba looks for changes in a function's own file only, not in those of the functions it calls: so the code is
    kept under the fingerprint of this whole directory.
    """
    if numba is None:
        return lambda function: function
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HERE.glob("*.py")))).hexdigest()[:16]
    event.register("numba:compile", _Told())  # which starts where the disk holds no machine code yet
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
