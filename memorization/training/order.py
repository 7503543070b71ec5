"""In which order blocks are trained on, so that those of a batch have much the same length and little is padded."""

import numpy as np
import torch

PARTS, LEAST = 16, 32  # the samples in order of length are cut into so many parts, each of so many batches at least


def lengths(dataset):
    """Tokens of each sample of a dataset that has `lengths`, or of several one after the other; int64."""
    return np.concatenate([part.lengths for part in getattr(dataset, "datasets", [dataset])])


class Grouped(torch.utils.data.Sampler):
    """The indices of samples, in batches of much the same length; an epoch's order depends on its number and the seed.

    lengths: of the samples, in tokens. Transformers' own sampler makes batches of neighbours in order of length, which
    are the copies of a text, where there are any: many steps on it become one, and the demo's model memorizes nothing.
    Here neighbours are dealt to different batches, so that seldom two copies meet. That sampler also draws what random
    numbers there are, and they are others after a kill.
    """

    def __init__(self, lengths, batch_size, seed):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        rng = np.random.default_rng((self.seed, self.epoch))
        count = len(self) // self.batch_size  # of batches
        order, rest = np.split(rng.permutation(len(self)), [count * self.batch_size])  # what is no batch comes last
        order = order[np.argsort(self.lengths[order], kind="stable")]
        size = self.batch_size * max(LEAST, -(-count // PARTS))
        parts = [order[begin : begin + size].reshape(self.batch_size, -1) for begin in range(0, len(order), size)]
        batches = [rng.permuted(part, axis=1).T for part in parts]  # a row of a part has one for each batch
        return iter([*rng.permutation(np.concatenate(batches)).ravel().tolist(), *rest.tolist()] if count else rest)
