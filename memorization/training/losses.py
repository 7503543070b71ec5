"""Losses of stage 2: by token, of each step, and the file that records them."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from memorization.shell.cli import UserError
from memorization.store.files import write_text
from memorization.training.token_blocks import IGNORED

LOSSES = "losses.jsonl"
NAMES = {  # in the Trainer's log -> in the file
    "loss": "train_loss",
    "eval_loss": "eval_loss",
    "eval_perplexity": "perplexity",
    "eval_output_loss": "eval_output_loss",
    "eval_output_perplexity": "output_perplexity",
}


def token_losses(scores: torch.Tensor | tuple[torch.Tensor, ...], labels: torch.Tensor, ahead: int = 1) -> torch.Tensor:
    """Negative log-likelihood of each label in nats, shape (batch, length - ahead); 0 where there is no label.

    scores: logits (batch, length, vocabulary), or a tuple that begins with them. ahead: of loading.Architecture.
    """
    logits = scores[0] if isinstance(scores, tuple) else scores
    logits = logits[:, : logits.shape[1] - ahead].transpose(1, 2).float()
    return cross_entropy(logits, labels[:, ahead:], ignore_index=IGNORED, reduction="none")


def target_loss(
    outputs: Any, labels: torch.Tensor, num_items_in_batch: int | torch.Tensor | None = None, smoothing: float = 0.0
) -> torch.Tensor:
    """The mean over all labels of a step, as the Trainer counts them, of an encoder-decoder model's losses.

    The model's own loss is the mean of each batch, in which a label in a batch of short targets counts for more.
    """
    logits = outputs.logits.transpose(1, 2).float()
    total = cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
    return total / ((labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch)


def check_finite(value: float, name: str, step: int | None = None) -> None:
    """Raise UserError if a value is NaN or infinite. step: the optimizer step, during training."""
    if math.isfinite(value):
        return
    if step is None:
        raise UserError(f"the model's {name} is {value}; name another model, or evaluate in another precision")
    raise UserError(
        f"the {name} is {value} at step {step}, so training ends here; lower --learning-rate or train in another "
        "precision (--bf16, or neither --bf16 nor --fp16), with --overwrite-output-dir"
    )


def write_logged(path: Path, log: list[dict[str, Any]], names: dict[str, str]) -> None:
    """Write values that the Trainer logged, one JSON line a step. names: in the log -> in the file."""
    rows: dict[int, dict[str, Any]] = {}
    for entry in log:
        if values := {names[name]: entry[name] for name in names if name in entry}:
            rows.setdefault(entry["step"], {"epoch": entry["epoch"], "step": entry["step"]}).update(values)
    if rows:
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows.values()))


class Losses(TrainerCallback, ExportableState):
    """Writes losses.jsonl in the output directory: a row each time losses are logged, by default each epoch.

    Its sums and the Trainer's log are part of checkpoints, so a resumed run writes what an uninterrupted one does.
    """

    def __init__(self) -> None:
        self.total = self.since_logged = 0.0  # sums of the losses of all steps, and of those since the last row
        self.logged_step = 0
        self.path: Path | None = None  # set when training begins: evaluating alone writes no row
        self._save_after_log = False

    def state(self) -> dict[str, Any]:
        """The part of a checkpoint."""
        names = ("total", "since_logged", "logged_step")
        return {"args": {}, "attributes": {name: getattr(self, name) for name in names}}

    def add(self, loss: float, step: int) -> None:
        check_finite(loss, "training loss", step)
        self.total += loss
        self.since_logged += loss

    def mean_since_logged(self, step: int) -> float:
        mean = self.since_logged / (step - self.logged_step)
        self.since_logged, self.logged_step = 0.0, step
        return mean

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        saved: Any = state.stateful_callbacks
        saved = saved[type(self).__name__] if state.global_step else type(self)().state()
        vars(self).update(saved["attributes"], path=Path(str(args.output_dir), LOSSES))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # A checkpoint at the end of an epoch waits for the epoch's losses: a run resumed from it would never log them.
        if control.should_save and (state.epoch.is_integer() or control.should_training_stop):
            control.should_save, self._save_after_log = False, True

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        control.should_save, self._save_after_log = control.should_save or self._save_after_log, False

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.is_world_process_zero and self.path:
            write_logged(self.path, state.log_history, NAMES)
