"""Several training sets as one (stage 2): how often each is drawn from (multi-task training, Zeng et al. 2024)."""

from math import inf

import numpy as np
import torch


def joined(sets):
    """A list of datasets one after the other as one dataset; None if there is none."""
    return torch.utils.data.ConcatDataset(sets) if sets and len(sets) > 1 else sets and sets[0]


class MixtureSampler(torch.utils.data.Sampler):
    """The order of an epoch of several sets in given shares.

    An epoch is as many draws as the sets have samples together, of each set its share of them, in random order. A set
    is drawn from in seeded permutations one after the other, through all epochs: none of its samples comes twice before
    all have come once. An epoch's order depends on its number and the seed alone, so a resumed run has the same.

    sizes: samples of the sets, which lie one after the other. weights: their shares, as many numbers over 0.
    """

    def __init__(self, sizes, weights, seed):
        self.sizes, self.seed, self.epoch = np.array(sizes), seed, 0
        self.draws = shares(sum(sizes), weights)

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return int(self.sizes.sum())

    def __iter__(self):
        first = np.cumsum(self.sizes) - self.sizes
        drawn = np.concatenate([first[number] + self._drawn(number) for number in range(len(self.sizes))])
        return iter(np.random.default_rng((self.seed, len(self.sizes), self.epoch)).permutation(drawn).tolist())

    def _drawn(self, number):
        """What the epoch draws of a set, int64."""
        size, draws = self.sizes[number], self.draws[number]
        begin, end = self.epoch * draws, (self.epoch + 1) * draws
        rounds = range(begin // size, -(-end // size))
        passes = [np.random.default_rng((self.seed, number, round)).permutation(size) for round in rounds]
        return np.concatenate(passes)[begin - rounds.start * size :][:draws] if draws else np.empty(0, np.int64)


def check_weights(text, sets):
    """The shares that a --task-weights of 1,2,1, say, gives the sets: floats that sum to 1. Raises ValueError."""
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if not weights or not all(0 < weight < inf for weight in weights):
        raise ValueError("must be numbers over 0 with commas between them, as 1,2,1")
    if len(weights) != len(sets) or len(sets) < 2:
        raise ValueError(f"{len(weights)} for {len(sets)} training sets; give one to each of several")
    weights = [weight / max(weights) for weight in weights]  # of numbers however large the sum is finite
    return [weight / sum(weights) for weight in weights]


def shares(total, weights):
    """`total` in whole numbers that are to each other as the weights, as nearly as can be (largest remainders)."""
    exact = total * np.array(weights) / sum(weights)
    found = np.floor(exact).astype(np.int64)
    found[np.argsort(found - exact, kind="stable")[: total - found.sum()]] += 1
    return found
