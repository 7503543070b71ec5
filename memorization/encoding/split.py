"""Which samples are held out, and which are copies of each other: by hashes, as the texts do not fit in memory."""

from typing import NamedTuple

import numpy as np


class SampleSplit(NamedTuple):
    """Arrays over all samples. first, copies: of find_copies. begin: the first sample of its cluster of near-
    duplicates, which names the cluster (`first` if none were looked for). member: of draw_members, or given. in_set:
    whether it stands in its set.
    """

    first: np.ndarray
    copies: np.ndarray
    begin: np.ndarray
    member: np.ndarray
    in_set: np.ndarray

    @property
    def stored(self) -> np.ndarray:
        """The samples that are stored for probes: where a text occurs first, if that is in its set."""
        return self.in_set & (self.first == np.arange(len(self.first)))


def find_copies(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(first, copies) of each sample, int64: where its text occurs first, and how often it occurs in the data.

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


def copies_by_side(first: np.ndarray, member: np.ndarray) -> np.ndarray:
    """How often each sample's text occurs on its side, int64. first: of find_copies."""
    sides = 2 * first + member
    return np.bincount(sides)[sides]


def draw_members(first: np.ndarray, begin: np.ndarray, test_size: float, seed: int) -> np.ndarray:
    """Whether each sample is a member (bool): a share test_size of the distinct samples is held out, in whole clusters
    and with all copies.

    first: of find_copies. begin: where the cluster of each sample begins, of two clusters at the least: one is on each
    side. A cluster that would exceed the share is not held out; if all would, the smallest is.
    """
    distinct = np.flatnonzero(first == np.arange(len(first)))
    sizes = np.bincount(begin[distinct])
    share = min(max(round(len(distinct) * test_size), 1), len(distinct) - 1)
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(sizes))
    held_out, left = [], share
    for cluster, size in zip(shuffled.tolist(), sizes[shuffled].tolist(), strict=True):
        if size <= left:
            held_out.append(cluster)
            left -= size
        if not left:
            break
    member = np.ones(len(first), bool)
    member[held_out or shuffled[sizes[shuffled].argmin()]] = False
    return member[begin]
