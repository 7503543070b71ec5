"""Models and tokenizers are known by what they hold, not by their names."""

import hashlib
import json
from pathlib import Path
from typing import Any

from memorization.store.files import fingerprint, read_json

# in the configuration of an adapter, what does not say how it computes
NAMES = ("base_model_name_or_path", "revision", "peft_version", "inference_mode", "auto_mapping")


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
    return (
        name.endswith(".safetensors") or name.startswith(("pytorch_model", "adapter_model")) and name.endswith(".bin")
    )


def is_model_file(name: str) -> bool:
    """Whether a file of a model's directory is of its weights, configuration or tokenizer."""
    index = name.endswith((".safetensors.index.json", "pytorch_model.bin.index.json"))
    vocabulary = name.startswith(("tokenizer", "vocab", "merges", "spiece", "special_tokens", "added_tokens"))
    configuration = name in ("config.json", "adapter_config.json")
    return is_weights(name) or index or vocabulary or configuration or name.endswith(".model")


def model_hashes(directory: str | Path) -> dict[str, str]:
    """Name -> SHA-256 of the files of weights, configuration and tokenizer in a directory, in order of their names."""
    files = sorted(path for path in Path(directory).iterdir() if path.is_file() and is_model_file(path.name))
    return {
        path.name: _adapter_hash(path) if path.name == "adapter_config.json" else fingerprint(path) for path in files
    }


def _adapter_hash(path):
    """The hash of what the configuration of an adapter says, but for names and versions."""
    config = read_json(path, dict)
    facts = {
        name: sorted(map(str, value)) if isinstance(value, list) else value  # the order of peft's sets is random
        for name, value in config.items()
        if name not in NAMES
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def model_fingerprint(directory: str | Path, hashes: dict[str, str] | None = None) -> str:
    """SHA-256 of the weights, configuration and tokenizer in a directory; not of checkpoints, logs, results.

    hashes: its model_hashes, where the caller has them.
    """
    digest = hashlib.sha256()
    for name, file in (hashes or model_hashes(directory)).items():
        digest.update(f"{name} {file}\n".encode())
    return digest.hexdigest()


def adapted_fingerprint(adapter: str, base: str) -> str:
    """SHA-256 of an adapter and its base model. adapter, base: the model_fingerprints of the two."""
    return hashlib.sha256(f"adapter {adapter} of {base}\n".encode()).hexdigest()
