"""What stage 2 shows on the terminal: a progress bar, a line for each logged loss, and nothing of the libraries."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm
from transformers import TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import has_length


class Progress(ProgressCallback):
    """The bars of the first rank, and lines for the losses."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **options: Any) -> None:
        self.current_step = state.global_step
        if state.is_world_process_zero:
            progress = {"total": state.max_steps, "initial": state.global_step}
            self.training_bar = _bar(args.disable_tqdm, desc="training", unit=" steps", **progress)

    def on_prediction_step(self, args: TrainingArguments, state: TrainerState, *_: Any, **options: Any) -> None:
        batches = options["eval_dataloader"]
        if state.is_world_process_zero and has_length(batches):
            if self.prediction_bar is None:
                total = len(batches)
                self.prediction_bar = _bar(args.disable_tqdm, desc="evaluating", unit=" batches", total=total)
            self.prediction_bar.update()  # type: ignore[attr-defined]  # typed as None

    def on_log(self, args: TrainingArguments, state: TrainerState, *_: Any, **options: Any) -> None:
        logs = options["logs"]
        if state.is_world_process_zero and self.training_bar is not None:
            place = f"epoch {state.epoch:.3g}, step {state.global_step}"
            if "loss" in logs:
                tqdm.write(f"{place}: training loss {logs['loss']:.4f}")
            if "eval_loss" in logs:
                tqdm.write(f"{place}: held-out loss {logs['eval_loss']:.4f}, perplexity {logs['eval_perplexity']:.2f}")

    def close(self) -> None:
        """End the lines of bars that an error left behind."""
        for bar in (self.prediction_bar, self.training_bar):
            if bar is not None:
                bar.close()


def _bar(disable: bool | None, **options: Any) -> tqdm:
    return tqdm(leave=False, dynamic_ncols=True, disable=disable, **options)


@contextmanager
def quiet_libraries(argv: Sequence[str]) -> Iterator[None]:
    """Suppress notes and warnings of the libraries in the block, unless a --log-level is given."""
    if any(flag.replace("_", "-").startswith("--log-level") for flag in argv):
        yield
        return
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
