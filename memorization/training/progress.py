"""What stage 2 shows on the terminal: a bar a long step, a line a logged loss, and nothing of the libraries."""

import logging
import warnings
from contextlib import contextmanager

from tqdm import tqdm
from transformers.trainer_callback import ProgressCallback
from transformers.trainer_utils import has_length


class Progress(ProgressCallback):
    """The bars of the first rank, and the losses in our words."""

    def on_train_begin(self, args, state, control, **_):
        self.current_step = state.global_step
        if state.is_world_process_zero:
            done = {"total": state.max_steps, "initial": state.global_step}
            self.training_bar = _bar(args, desc="training", unit=" steps", **done)

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **_):
        if state.is_world_process_zero and has_length(eval_dataloader):
            if self.prediction_bar is None:
                self.prediction_bar = _bar(args, desc="evaluating", unit=" batches", total=len(eval_dataloader))
            self.prediction_bar.update()

    def on_log(self, args, state, control, logs=None, **_):
        if state.is_world_process_zero and self.training_bar is not None:
            at = f"epoch {state.epoch:.3g}, step {state.global_step}"
            if "loss" in logs:
                tqdm.write(f"{at}: training loss {logs['loss']:.4f}")
            if "eval_loss" in logs:
                tqdm.write(f"{at}: held-out loss {logs['eval_loss']:.4f}, perplexity {logs['eval_perplexity']:.2f}")

    def close(self):
        """End the lines of bars that an error has left behind."""
        for bar in (self.prediction_bar, self.training_bar):
            if bar is not None:
                bar.close()


def _bar(args, **options):
    return tqdm(leave=False, dynamic_ncols=True, disable=args.disable_tqdm, **options)


@contextmanager
def quiet(argv):
    """Keep quiet what the libraries note and warn of in the block, unless a --log-level is given."""
    if any(arg.replace("_", "-").startswith("--log-level") for arg in argv):
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
