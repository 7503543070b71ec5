"""Stage 1's rows as training data: token blocks and padded batches (stage 2).

Labels are the rows' own: every token is learned, the closing end-of-text token included, and padding never is,
whichever token pads.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset, load_from_disk
from torch.nn.utils.rnn import pad_sequence

from memorization.cli import UserError
from memorization.files import manifest_path, read_json
from memorization.runs import tokenizer_fingerprint

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


def load_rows(directory, tokenizer, vocab_size):
    """Stage 1's rows in a directory, as a datasets.Dataset.

    Raises UserError if they are no such rows, were encoded with another tokenizer, or have ids beyond vocab_size.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; run encode_dialogue.py first, or name a tokenized data set")
    try:
        rows = load_from_disk(str(directory))
    except IndexError:  # how datasets meets a set that was saved without rows
        raise UserError(f"{directory}: has no rows; give encode_dialogue.py more samples") from None
    except (OSError, ValueError):
        raise UserError(f"{directory}: not a data set saved to disk; run encode_dialogue.py to make one") from None
    if not isinstance(rows, Dataset):
        raise UserError(f"{directory}: holds the splits {', '.join(rows)}; name the directory of one of them")
    if missing := [name for name in COLUMNS if name not in rows.column_names]:
        there = ", ".join(rows.column_names) or "none"
        raise UserError(f"{directory}: no column {', '.join(missing)} (there: {there}); run encode_dialogue.py on it")
    ids, labels = (_column(rows, name) for name in COLUMNS)
    if not pc.list_value_length(ids).equals(pc.list_value_length(labels)):
        raise UserError(f"{directory}: input_ids and labels differ in length; run encode_dialogue.py again")
    encode = f"run encode_dialogue.py with --tokenizer {tokenizer.name_or_path}"
    manifest = read_json(manifest_path(directory)) if manifest_path(directory).is_file() else {}
    if manifest.get("tokenizer") not in (None, tokenizer_fingerprint(tokenizer)):
        raise UserError(f"{directory}: was encoded with another tokenizer than the model's; {encode}")
    if (top := pc.max(pc.list_flatten(ids)).as_py() or 0) >= vocab_size:
        raise UserError(f"{directory}: token id {top} is beyond the model's vocabulary of {vocab_size}; {encode}")
    return rows


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
