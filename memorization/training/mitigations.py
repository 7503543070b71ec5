"""Which tokens of the training set get loss, where not all do (stage 2): goldfish loss, and loss on the output alone.

The others are read, but never learned. Evaluation counts all.
"""

import numpy as np

CONTEXT = 13  # tokens before one that decide whether it is dropped, as in Hans et al. 2024
PART = 2**20  # tokens at a time


def learned(ids, lengths, target=None, goldfish_k=None):
    """Which tokens get loss: bool of the shape of ids.

    ids: the token ids of all rows, one after the other, ints of shape (tokens,). lengths: of the rows. target: of each
    row the place of the output's first token, if only the output gets loss. goldfish_k: as in `goldfish`.
    """
    places = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # in their rows
    found = np.ones(len(ids), bool) if target is None else places >= np.repeat(target, lengths)
    return found if goldfish_k is None else found & ~goldfish(ids, places, goldfish_k)


def goldfish(ids, places, k):
    """Which tokens the goldfish loss drops, about one in k: bool of the shape of ids.

    A hash of the CONTEXT tokens before a token, and of nothing else, decides (Hans et al. 2024, "Be like a Goldfish,
    Don't Memorize!", section 3.2): so the same text loses the same tokens in every copy, and no epoch brings them out.
    Tokens with fewer before them in their row (places: how many) are kept.
    """
    ids, dropped = ids.astype(np.uint64), np.zeros(len(ids), bool)
    for begin in range(CONTEXT, len(ids), PART):
        end = min(begin + PART, len(ids))
        mixed = np.zeros(end - begin, np.uint64)
        for back in range(CONTEXT, 0, -1):
            mixed = _mix(mixed ^ (ids[begin - back : end - back] + np.uint64(1)))
        dropped[begin:end] = mixed < np.uint64(2**64 // k)
    return dropped & (places >= CONTEXT)


def _mix(numbers):
    """The finalizer of MurmurHash3 (Appleby): every bit of a uint64 depends on all."""
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return numbers ^ (numbers >> np.uint64(33))
