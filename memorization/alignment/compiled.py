"""numba where it is installed; without it the same functions run as plain Python, slower."""

try:
    import numba
except ImportError:
    numba = None


def compiled(function):
    """Compile `function` to machine code when first called, kept in __pycache__ (in memory where that is read-only)."""
    if numba is None:
        return function
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no directory to keep compiled code in
        return numba.njit(nogil=True)(function)
