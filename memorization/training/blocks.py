"""Stage 1's rows as training data: token blocks and padded batches (stage 2).

Labels are the rows' own: every token is learned, the closing end-of-text token included, and padding never is,
whichever token pads.
"""

from functools import partial

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import load_from_disk
from torch.nn.utils.rnn import pad_sequence

from memorization.cli import UserError

COLUMNS = ("input_ids", "labels")
IGNORED = -100  # the label that the loss leaves out


class Blocks(torch.utils.data.Dataset):
    """The rows of a tokenized data set as blocks of at most `block_size` tokens, read from disk when asked for.

    rows: datasets.Dataset with `input_ids` and `labels`, lists of equal length. long_samples: "cut" keeps the first
    block of a longer row, "split" keeps all, consecutively. Blocks of a single token predict nothing and are left out.
    """

    def __init__(self, rows, block_size, long_samples="cut"):
        self.rows, self.block_size = rows, block_size
        lengths = pc.list_value_length(_column(rows, "input_ids")).to_numpy()
        blocks = -(-lengths // block_size) if long_samples == "split" else np.ones_like(lengths)
        self.row = np.repeat(np.arange(len(lengths)), blocks)
        self.start = (np.arange(len(self.row)) - np.repeat(np.cumsum(blocks) - blocks, blocks)) * block_size
        predicts = lengths[self.row] - self.start > 1
        self.row, self.start = self.row[predicts], self.start[predicts]
        self.longer = int((lengths > block_size).sum())  # rows that were cut or split

    def __len__(self):
        return len(self.row)

    def __getitem__(self, index):
        row, start = self.rows[int(self.row[index])], int(self.start[index])
        return {name: row[name][start : start + self.block_size] for name in COLUMNS}


def read_blocks(directory, vocab_size, block_size, long_samples):
    """The Blocks of a set of stage 1. Raises UserError if there are none, or token ids beyond vocab_size."""
    rows = load_from_disk(str(directory)).select_columns(list(COLUMNS))
    if (top := pc.max(pc.list_flatten(_column(rows, "input_ids"))).as_py() or 0) >= vocab_size:
        raise UserError(
            f"{directory}: token id {top} is beyond the model's vocabulary of {vocab_size}; name a model and a "
            "--tokenizer-name that belong together"
        )
    blocks = Blocks(rows, block_size, long_samples)
    if not len(blocks):
        raise UserError(f"{directory}: no sample has two tokens; give encode_dialogue.py longer ones")
    return blocks


def _column(rows, name):
    return rows.with_format("arrow")[name][:]


def collate(blocks, pad_token_id):
    """Blocks as tensors of shape (batch, longest block), padded on the right: attention 0 and no label there."""
    ids, labels = ([torch.tensor(block[name]) for block in blocks] for name in COLUMNS)
    pad = partial(pad_sequence, batch_first=True)
    return {
        "input_ids": pad(ids, padding_value=pad_token_id),
        "attention_mask": pad([torch.ones_like(row) for row in ids]),
        "labels": pad(labels, padding_value=IGNORED),
    }
