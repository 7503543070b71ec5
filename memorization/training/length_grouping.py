"""The order of training samples: batches of much the same length, so that little is padding."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

PARTS, LEAST = 16, 32  # samples in order of length are cut into so many parts, each of at least so many batches


def sample_lengths(dataset: Any) -> np.ndarray:
    """Tokens of each sample of a dataset that has `lengths`, or of several such sets concatenated; int64."""
    return np.concatenate([part.lengths for part in getattr(dataset, "datasets", [dataset])])


class LengthGroupedSampler(torch.utils.data.Sampler):
    """The indices of samples, in batches of much the same length; an epoch's order depends on its number and the seed.

    Transformers' own sampler makes batches of neighbours in order of length. Copies of a text are neighbours, so many
    steps on it become one, and the demo's model memorizes nothing. Here neighbours go to different batches. That
    sampler also depends on the state of the random generator, which differs after a kill.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        """lengths: of the samples, in tokens."""
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        batches = len(self) // self.batch_size
        order, rest = np.split(rng.permutation(len(self)), [batches * self.batch_size])  # an incomplete batch is last
        order = order[np.argsort(self.lengths[order], kind="stable")]
        size = self.batch_size * max(LEAST, -(-batches // PARTS))
        parts = [order[begin : begin + size].reshape(self.batch_size, -1) for begin in range(0, len(order), size)]
        dealt = [rng.permuted(part, axis=1).T for part in parts]  # each row of a part has one sample for each batch
        return iter([*rng.permutation(np.concatenate(dealt)).ravel().tolist(), *rest.tolist()] if batches else rest)
