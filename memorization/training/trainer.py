"""What fine-tuning adds to the transformers Trainer (stage 2): losses by token, an end where one is not finite,
checkpoints that are complete or not there."""

from pathlib import Path

import numpy as np
import torch
from transformers import PrinterCallback, ProgressCallback, Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from memorization.runs import check_sums, write_sums
from memorization.training.blocks import IGNORED
from memorization.training.checkpoints import rotate
from memorization.training.launch import on_first_rank
from memorization.training.losses import Losses, check_finite, token_losses
from memorization.training.order import Grouped
from memorization.training.progress import Progress


class ClmTrainer(Trainer):
    """A Trainer whose evaluation loss is the mean over tokens, not over batches: its exponential is the perplexity.

    Its training losses are the means over all steps and ranks, also those before a resume. Raises UserError where a
    loss is not finite.
    """

    def __init__(self, **options):
        super().__init__(preprocess_logits_for_metrics=token_losses, compute_metrics=self._mean, **options)
        self.losses = Losses()
        self.add_callback(self.losses)
        for callback in (ProgressCallback, PrinterCallback):
            self.remove_callback(callback)
        self.progress = Progress()
        self.add_callback(self.progress)
        self._step_loss = 0.0

    def training_step(self, *args, **options):
        loss = super().training_step(*args, **options)
        self._step_loss += loss.float()
        if self.accelerator.sync_gradients:  # the last batch of a step
            mean = self.accelerator.reduce(self._step_loss, "mean").item()
            self.losses.add(mean, self.state.global_step + 1)
            self._step_loss = 0.0
        return loss

    def log(self, logs, start_time=None):
        step = self.state.global_step
        if "loss" in logs:
            logs["loss"] = self.losses.mean_since_logged(step)
        if "train_loss" in logs:
            logs["train_loss"] = self.losses.total / step
        super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset=None):
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        together = self.args.train_batch_size * self.args.world_size  # what the ranks take at a time
        return Grouped(self.train_dataset.lengths, together, seed, lambda: int(self.state.epoch))

    def _get_eval_sampler(self, eval_dataset):
        return (-eval_dataset.lengths).argsort(kind="stable").tolist()

    def _save_checkpoint(self, model, trial):
        """Older checkpoints go when the new one is complete and marked as such, not before."""
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()  # until then other ranks may still write theirs
        if self.args.should_save:
            write_sums(Path(self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"))
            rotate(self.args.output_dir, limit, self.state.best_model_checkpoint)

    def _load_best_model(self):
        on_first_rank(check_sums, self.state.best_model_checkpoint)
        super()._load_best_model()

    @staticmethod
    def _mean(evaluation):
        loss = evaluation.predictions[evaluation.label_ids[:, 1:] != IGNORED].mean(dtype=np.float64)
        with np.errstate(over="ignore"):
            return {"token_loss": loss, "perplexity": np.exp(loss)}

    def evaluation_loop(self, *args, metric_key_prefix="eval", **options):
        with torch.random.fork_rng(devices=[]):  # evaluating more or less often leaves the training as it is
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
        output.metrics[f"{metric_key_prefix}_loss"] = output.metrics.pop(f"{metric_key_prefix}_token_loss")
        step = self.state.global_step if self.train_dataset else None
        for name in ("loss", "perplexity"):
            check_finite(output.metrics[f"{metric_key_prefix}_{name}"], f"held-out {name}", step)
        return output
