"""In which order blocks are trained on, so that those of a batch have much the same length and little is padded."""

import numpy as np
import torch

POOL = 50  # batches that are drawn and then sorted together
BIN = 32  # tokens by which lengths may differ and count as the same


class Grouped(torch.utils.data.Sampler):
    """The indices of blocks, in batches of much the same length, drawn anew each epoch from the seed alone.

    lengths: of the blocks, in tokens. epoch: gives the number of the epoch that begins. Transformers' own sampler sorts
    by the exact length, which brings copies of a text together in one batch and makes one step of many: the demo's
    model then memorizes nothing. It also takes what random numbers there are, and they are others after a kill.
    """

    def __init__(self, lengths, batch_size, seed, epoch):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, epoch

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        rng = np.random.default_rng((self.seed, self.epoch()))
        order = rng.permutation(len(self))
        pools = np.arange(len(order)) // (POOL * self.batch_size)
        order = order[np.lexsort((self.lengths[order] // BIN, pools))]
        whole, rest = np.split(order, [len(order) - len(order) % self.batch_size])  # what is no batch stays last
        return iter([*rng.permutation(whole.reshape(-1, self.batch_size)).ravel().tolist(), *rest.tolist()])
