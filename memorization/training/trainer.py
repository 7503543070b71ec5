"""What fine-tuning adds to the transformers Trainer: losses by token, the figures of each epoch (stage 2)."""

import json
import os
import shutil
import socket
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback

from memorization.cli import UserError
from memorization.files import write_text
from memorization.training.blocks import IGNORED


def prepare_deepspeed(on_cpu):
    """Let DeepSpeed start from plain python, from an environment that is not activated, and without a compiler."""
    # the ninja it compiles with lies beside the interpreter
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    if "RANK" not in os.environ:  # no launcher: a world of one
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        world = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update(world)
    if on_cpu:
        import deepspeed.ops

        # compiling this takes a minute, and gloo does without
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


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
        with torch.random.fork_rng(devices=[]):  # evaluating more or less often leaves the training as it is
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
            if losses := {self.NAMES[name]: value for name, value in entry.items() if name in self.NAMES}:
                row = rows.setdefault(entry["step"], {"epoch": entry["epoch"], "step": entry["step"]})
                row.update(losses)
        if state.is_world_process_zero and rows:
            lines = (json.dumps(row) + "\n" for row in rows.values())
            write_text(Path(args.output_dir, "memorization.jsonl"), "".join(lines))


def checkpoints(output_dir):
    """The checkpoint directories of a run, oldest first, without one that a kill left unfinished."""
    found = Path(output_dir).glob("checkpoint-[0-9]*/trainer_state.json")
    return sorted((file.parent for file in found), key=lambda path: int(path.name.removeprefix("checkpoint-")))


@contextmanager
def told_when_full(output_dir):
    """Raise UserError for a full disk, in place of what safetensors and torch raise; the unfinished checkpoint goes."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        if not any(sign in str(error) for sign in ("No space left", "inline_container")):
            raise
        for unfinished in set(Path(output_dir).glob("checkpoint-*")).difference(checkpoints(output_dir)):
            shutil.rmtree(unfinished, ignore_errors=True)
        raise UserError(
            f"{output_dir}: no space left for a checkpoint; free some, or keep fewer with --save-total-limit"
        ) from None
