"""Stage 1's rows as training data: token blocks and padded batches (stage 2).

Labels are the rows' own: every token is learned, the closing end-of-text token included, unless mitigations.py leaves
some out, and padding never is, whichever token pads.
"""

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import load_from_disk
from torch.nn.utils.rnn import pad_sequence

from memorization.models.limits import context_length
from memorization.shell.cli import UserError
from memorization.training import mitigations
from memorization.training.launch import say

COLUMNS = ("input_ids", "labels")
IGNORED = -100  # the label that the loss leaves out


class Blocks(torch.utils.data.Dataset):
    """The rows of a tokenized data set as blocks of at most `block_size` tokens, read from disk when asked for.

    rows: datasets.Dataset with `input_ids` and `labels`, lists of equal length. long_samples: "cut" keeps the first
    block of a longer row, "split" keeps all, consecutively. A block that has no label to predict is left out: one of
    a single token, or one whose labels after the first are all IGNORED. learned: of all tokens of all rows, whether
    they get loss (default: all), bool; the labels of the others are IGNORED. target: of each row the place of the
    output's first token, or None; with it blocks have `output_labels` too, IGNORED before that.
    """

    def __init__(self, rows, block_size, long_samples="cut", learned=None, target=None):
        self.rows, self.block_size, self.learned, self.target = rows, block_size, learned, target
        labels = arrow(rows, "labels")
        lengths = pc.list_value_length(labels).to_numpy()
        self.place = np.cumsum(lengths) - lengths  # of a row's first token among all
        blocks = -(-lengths // block_size) if long_samples == "split" else np.ones_like(lengths)
        self.row = np.repeat(np.arange(len(lengths)), blocks)
        self.start = (np.arange(len(self.row)) - np.repeat(np.cumsum(blocks) - blocks, blocks)) * block_size
        ends = np.minimum(self.start + block_size, lengths[self.row])
        predicts = ends - self.start > 1
        self.row, self.start, ends = self.row[predicts], self.start[predicts], ends[predicts]
        ignored = pc.equal(pc.list_flatten(labels), IGNORED)
        if learned is not None or pc.any(ignored).as_py():
            found = ~ignored.to_numpy() & (True if learned is None else learned)
            before = np.concatenate([[0], np.cumsum(found)])  # labels before each place
            place = self.place[self.row]
            predicts = before[place + ends] > before[place + self.start + 1]
            self.row, self.start = self.row[predicts], self.start[predicts]
        self.longer = int((lengths > block_size).sum())  # rows that were cut or split

    def __len__(self):
        return len(self.row)

    @property
    def lengths(self):
        """Tokens of each block, int64."""
        rows = pc.list_value_length(arrow(self.rows, "labels")).to_numpy()
        return np.minimum(rows[self.row] - self.start, self.block_size)

    def __getitem__(self, index):
        start = int(self.start[index])
        return {name: values[start : start + self.block_size] for name, values in self.whole(self.row[index]).items()}

    def whole(self, row):
        """A row before it is cut: dict name -> list."""
        row = int(row)
        found = {name: self.rows[row][name] for name in COLUMNS}
        if self.learned is not None:
            learned = self.learned[self.place[row] : self.place[row] + len(found["labels"])]
            found["labels"] = np.where(learned, found["labels"], IGNORED).tolist()
        if self.target is not None:
            before = int(self.target[row])
            found["output_labels"] = [IGNORED] * before + found["labels"][before:]
        return found


def read_blocks(paths, model, data):
    """The sets of stage 1 for a causal language model: dict kind -> list of Blocks, and a dict of the settings that
    make them.

    paths: dict kind -> directories. data: the flags of run_clm.py. Says how many there are. Raises UserError if there
    is nothing to learn in a set, or if token ids or labels are not as many or not of the vocabulary.
    """
    context = context_length(model.config)
    block_size = min((size for size in (data.block_size, context) if size), default=2**31)
    if data.block_size and data.block_size > block_size:
        say(f"--block_size {data.block_size} is beyond the model's context: taking {block_size}")
    if data.packing and block_size == 2**31:
        raise UserError("--packing: the model's configuration names no context; say by --block-size how long packs are")
    vocab_size, sets = model.get_input_embeddings().num_embeddings, {}
    settings = {name: getattr(data, name) for name in ("long_samples", "loss_on", "goldfish_k")}
    for kind, directories in paths.items():
        sets[kind] = []
        for directory in directories:
            found = read_set(directory, vocab_size, block_size, **settings, evaluated=kind == "held-out set")
            sets[kind].append(found)
            cut, some = f"{found.longer} over {block_size} tokens", ""
            if found.learned is not None:
                some = f"; {found.learned.sum()} of {len(found.learned)} tokens get loss"
            say(f"{directory}: {len(found.rows)} samples, {cut}, make {len(found)} blocks{some}")
    if any(found.target is None for found in sets.get("held-out set", ())):
        for found in sets["held-out set"]:
            found.target = None  # no figure for some of the texts alone
    return sets, {"block_size": block_size, "packing": data.packing or None} | settings


def read_set(directory, vocab_size, block_size, long_samples, loss_on="all", goldfish_k=None, evaluated=False):
    """The Blocks of one set of stage 1. Raises UserError as read_blocks does.

    loss_on: "all", or "output" for that alone. goldfish_k: as in mitigations.goldfish, or None. evaluated: in spite of
    these all labels count, and blocks tell those of the output apart where stage 1 says where it begins.
    """
    rows, target, (ids, _), lengths = read_rows(directory, vocab_size)
    if (differ := np.flatnonzero(lengths[0] != lengths[1])).size:
        ids, labels = lengths[:, differ[0]]
        raise UserError(
            f"{directory}: row {differ[0]} has {ids} token ids and {labels} labels; run encode_<task>.py again"
        )
    if evaluated:
        blocks = Blocks(rows, block_size, long_samples, target=target)
    elif loss_on == "all" and goldfish_k is None:
        blocks = Blocks(rows, block_size, long_samples)
    elif loss_on == "output" and target is None:
        raise UserError(f"{directory}: does not say where outputs begin; run encode_<task>.py again for --loss-on")
    else:
        begins = target if loss_on == "output" else None
        learned = mitigations.learned(ids, lengths[0], begins, goldfish_k)
        blocks = Blocks(rows, block_size, long_samples, learned)
    if not len(blocks):
        raise UserError(
            f"{directory}: no sample has two tokens and a label to learn, other than {IGNORED}; give "
            "encode_<task>.py longer ones"
        )
    return blocks


def read_rows(directory, vocab_size):
    """One set of stage 1: the token ids and labels, a datasets.Dataset; where each target begins, None if it does not
    say; all of the ids and of the labels, arrays; and how many of both each row has, int64 [2, rows].

    Raises UserError if they are not there, or not of the vocabulary.
    """
    try:
        rows, target = load_from_disk(str(directory)), None
        if "target" in rows.column_names:
            target = arrow(rows, "target").to_numpy()
        rows = rows.select_columns(list(COLUMNS))
        lists = [arrow(rows, name) for name in COLUMNS]
        lengths = np.array([pc.list_value_length(column).to_numpy() for column in lists])
        numbers = [pc.list_flatten(column) for column in lists]
    except (OSError, ValueError, NotImplementedError, pa.ArrowException):
        lists = numbers = []
    if (
        not numbers
        or not all(pa.types.is_integer(part.type) for part in numbers)
        or any(part.null_count for part in lists + numbers)
    ):
        raise UserError(f"{directory}: has no lists of token ids and labels; run encode_<task>.py again")
    ids, labels = numbers
    for what, column in (("token id", ids), ("label", labels.filter(pc.not_equal(labels, IGNORED)))):
        for value in pc.min_max(column).as_py().values():
            if value is not None and not 0 <= value < vocab_size:
                raise UserError(
                    f"{directory}: {what} {value} is beyond the model's vocabulary of {vocab_size}; name a model and a "
                    "--tokenizer-name that belong together"
                )
    return rows, target, [column.to_numpy() for column in numbers], lengths


def arrow(rows, name):
    """A column of a datasets.Dataset as an Arrow array."""
    return rows.with_format("arrow")[name][:]


def collate(blocks, pad_token_id, shift=None):
    """Blocks as tensors of shape (batch, longest block), padded on the right: attention 0 and no label there.

    shift: labels -> what the decoder of an encoder-decoder model is given to say them, which is in the batch then.
    """
    columns = {name: [torch.tensor(block[name]) for block in blocks] for name in blocks[0]}
    pad = partial(pad_sequence, batch_first=True)
    batch = {
        "input_ids": pad(columns.pop("input_ids"), padding_value=pad_token_id),
        "attention_mask": pad([torch.ones(len(block["input_ids"]), dtype=torch.long) for block in blocks]),
        **{name: pad(labels, padding_value=IGNORED) for name, labels in columns.items()},
    }
    return batch | ({"decoder_input_ids": shift(batch["labels"])} if shift else {})
