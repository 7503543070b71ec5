"""Measuring what a fine-tuned language model has memorized of its training data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memorization.auditing.api import audit, load_results

__all__ = ["audit", "load_results"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """audit and load_results, imported when they are first used: they need torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("memorization.auditing.api"), name)
