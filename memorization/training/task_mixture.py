"""Several training sets as one: how often each is drawn from (multi-task training, Zeng et al. 2024)."""

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import numpy as np
import torch


def concatenated(sets: Sequence[Any] | None) -> Any:
    """Datasets, one after the other, as one dataset; None if there is none."""
    return torch.utils.data.ConcatDataset(sets) if sets and len(sets) > 1 else sets and sets[0]


class MixtureSampler(torch.utils.data.Sampler):
    """The order of an epoch over several concatenated sets in given shares.

    An epoch has as many draws as the sets have samples together, for each set its share of them, in random order. A set
    is drawn from in seeded permutations one after the other, through all epochs: none of its samples comes twice before
    all have come once. An epoch's order depends on its number and the seed only, so a resumed run has the same.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        """sizes: samples of the sets. weights: their shares, as many positive numbers."""
        self.sizes, self.seed, self.epoch = np.array(sizes), seed, 0
        self.draws = apportion(sum(sizes), weights)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return int(self.sizes.sum())

    def __iter__(self) -> Iterator[int]:
        first = np.cumsum(self.sizes) - self.sizes
        indices = np.concatenate([first[number] + self._draw(number) for number in range(len(self.sizes))])
        return iter(np.random.default_rng((self.seed, len(self.sizes), self.epoch)).permutation(indices).tolist())

    def _draw(self, number):
        """The samples of one set in this epoch, int64."""
        size, draws = self.sizes[number], self.draws[number]
        begin, end = self.epoch * draws, (self.epoch + 1) * draws
        rounds = range(begin // size, -(-end // size))
        passes = [np.random.default_rng((self.seed, number, round)).permutation(size) for round in rounds]
        return np.concatenate(passes)[begin - rounds.start * size :][:draws] if draws else np.empty(0, np.int64)


def parse_task_weights(text: str, sets: Sequence[Any]) -> list[float]:
    """The shares of the sets by a --task-weights such as 1,2,1; their sum is 1. Raises ValueError."""
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        weights = []
    if not weights or not all(0 < weight < inf for weight in weights):
        raise ValueError("must be numbers over 0 with commas between them, as 1,2,1")
    if len(weights) != len(sets) or len(sets) < 2:
        raise ValueError(f"{len(weights)} for {len(sets)} training sets; give one to each of several")
    weights = [weight / max(weights) for weight in weights]  # the sum is finite however large the numbers are
    return [weight / sum(weights) for weight in weights]


def apportion(total: int, weights: Sequence[float]) -> np.ndarray:
    """`total` divided into whole numbers in proportion to the weights, by largest remainders; int64."""
    exact = total * np.array(weights) / sum(weights)
    parts = np.floor(exact).astype(np.int64)
    parts[np.argsort(parts - exact, kind="stable")[: total - parts.sum()]] += 1
    return parts
