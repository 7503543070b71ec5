"""Which tokens of the training set get loss, where not all do: goldfish loss, and loss on the output only.

The others are read, but not learned. Evaluation counts all.
"""

import numpy as np

CONTEXT = 13  # tokens before one that decide whether it is dropped, as in Hans et al. 2024
PART = 2**20  # tokens at a time


def loss_mask(
    ids: np.ndarray, lengths: np.ndarray, output: np.ndarray | None = None, goldfish_k: int | None = None
) -> np.ndarray:
    """Which tokens get loss: bool of the shape of ids.

    ids: the token ids of all rows, concatenated, (tokens,). lengths: of the rows. output: which tokens are output, bool
    of the shape of ids, if only these get loss. goldfish_k: the k of goldfish_dropped().
    """
    mask = np.ones(len(ids), bool) if output is None else output
    if goldfish_k is None:
        return mask
    places = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)  # in their rows
    return mask & ~goldfish_dropped(ids, places, goldfish_k)


def goldfish_dropped(ids: np.ndarray, places: np.ndarray, k: int) -> np.ndarray:
    """Which tokens the goldfish loss drops, about one in k: bool of the shape of ids.

    A hash of the CONTEXT tokens before a token, and nothing else, decides (Hans et al. 2024, "Be like a Goldfish, Don't
    Memorize!", section 3.2): so the same text loses the same tokens in every copy and in every epoch. Tokens with fewer
    before them in their row (places: how many) are kept.
    """
    ids, dropped = ids.astype(np.uint64), np.zeros(len(ids), bool)
    for begin in range(CONTEXT, len(ids), PART):
        end = min(begin + PART, len(ids))
        hashes = np.zeros(end - begin, np.uint64)
        for back in range(CONTEXT, 0, -1):
            hashes = _mix(hashes ^ (ids[begin - back : end - back] + np.uint64(1)))
        dropped[begin:end] = hashes < np.uint64(2**64 // k)
    return dropped & (places >= CONTEXT)


def _mix(numbers):
    """The finalizer of MurmurHash3 (Appleby): every bit of a uint64 depends on all."""
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return numbers ^ (numbers >> np.uint64(33))
