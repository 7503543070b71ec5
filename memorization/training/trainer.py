"""What fine-tuning adds to the transformers Trainer: losses by token, an end where one is not finite, checkpoints that
are complete or not there."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, EvalLoopOutput

from memorization.models.loading import Architecture
from memorization.models.ranks import on_first_rank
from memorization.models.trained import check_sums, write_sums
from memorization.shell.cli import UserError
from memorization.training.checkpoints import remove_old_checkpoints
from memorization.training.length_grouping import LengthGroupedSampler, sample_lengths
from memorization.training.losses import Losses, check_finite, target_loss, token_losses
from memorization.training.progress import Progress
from memorization.training.task_mixture import MixtureSampler
from memorization.training.token_blocks import IGNORED

OUTPUT = "output_loss", "output_perplexity"


class TokenTrainer(Trainer):
    """A Trainer whose evaluation loss is the mean over tokens, not over batches: its exponential is the perplexity.
    Where batches have `output_labels`, their mean is the output's loss, and gives its perplexity.

    Training losses are means over all steps and ranks, also those before a resume. Raises UserError where a loss is not
    finite.
    """

    def __init__(
        self,
        architecture: Architecture,
        args: TrainingArguments,
        train_weights: list[float] | None = None,
        **options: Any,
    ) -> None:
        """train_weights: the shares of the sets that make the training set (default: by size)."""
        self._ahead = architecture.ahead
        args.remove_unused_columns = False  # batches have columns that the model does not take
        loss = None if self._ahead else partial(target_loss, smoothing=args.label_smoothing_factor)
        super().__init__(
            args=args,
            preprocess_logits_for_metrics=self._token_losses,
            compute_metrics=self._means,
            compute_loss_func=loss,
            **options,
        )
        self.losses = Losses()
        self.add_callback(self.losses)
        for callback in (ProgressCallback, PrinterCallback):
            self.remove_callback(callback)
        self.progress = Progress()
        self.add_callback(self.progress)
        self._step_loss: Any = 0.0
        self._order: torch.utils.data.Sampler | None = None
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        if train_weights:
            sizes = list(map(len, options["train_dataset"].datasets))
            self._order = MixtureSampler(sizes, train_weights, seed)
        elif self.train_dataset and self.args.train_sampling_strategy == "group_by_length":
            batch_size = self.args.train_batch_size * self.args.world_size  # of all ranks
            self._order = LengthGroupedSampler(sample_lengths(self.train_dataset), batch_size, seed)

    def _get_train_sampler(self, *args):
        return self._order or super()._get_train_sampler(*args)

    def _get_eval_sampler(self, eval_dataset):
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_eval_sampler(eval_dataset)
        return (-sample_lengths(eval_dataset)).argsort(kind="stable").tolist()

    def _run_epoch(self, *args, epoch, train_dataloader, **options):
        train_dataloader.set_epoch(epoch)  # after a resume on several ranks accelerate does not reach the sampler
        return super()._run_epoch(*args, epoch=epoch, train_dataloader=train_dataloader, **options)

    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        loss = super().training_step(*args, **options)
        self._step_loss += loss.float()
        if self.accelerator.sync_gradients:  # the last batch of a step
            mean = self.accelerator.reduce(self._step_loss, "mean").item()
            self.losses.add(mean, self.state.global_step + 1)
            self._step_loss = 0.0
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        step = self.state.global_step
        if "loss" in logs:
            logs["loss"] = self.losses.mean_since_logged(step)
        if "train_loss" in logs and not step:
            raise UserError(
                "the Trainer has made no step; give more --num-train-epochs, --max-steps or data, or correct "
                "--gradient-accumulation-steps"
            )
        if "train_loss" in logs:
            logs["train_loss"] = self.losses.total / step
        super().log(logs, start_time)

    def _save_checkpoint(self, model, trial):
        """Remove older checkpoints when the new one is complete and marked as such, not before."""
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        super()._save_checkpoint(model, trial)
        self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()  # until then other ranks may still write theirs
        if self.args.should_save:
            write_sums(Path(self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"))
            remove_old_checkpoints(self.args.output_dir, limit, self.state.best_model_checkpoint)

    def _load_best_model(self):
        on_first_rank(check_sums, self.state.best_model_checkpoint)
        super()._load_best_model()

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **options: Any) -> tuple[Any, ...]:
        output_labels = inputs.pop("output_labels", None)
        labels: Any
        *loss_and_scores, labels = super().prediction_step(model, inputs, *args, **options)
        if output_labels is not None and labels is not None:
            labels = (labels, output_labels.to(labels.device))
        return *loss_and_scores, labels

    def _token_losses(self, scores, labels):
        return token_losses(scores, labels[0] if isinstance(labels, tuple) else labels, self._ahead)

    def _means(self, evaluation):
        """Losses and perplexities by token, of all labels and of those of the output alone."""
        labels = evaluation.label_ids if isinstance(evaluation.label_ids, tuple) else (evaluation.label_ids,)
        means = {}
        for names, label_ids in zip((("token_loss", "perplexity"), OUTPUT), labels, strict=False):
            if (counted := label_ids[:, self._ahead :] != IGNORED).any():
                loss = evaluation.predictions[counted].mean(dtype=np.float64)
                with np.errstate(over="ignore"):
                    means |= zip(names, (loss, np.exp(loss)), strict=True)
        return means

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **options: Any) -> EvalLoopOutput:
        with torch.random.fork_rng(devices=[]):  # so that training does not depend on how often it is evaluated
            output = super().evaluation_loop(*args, **options, metric_key_prefix=metric_key_prefix)  # type: ignore[misc]
        metrics: dict[str, float] = output.metrics or {}
        metrics[f"{metric_key_prefix}_loss"] = metrics.pop(f"{metric_key_prefix}_token_loss")
        step = self.state.global_step if self.train_dataset else None
        for name in ("loss", "perplexity"):
            check_finite(metrics[f"{metric_key_prefix}_{name}"], f"held-out {name}", step)
        return output
