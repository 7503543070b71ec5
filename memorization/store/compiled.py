"""numba where it is installed; without it the same functions run as plain Python, slower."""

import hashlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from tqdm import tqdm

try:
    import numba
    from numba.core import event
except ImportError:
    numba = None  # type: ignore[assignment]  # a module where it is installed
else:

    class _CompilingNotice(event.Listener):
        """Says, once, what the first call waits for."""

        def on_start(self, _: Any) -> None:
            if not self.printed and os.environ.get("RANK", "0") == "0":
                tqdm.write("compiling, once; that takes half a minute at the most", file=sys.stderr)
            self.printed = True

        def on_end(self, _: Any) -> None:
            pass

        printed = False


@cache
def _directory(package: Path) -> str:
    """Where the machine code of a package's functions lies, by the fingerprint of its files.

    numba looks for changes in a function's own file only, not in those of the functions that it calls. These are all
    in the same package.
    """
    sources = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(package.glob("*.py")))).hexdigest()[:16]
    config: Any = numba.config
    return str(Path(config.CACHE_DIR or package / "__pycache__") / f"numba-{sources}")


def compiled(function: Any) -> Any:
    """The function, compiled when it is first called; its machine code is stored on disk."""
    if numba is None:
        return function
    config: Any = numba.config  # which sets its attributes as it is imported
    previous, config.CACHE_DIR = config.CACHE_DIR, _directory(Path(function.__code__.co_filename).parent)
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no directory to store it in
        return numba.njit(nogil=True)(function)
    finally:
        config.CACHE_DIR = previous


if numba is not None:
    event.register("numba:compile", _CompilingNotice())  # which starts where the disk holds no machine code yet
