"""What makes a result (design.md): identities."""

import hashlib
import json


def tokenizer_fingerprint(tokenizer):
    """SHA-256 of a tokenizer's vocabulary (token -> id): equal for two stages that may exchange token ids."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()
