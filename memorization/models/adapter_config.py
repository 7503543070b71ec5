"""Where an adapter of peft says of which base model it is."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

ADAPTER_CONFIG = "adapter_config.json"
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tekken.json")


def holds_adapter(name: str | Path) -> bool:
    """Whether a path is a directory that holds an adapter."""
    return Path(name, ADAPTER_CONFIG).is_file()


def adapter_config(directory: Path) -> dict[str, Any]:
    """The configuration of the adapter in a directory; empty if it cannot be read."""
    config = None
    with suppress(ValueError, OSError, RecursionError):
        config = json.loads((directory / ADAPTER_CONFIG).read_bytes())
    return config if isinstance(config, dict) else {}


def base_of(directory: Path) -> str | None:
    """The base model that the adapter in a directory names: a path or hub name. None if it names none.

    A relative path is taken from beside the adapter, else from within it, else from the working directory.
    """
    base = adapter_config(directory).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        return None
    for above in (directory.resolve().parent, directory):
        if (above / base).is_dir():
            return str(above / base)
    return base


def has_tokenizer(directory: Path) -> bool:
    """Whether a directory holds the vocabulary of a tokenizer."""
    return any((directory / name).is_file() for name in VOCABULARIES) or any(directory.glob("*.model"))
