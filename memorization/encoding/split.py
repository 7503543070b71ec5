"""Which samples are held out, and which are copies of each other: by hashes, as the texts do not fit in memory."""

import numpy as np


def repeats(hashes):
    """(first, copies) of each sample, int64: where its text stands first, and how often it stands in the data.

    hashes: uint64, of shape (samples, 2), equal where texts are.
    """
    order = np.lexsort(hashes.T)  # stable: copies stay in the order of the data
    new = np.ones(len(order), bool)
    new[1:] = (hashes[order[1:]] != hashes[order[:-1]]).any(1)
    starts = np.flatnonzero(new)
    times = np.diff(starts, append=len(order))
    first, copies = np.empty((2, len(order)), np.int64)
    first[order], copies[order] = np.repeat(order[starts], times), np.repeat(times, times)
    return first, copies


def split(first, test_size, seed):
    """Whether each sample is a member (bool): a share test_size of the distinct samples is held out, with all copies.

    first: of `repeats`, of two distinct samples at the least. At least one of them is on each side.
    """
    distinct = np.flatnonzero(first == np.arange(len(first)))
    share = min(max(round(len(distinct) * test_size), 1), len(distinct) - 1)
    member = np.ones(len(first), bool)
    member[np.random.default_rng(seed).permutation(distinct)[:share]] = False
    return member[first]
