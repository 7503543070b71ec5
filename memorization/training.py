"""What fine-tuning needs around the Trainer: stage 1's rows as token blocks, batches, losses, checkpoints (stage 2).

Labels follow the rows: every token is learned, the closing end-of-text token included, and padding never is,
whichever token pads.
"""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset, load_from_disk
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import Trainer, TrainerCallback

from memorization.cli import UserError
from memorization.files import manifest_path, read_json, write_text
from memorization.tokenizers import tokenizer_fingerprint

COLUMNS = ("input_ids", "labels")
IGNORED = -100  # the label that the loss leaves out


class Blocks(torch.utils.data.Dataset):
    """The rows of a tokenized data set as blocks of at most `block_size` tokens, read when asked for.

    rows: datasets.Dataset with `input_ids` and `labels`, lists of equal length. long_samples: "cut" keeps the first
    block of a longer row, "split" keeps all, consecutively. Blocks of a single token predict nothing and are left out.
    """

    def __init__(self, rows, block_size, long_samples="cut"):
        self.rows, self.block_size = rows, block_size
        lengths = pc.list_value_length(rows.with_format("arrow")["input_ids"][:]).to_numpy()
        blocks = -(-lengths // block_size) if long_samples == "split" else np.ones_like(lengths)
        self.row = np.repeat(np.arange(len(lengths)), blocks)
        self.start = (np.arange(len(self.row)) - np.repeat(np.cumsum(blocks) - blocks, blocks)) * block_size
        predicts = lengths[self.row] - self.start > 1
        self.row, self.start = self.row[predicts], self.start[predicts]
        self.longer = int((lengths > block_size).sum())

    def __len__(self):
        return len(self.row)

    def __getitem__(self, index):
        row, start = self.rows[int(self.row[index])], int(self.start[index])
        return {name: row[name][start : start + self.block_size] for name in COLUMNS}


def load_rows(directory, tokenizer, vocab_size):
    """Stage 1's rows in a directory. Raises UserError if they are no such rows, or made with another tokenizer."""
    directory = Path(directory)
    if not directory.is_dir():
        raise UserError(f"{directory}: no such directory; run encode_dialogue.py first, or name a tokenized data set")
    try:
        rows = load_from_disk(str(directory))
    except (OSError, ValueError) as error:
        raise UserError(f"{directory}: not a data set saved to disk ({error}); run encode_dialogue.py first") from None
    if not isinstance(rows, Dataset):
        raise UserError(f"{directory}: holds the splits {', '.join(rows)}; name one of these directories below it")
    missing = [name for name in COLUMNS if name not in rows.column_names]
    if missing:
        found = ", ".join(rows.column_names) or "none"
        raise UserError(f"{directory}: no column {' or '.join(missing)} (there: {found}); run encode_dialogue.py on it")
    if not len(rows):
        raise UserError(f"{directory}: has no rows; give encode_dialogue.py more samples")
    ids, labels = (rows.with_format("arrow")[name][:] for name in COLUMNS)
    if not pc.list_value_length(ids).equals(pc.list_value_length(labels)):
        raise UserError(f"{directory}: input_ids and labels differ in length; run encode_dialogue.py again")
    top = pc.max(pc.list_flatten(ids)).as_py() or 0
    manifest = read_json(manifest_path(directory)) if manifest_path(directory).is_file() else {}
    if manifest.get("tokenizer", fingerprint := tokenizer_fingerprint(tokenizer)) != fingerprint:
        raise UserError(
            f"{directory}: was encoded with another tokenizer than the model's; "
            f"run encode_dialogue.py with --tokenizer {tokenizer.name_or_path}"
        )
    if top >= vocab_size:
        raise UserError(
            f"{directory}: token id {top} is beyond the model's vocabulary of {vocab_size}; "
            f"run encode_dialogue.py with --tokenizer {tokenizer.name_or_path}"
        )
    return rows


def collate(blocks, pad_token_id):
    """Blocks as tensors of shape (batch, longest block), padded on the right: attention 0 and no label there."""
    ids, labels = ([torch.tensor(block[name]) for block in blocks] for name in COLUMNS)
    pad = partial(pad_sequence, batch_first=True)
    return {
        "input_ids": pad(ids, padding_value=pad_token_id),
        "attention_mask": pad([torch.ones_like(row) for row in ids]),
        "labels": pad(labels, padding_value=IGNORED),
    }


def token_losses(logits, labels):
    """Negative log-likelihood of each next token in nats, shape (batch, length - 1); 0 where there is no label."""
    return cross_entropy(logits[:, :-1].transpose(1, 2).float(), labels[:, 1:], ignore_index=IGNORED, reduction="none")


class ClmTrainer(Trainer):
    """A Trainer whose evaluation loss is the mean over tokens, not over batches: its exponential is the perplexity."""

    def __init__(self, **options):
        super().__init__(preprocess_logits_for_metrics=token_losses, compute_metrics=self._mean, **options)

    @staticmethod
    def _mean(evaluation):
        loss = evaluation.predictions[evaluation.label_ids[:, 1:] != IGNORED].mean(dtype=np.float64)
        return {"token_loss": loss, "perplexity": np.exp(loss)}

    def evaluation_loop(self, *args, metric_key_prefix="eval", **options):
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
        output.metrics[f"{metric_key_prefix}_loss"] = output.metrics.pop(f"{metric_key_prefix}_token_loss")
        return output


class EpochLosses(TrainerCallback):
    """Keeps memorization.jsonl in the output directory: a row each time losses are logged, an epoch unless told else.

    The Trainer's log travels in its checkpoints, so that a resumed run continues the file without gaps or repeats.
    """

    NAMES = {"loss": "train_loss", "eval_loss": "eval_loss", "eval_perplexity": "perplexity"}

    def on_log(self, args, state, control, **_):
        rows = {}
        for entry in state.log_history:
            losses = {self.NAMES[name]: value for name, value in entry.items() if name in self.NAMES}
            if losses:
                row = rows.setdefault(entry["step"], {"epoch": entry["epoch"], "step": entry["step"]})
                row.update(losses)
        if state.is_world_process_zero:
            write_text(
                Path(args.output_dir, "memorization.jsonl"), "".join(json.dumps(r) + "\n" for r in rows.values())
            )


def checkpoints(output_dir):
    """The checkpoint directories of a run, oldest first, the unfinished ones (a killed run's last) left out."""
    found = Path(output_dir).glob("checkpoint-*/trainer_state.json")
    return sorted((file.parent for file in found), key=lambda path: int(path.name.removeprefix("checkpoint-")))
