"""In which order blocks are trained on, so that those of a batch have much the same length and little is padded."""

import numpy as np
import torch

POOL = 50  # batches that are drawn and then sorted together
BIN = 32  # tokens: lengths that differ by less may count as the same


def lengths(dataset):
    """Tokens of each sample of a dataset that has `lengths`, or of several one after the other; int64."""
    return np.concatenate([part.lengths for part in getattr(dataset, "datasets", [dataset])])


class Grouped(torch.utils.data.Sampler):
    """The indices of samples, in batches of much the same length; an epoch's order depends on its number and the seed.

    lengths: of the samples, in tokens. Transformers' own sampler sorts by the exact length, which brings copies of a
    text together in one batch and makes one step of many: the demo's model then memorizes nothing. And it draws what
    random numbers there are, which are others after a kill.
    """

    def __init__(self, lengths, batch_size, seed):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self))
        pools = np.arange(len(order)) // (POOL * self.batch_size)
        order = order[np.lexsort((self.lengths[order] // BIN, pools))]
        whole, rest = np.split(order, [len(order) - len(order) % self.batch_size])  # what is no batch stays last
        return iter([*rng.permutation(whole.reshape(-1, self.batch_size)).ravel().tolist(), *rest.tolist()])
