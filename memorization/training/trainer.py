"""What fine-tuning adds to the transformers Trainer (stage 2): losses by token, an end where one is not finite,
checkpoints that are complete or not there."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import PrinterCallback, ProgressCallback, Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from memorization.models.trained import check_sums, write_sums
from memorization.training.blocks import IGNORED
from memorization.training.checkpoints import rotate
from memorization.training.launch import on_first_rank
from memorization.training.losses import Losses, check_finite, target_loss, token_losses
from memorization.training.mixture import MixtureSampler
from memorization.training.order import Grouped, lengths
from memorization.training.progress import Progress

OUTPUT = "output_loss", "output_perplexity"


class TokenTrainer(Trainer):
    """A Trainer whose evaluation loss is the mean over tokens, not over batches: its exponential is the perplexity.
    Where batches have `output_labels`, the same over those is the output's loss and perplexity.

    Its training losses are the means over all steps and ranks, also those before a resume. Raises UserError where a
    loss is not finite. kind: of the model (loading). train_weights: the shares of the sets that make the training
    set, or None: each by its size.
    """

    def __init__(self, kind, train_weights=None, **options):
        self._ahead, args = kind.ahead, options["args"]
        args.remove_unused_columns = False  # batches have none, and more than the model's own
        super().__init__(
            preprocess_logits_for_metrics=self._token_losses,
            compute_metrics=self._means,
            compute_loss_func=None if kind.ahead else partial(target_loss, smoothing=args.label_smoothing_factor),
            **options,
        )
        self.losses = Losses()
        self.add_callback(self.losses)
        for callback in (ProgressCallback, PrinterCallback):
            self.remove_callback(callback)
        self.progress = Progress()
        self.add_callback(self.progress)
        self._step_loss = 0.0
        self._order = None
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        if train_weights:
            self._order = MixtureSampler(list(map(len, self.train_dataset.datasets)), train_weights, seed)
        elif self.train_dataset and self.args.train_sampling_strategy == "group_by_length":
            together = self.args.train_batch_size * self.args.world_size  # what the ranks take at a time
            self._order = Grouped(lengths(self.train_dataset), together, seed)

    def _get_train_sampler(self, *args):
        return self._order or super()._get_train_sampler(*args)

    def _get_eval_sampler(self, eval_dataset):
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_eval_sampler(eval_dataset)
        return (-lengths(eval_dataset)).argsort(kind="stable").tolist()

    def _run_epoch(self, *args, epoch, train_dataloader, **options):
        train_dataloader.set_epoch(epoch)  # after a resume on several ranks accelerate would not reach the sampler
        return super()._run_epoch(*args, epoch=epoch, train_dataloader=train_dataloader, **options)

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

    def prediction_step(self, model, inputs, *args, **options):
        output_labels = inputs.pop("output_labels", None)
        *found, labels = super().prediction_step(model, inputs, *args, **options)
        return *found, labels if output_labels is None else (labels, output_labels.to(labels.device))

    def _token_losses(self, scores, labels):
        return token_losses(scores, labels[0] if isinstance(labels, tuple) else labels, self._ahead)

    def _means(self, evaluation):
        """Losses and perplexities by token, of all labels and of those of the output alone."""
        labels = evaluation.label_ids if isinstance(evaluation.label_ids, tuple) else (evaluation.label_ids,)
        means = {}
        for names, of in zip((("token_loss", "perplexity"), OUTPUT), labels, strict=False):
            if (counted := of[:, self._ahead :] != IGNORED).any():
                loss = evaluation.predictions[counted].mean(dtype=np.float64)
                with np.errstate(over="ignore"):
                    means |= zip(names, (loss, np.exp(loss)), strict=True)
        return means

    def evaluation_loop(self, *args, metric_key_prefix="eval", **options):
        with torch.random.fork_rng(devices=[]):  # evaluating more or less often leaves the training as it is
            output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **options)
        output.metrics[f"{metric_key_prefix}_loss"] = output.metrics.pop(f"{metric_key_prefix}_token_loss")
        step = self.state.global_step if self.train_dataset else None
        for name in ("loss", "perplexity"):
            check_finite(output.metrics[f"{metric_key_prefix}_{name}"], f"held-out {name}", step)
        return output
