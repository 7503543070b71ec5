"""How much of a suffix a generation reproduces, in tokens (Carlini et al. 2023; design: Terms)."""

import numpy as np


def matched_tokens(generation_ids, suffix_ids):
    """How many tokens of the generation agree with the suffix from the start, up to the first that differs."""
    length = min(len(generation_ids), len(suffix_ids))
    differ = np.asarray(generation_ids[:length]) != np.asarray(suffix_ids[:length])
    return int(differ.argmax()) if differ.any() else length


def exact_match(generation_ids, suffix_ids, new_tokens):
    """Whether the generation equals the suffix's first k tokens; k is its limit, or the suffix's length if shorter.

    A model that ends before it has reproduced them does not match (k-extractable; Carlini et al. 2023).
    """
    return matched_tokens(generation_ids, suffix_ids) == min(new_tokens, len(suffix_ids))
