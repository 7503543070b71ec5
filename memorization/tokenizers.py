"""Loading a tokenizer, and telling whether two stages use the same one."""

import hashlib
import json

from memorization.cli import UserError
from memorization.hub import load


def load_tokenizer(name):
    """The fast tokenizer at a path or hub name. Raises UserError if it cannot be loaded or has no end-of-text token."""
    from transformers import AutoTokenizer

    tokenizer = load(AutoTokenizer.from_pretrained, name, "a tokenizer")
    if not tokenizer.is_fast:
        raise UserError(f"{name}: not a fast tokenizer, which the character positions need; name one that is")
    if tokenizer.eos_token_id is None:
        raise UserError(f"{name}: the tokenizer has no end-of-text token; name one that has")
    return tokenizer


def tokenizer_fingerprint(tokenizer):
    """SHA-256 of a tokenizer's vocabulary (token -> id): equal for two stages that may exchange token ids."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()
