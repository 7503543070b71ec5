"""Losses of stage 2: by token, of each step, and the file that keeps them."""

import json
import math
from pathlib import Path

from torch.nn.functional import cross_entropy
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from memorization.shell.cli import UserError
from memorization.store.files import write_text
from memorization.training.blocks import IGNORED

LOSSES = "losses.jsonl"
NAMES = {"loss": "train_loss", "eval_loss": "eval_loss", "eval_perplexity": "perplexity"}  # in the log -> in the file
NAMES |= {"eval_output_loss": "eval_output_loss", "eval_output_perplexity": "output_perplexity"}


def token_losses(scores, labels, ahead=1):
    """Negative log-likelihood of each label in nats, shape (batch, length - ahead); 0 where there is none.

    scores: logits (batch, length, vocabulary), or a tuple that begins with them. ahead: of loading.Architecture.
    """
    logits = scores[0] if isinstance(scores, tuple) else scores
    logits = logits[:, : logits.shape[1] - ahead].transpose(1, 2).float()
    return cross_entropy(logits, labels[:, ahead:], ignore_index=IGNORED, reduction="none")


def target_loss(outputs, labels, num_items_in_batch=None, smoothing=0.0):
    """The mean over all labels of a step, as the Trainer counts them, of an encoder-decoder model's losses.

    The model's own would be the mean of each batch: one in a batch of short targets would count for more.
    """
    logits = outputs.logits.transpose(1, 2).float()
    total = cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum", label_smoothing=smoothing)
    return total / ((labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch)


def check_finite(value, what, step=None):
    """Raise UserError if the value, called `what`, is NaN or infinite: nothing good comes after it.

    step: the optimizer step of the training that is going on, if it is.
    """
    if math.isfinite(value):
        return
    if step is None:
        raise UserError(f"the model's {what} is {value}; name another model, or evaluate in another precision")
    raise UserError(
        f"the {what} is {value} at step {step}, so training ends here; lower --learning-rate or train in another "
        "precision (--bf16, or neither --bf16 nor --fp16), with --overwrite-output-dir"
    )


def write_logged(path, log, names):
    """Write what the Trainer has logged, a JSON line a step at which there is any. names: dict in the log -> there."""
    rows = {}
    for entry in log:
        if found := {names[name]: entry[name] for name in names if name in entry}:
            rows.setdefault(entry["step"], {"epoch": entry["epoch"], "step": entry["step"]}).update(found)
    if rows:
        write_text(path, "".join(json.dumps(row) + "\n" for row in rows.values()))


class Losses(TrainerCallback, ExportableState):
    """Keeps losses.jsonl in the output directory: a row each time losses are logged, an epoch unless told otherwise.

    Its sums and the Trainer's log travel in the checkpoints, so a resumed run writes what an uninterrupted one does.
    """

    def __init__(self):
        self.total = self.since_logged = 0.0  # of the losses of all steps, and of those since the last row
        self.logged_step = 0
        self.path = None  # set once training begins: evaluating alone writes no row
        self._deferred = False

    def state(self):
        """What travels in a checkpoint."""
        names = ("total", "since_logged", "logged_step")
        return {"args": {}, "attributes": {name: getattr(self, name) for name in names}}

    def add(self, loss, step):
        check_finite(loss, "training loss", step)
        self.total += loss
        self.since_logged += loss

    def mean_since_logged(self, step):
        mean = self.since_logged / (step - self.logged_step)
        self.since_logged, self.logged_step = 0.0, step
        return mean

    def on_train_begin(self, args, state, control, **_):
        saved = state.stateful_callbacks[type(self).__name__] if state.global_step else type(self)().state()
        vars(self).update(saved["attributes"], path=Path(args.output_dir, LOSSES))

    def on_step_end(self, args, state, control, **_):
        # A checkpoint at the end of an epoch waits for the epoch's losses: a run resumed from it would never log them.
        if control.should_save and (state.epoch.is_integer() or control.should_training_stop):
            control.should_save, self._deferred = False, True

    def on_epoch_end(self, args, state, control, **_):
        control.should_save, self._deferred = control.should_save or self._deferred, False

    def on_log(self, args, state, control, **_):
        if state.is_world_process_zero and self.path:
            write_logged(self.path, state.log_history, NAMES)
