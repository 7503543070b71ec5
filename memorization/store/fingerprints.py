"""Models and tokenizers are known by what they hold, not by their names."""

import hashlib
import json
from pathlib import Path
from typing import Any

from memorization.store.files import fingerprint


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's vocabulary, its special tokens and the tokens of a text. transformers' tokenizer.

    Equal for two stages that may exchange token ids. The tokens of a text stand for its rules: a tokenizer that is
    saved and loaded again describes these in other words.
    """
    text = "Don't  stop: Ångström ate 3,141 naïve pies\n\tat 10:30 \U0001f967 日本語 <b>İSTANBUL</b>... x=1;"
    facts = [
        sorted(tokenizer.get_vocab().items()),
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer(text)["input_ids"],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def is_weights(name: str) -> bool:
    """Whether a file of a model's directory holds weights."""
    return name.endswith(".safetensors") or name.startswith("pytorch_model") and name.endswith(".bin")


def is_model_file(name: str) -> bool:
    """Whether a file of a model's directory is of its weights, configuration or tokenizer."""
    index = name.endswith((".safetensors.index.json", "pytorch_model.bin.index.json"))
    vocabulary = name.startswith(("tokenizer", "vocab", "merges", "spiece", "special_tokens", "added_tokens"))
    return is_weights(name) or index or vocabulary or name == "config.json" or name.endswith(".model")


def model_hashes(directory: str | Path) -> dict[str, str]:
    """Name -> SHA-256 of the files of weights, configuration and tokenizer in a directory, in order of their names."""
    files = sorted(path for path in Path(directory).iterdir() if path.is_file() and is_model_file(path.name))
    return {path.name: fingerprint(path) for path in files}


def model_fingerprint(directory: str | Path, hashes: dict[str, str] | None = None) -> str:
    """SHA-256 of the weights, configuration and tokenizer in a directory; not of checkpoints, logs, results.

    hashes: its model_hashes, where the caller has them.
    """
    digest = hashlib.sha256()
    for name, file in (hashes or model_hashes(directory)).items():
        digest.update(f"{name} {file}\n".encode())
    return digest.hexdigest()
