"""Stage 1's rows as training data of a causal model: token blocks and padded batches.

Labels are the rows' own: every token is learned, the closing end-of-text token included, unless mitigations.py leaves
some out. Padding never is, whichever token pads.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset, load_from_disk
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from memorization.models.limits import context_length
from memorization.shell.cli import UserError
from memorization.training.distributed import print_once
from memorization.training.mitigations import loss_mask
from memorization.training.settings import BlockSettings

COLUMNS = ("input_ids", "labels")
IGNORED = -100  # the label that the loss leaves out
UNLIMITED = 2**31  # tokens of a block


class TokenRows(NamedTuple):
    """One set of stage 1. rows: with COLUMNS. targets: of each row (encoding.tokens), if the set tells. ids, labels: of
    all rows, concatenated. lengths: of both columns of each row, int64, (2, rows)."""

    rows: Dataset
    targets: pa.ListArray | None
    ids: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray


class Blocks(torch.utils.data.Dataset):
    """The rows of a tokenized data set as blocks of at most `block_size` tokens, read from disk when needed.

    A block without a label to predict is left out: one of a single token, or one whose labels after the first are all
    IGNORED.
    """

    def __init__(
        self,
        rows: Dataset,
        block_size: int,
        long_samples: str = "cut",
        learned: np.ndarray | None = None,
        output: np.ndarray | None = None,
    ) -> None:
        """rows: with `input_ids` and `labels`, lists of equal length. long_samples: "cut" keeps the first block of a
        longer row, "split" keeps all. learned: which of the tokens of all rows get loss, bool (default: all). output:
        which of them are output, bool; with it blocks also have `output_labels`, IGNORED elsewhere.
        """
        self.rows, self.block_size, self.learned, self.output = rows, block_size, learned, output
        labels = arrow_column(rows, "labels")
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
            has_label = ~ignored.to_numpy() & (True if learned is None else learned)
            before = np.concatenate([[0], np.cumsum(has_label)])  # labels before each place
            place = self.place[self.row]
            predicts = before[place + ends] > before[place + self.start + 1]
            self.row, self.start = self.row[predicts], self.start[predicts]
        self.longer = int((lengths > block_size).sum())  # rows that were cut or split

    def __len__(self) -> int:
        return len(self.row)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each block, int64."""
        rows = pc.list_value_length(arrow_column(self.rows, "labels")).to_numpy()
        return np.minimum(rows[self.row] - self.start, self.block_size)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        start = int(self.start[index])
        row = self.whole_row(self.row[index])
        return {name: values[start : start + self.block_size] for name, values in row.items()}

    def whole_row(self, row: int) -> dict[str, list[int]]:
        """A row before it is cut."""
        row = int(row)
        columns = {name: self.rows[row][name] for name in COLUMNS}
        here = slice(self.place[row], self.place[row] + len(columns["labels"]))
        if self.learned is not None:
            columns["labels"] = np.where(self.learned[here], columns["labels"], IGNORED).tolist()
        if self.output is not None:
            columns["output_labels"] = np.where(self.output[here], columns["labels"], IGNORED).tolist()
        return columns


def read_blocks(
    paths: dict[str, list[str]], model: PreTrainedModel, settings: BlockSettings
) -> tuple[dict[str, list[Blocks]], dict[str, Any]]:
    """The Blocks of stage 1's sets by kind of set, and the settings that determine them. Prints how many there are.

    paths: directories by kind of set. Raises UserError if a set has nothing to learn, or if token ids or labels are
    outside the vocabulary or not equally many.
    """
    context = context_length(model.config)
    block_size = min((size for size in (settings.block_size, context) if size), default=UNLIMITED)
    if settings.block_size and settings.block_size > block_size:
        print_once(f"--block_size {settings.block_size} is beyond the model's context: taking {block_size}")
    if settings.packing and block_size == UNLIMITED:
        raise UserError(
            "--packing: the model's configuration names no context; give the length of packs by --block-size"
        )
    vocab_size = vocabulary_size(model)
    options = {name: getattr(settings, name) for name in ("long_samples", "loss_on", "goldfish_k")}
    sets: dict[str, list[Blocks]] = {}
    for kind, directories in paths.items():
        sets[kind] = []
        for directory in directories:
            blocks = read_block_set(directory, vocab_size, block_size, **options, evaluated=kind == "held-out set")
            sets[kind].append(blocks)
            with_loss = ""
            if blocks.learned is not None:
                with_loss = f"; {blocks.learned.sum()} of {len(blocks.learned)} tokens get loss"
            longer = f"{blocks.longer} over {block_size} tokens"
            print_once(f"{directory}: {len(blocks.rows)} samples, {longer}, make {len(blocks)} blocks{with_loss}")
    held_out = sets.get("held-out set", [])
    if any(blocks.output is None for blocks in held_out):
        for blocks in held_out:
            blocks.output = None  # no figure for some of the texts only
    return sets, {"block_size": block_size, "packing": settings.packing or None} | options


def read_block_set(
    directory: str,
    vocab_size: int,
    block_size: int,
    long_samples: str,
    loss_on: str = "all",
    goldfish_k: int | None = None,
    evaluated: bool = False,
) -> Blocks:
    """The Blocks of one set of stage 1. Raises UserError as read_blocks does.

    evaluated: whatever loss_on and goldfish_k are, all labels count, and blocks mark those of the output where stage 1
    recorded where it begins.
    """
    rows, targets, ids, _, lengths = read_token_rows(directory, vocab_size)
    if (unequal := np.flatnonzero(lengths[0] != lengths[1])).size:
        n_ids, n_labels = lengths[:, unequal[0]]
        raise UserError(
            f"{directory}: row {unequal[0]} has {n_ids} token ids and {n_labels} labels; run encode_<task>.py again"
        )
    output = None if targets is None else output_tokens(targets, lengths[0], loss_on == "last" and not evaluated)
    if evaluated:
        blocks = Blocks(rows, block_size, long_samples, output=output)
    elif loss_on == "all" and goldfish_k is None:
        blocks = Blocks(rows, block_size, long_samples)
    elif loss_on != "all" and output is None:
        raise UserError(f"{directory}: does not say where outputs begin; run encode_<task>.py again for --loss-on")
    else:
        learned = loss_mask(ids, lengths[0], None if loss_on == "all" else output, goldfish_k)
        blocks = Blocks(rows, block_size, long_samples, learned)
    if not len(blocks):
        raise UserError(
            f"{directory}: no sample has two tokens and a label to learn, other than {IGNORED}; give "
            "encode_<task>.py longer ones"
        )
    return blocks


def output_tokens(targets: pa.ListArray, lengths: np.ndarray, last: bool = False) -> np.ndarray:
    """Which tokens of all rows are output, bool: those of their targets and what closes these.

    targets: triples (encoding.tokens). lengths: tokens of the rows. last: only the last target of each row counts.
    """
    numbers = pc.list_value_length(targets).to_numpy() // 3
    begin, _, closed = pc.list_flatten(targets).to_numpy().reshape(-1, 3).T
    row = np.repeat(np.arange(len(numbers)), numbers)
    first, chosen = np.cumsum(lengths) - lengths, np.ones(len(row), bool)
    if last:
        chosen[:-1] = row[1:] != row[:-1]
    changes = np.zeros(lengths.sum() + 1, np.int64)
    np.add.at(changes, (first[row] + begin)[chosen], 1)
    np.add.at(changes, (first[row] + closed)[chosen], -1)
    return np.cumsum(changes[:-1]) > 0


def read_token_rows(directory: str, vocab_size: int) -> TokenRows:
    """The TokenRows of a directory. Raises UserError if they are not there, or outside the vocabulary."""
    try:
        rows, targets = load_from_disk(str(directory)), None
        if "targets" in rows.column_names:
            targets = arrow_column(rows, "targets")
        rows = rows.select_columns(list(COLUMNS))
        lists = [arrow_column(rows, name) for name in COLUMNS]
        lengths = np.array([pc.list_value_length(column).to_numpy() for column in lists])
        flat = [pc.list_flatten(column) for column in lists]
    except (OSError, ValueError, NotImplementedError, pa.ArrowException):
        lists = flat = []
    if (
        not flat
        or not all(pa.types.is_integer(column.type) for column in flat)
        or any(column.null_count for column in lists + flat)
    ):
        raise UserError(f"{directory}: has no lists of token ids and labels; run encode_<task>.py again")
    ids, labels = flat
    for name, column in (("token id", ids), ("label", labels.filter(pc.not_equal(labels, IGNORED)))):
        for value in pc.min_max(column).as_py().values():
            if value is not None and not 0 <= value < vocab_size:
                raise UserError(
                    f"{directory}: {name} {value} is beyond the model's vocabulary of {vocab_size}; name a model and a "
                    "--tokenizer-name that belong together"
                )
    return TokenRows(rows, targets, ids.to_numpy(), labels.to_numpy(), lengths)


def vocabulary_size(model: PreTrainedModel) -> int:
    return model.get_input_embeddings().num_embeddings  # type: ignore[return-value]  # typed as any attribute of a module


def arrow_column(rows: Dataset, name: str) -> pa.Array:
    return rows.with_format("arrow")[name][:]


def collate(
    blocks: Sequence[dict[str, Any]],
    pad_token_id: int,
    shift: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Blocks as tensors of shape (batch, longest block), padded on the right: attention 0 and no label there.

    shift: labels -> the input of an encoder-decoder model's decoder, which is then part of the batch.
    """
    columns = {name: [torch.tensor(block[name]) for block in blocks] for name in blocks[0]}
    pad = partial(pad_sequence, batch_first=True)
    batch = {
        "input_ids": pad(columns.pop("input_ids"), padding_value=pad_token_id),
        "attention_mask": pad([torch.ones(len(block["input_ids"]), dtype=torch.long) for block in blocks]),
        **{name: pad(labels, padding_value=IGNORED) for name, labels in columns.items()},
    }
    return batch | ({"decoder_input_ids": shift(batch["labels"])} if shift else {})
