"""Stage 1's rows as training data: token blocks and padded batches (stage 2).

Labels are the rows' own: every token is learned, the closing end-of-text token included, and padding never is,
whichever token pads.
"""

from functools import partial

import numpy as np
import pyarrow as pa
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
    block of a longer row, "split" keeps all, consecutively. A block that has no label to predict is left out: one of
    a single token, or one whose labels after the first are all IGNORED.
    """

    def __init__(self, rows, block_size, long_samples="cut"):
        self.rows, self.block_size = rows, block_size
        labels = _column(rows, "labels")
        lengths = pc.list_value_length(labels).to_numpy()
        blocks = -(-lengths // block_size) if long_samples == "split" else np.ones_like(lengths)
        self.row = np.repeat(np.arange(len(lengths)), blocks)
        self.start = (np.arange(len(self.row)) - np.repeat(np.cumsum(blocks) - blocks, blocks)) * block_size
        ends = np.minimum(self.start + block_size, lengths[self.row])
        predicts = ends - self.start > 1
        self.row, self.start, ends = self.row[predicts], self.start[predicts], ends[predicts]
        if pc.any(pc.equal(flat := pc.list_flatten(labels), IGNORED)).as_py():
            learned = np.concatenate([[0], np.cumsum(flat.to_numpy() != IGNORED)])  # labels before each place
            place = (np.cumsum(lengths) - lengths)[self.row]
            predicts = learned[place + ends] > learned[place + self.start + 1]
            self.row, self.start = self.row[predicts], self.start[predicts]
        self.longer = int((lengths > block_size).sum())  # rows that were cut or split

    def __len__(self):
        return len(self.row)

    @property
    def lengths(self):
        """Tokens of each block, int64."""
        rows = pc.list_value_length(_column(self.rows, "labels")).to_numpy()
        return np.minimum(rows[self.row] - self.start, self.block_size)

    def __getitem__(self, index):
        row, start = self.rows[int(self.row[index])], int(self.start[index])
        return {name: row[name][start : start + self.block_size] for name in COLUMNS}


def read_blocks(directory, vocab_size, block_size, long_samples):
    """The Blocks of a set of stage 1. Raises UserError if there is nothing to learn in it, or if token ids or labels
    are not as many or not of the vocabulary."""
    try:
        rows = load_from_disk(str(directory)).select_columns(list(COLUMNS))
        lists = [_column(rows, name) for name in COLUMNS]
        lengths = np.array([pc.list_value_length(column).to_numpy() for column in lists])
        numbers = [pc.list_flatten(column) for column in lists]
    except (OSError, ValueError, NotImplementedError, pa.ArrowException):
        lists = numbers = []
    if (
        not numbers
        or not all(pa.types.is_integer(part.type) for part in numbers)
        or any(part.null_count for part in lists + numbers)
    ):
        raise UserError(f"{directory}: has no lists of token ids and labels; run encode_dialogue.py again")
    if (differ := np.flatnonzero(lengths[0] != lengths[1])).size:
        ids, labels = lengths[:, differ[0]]
        raise UserError(
            f"{directory}: row {differ[0]} has {ids} token ids and {labels} labels; run encode_dialogue.py again"
        )
    ids, labels = numbers
    for what, column in (("token id", ids), ("label", labels.filter(pc.not_equal(labels, IGNORED)))):
        for value in pc.min_max(column).as_py().values():
            if value is not None and not 0 <= value < vocab_size:
                raise UserError(
                    f"{directory}: {what} {value} is beyond the model's vocabulary of {vocab_size}; name a model and a "
                    "--tokenizer-name that belong together"
                )
    blocks = Blocks(rows, block_size, long_samples)
    if not len(blocks):
        raise UserError(
            f"{directory}: no sample has two tokens and a label to learn, other than {IGNORED}; give "
            "encode_dialogue.py longer ones"
        )
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
