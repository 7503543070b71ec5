"""Stage 2: fine-tune a causal language model on stage 1's tokenized data.

    python run_clm.py --model-name-or-path ./gpt-neo-125m \\
        --train-file tokenized_data/tokenized_dialogue_train \\
        --validation-file tokenized_data/tokenized_dialogue_test \\
        --output-dir finetuned_models/dialogue

Trains from scratch with --config-name (and --tokenizer-name) in place of
--model-name-or-path. On several GPUs start it with `deepspeed --num_gpus=4
run_clm.py --deepspeed ds_config.json ...` or with torchrun; on a machine
without GPUs these ranks run on the CPU. A run that was stopped continues from
its last checkpoint when it is started again. Nothing of another run is
continued or overwritten, unless --overwrite-output-dir says so. Takes every
flag of transformers.TrainingArguments too; by default there are a checkpoint
and an evaluation each epoch. Writes the model, its tokenizer, checkpoints,
train_results.json, eval_results.json, losses.jsonl (a row an epoch),
memorization.jsonl (with --memorization-probes) and run.json (what makes the
weights) to the output directory.
"""

from collections.abc import Sequence

from transformers import TrainingArguments

from memorization.models.loading import CAUSAL
from memorization.shell import cli
from memorization.training.distributed import quietly
from memorization.training.fine_tune import fine_tune
from memorization.training.flag_parser import parse_flags
from memorization.training.settings import BlockSettings
from memorization.training.token_blocks import read_blocks


def parse(argv: Sequence[str] | None = None) -> tuple[BlockSettings, TrainingArguments]:
    """The flags, which set up the devices and ranks."""
    return parse_flags("run_clm.py", __doc__, BlockSettings, argv)


def main(argv: Sequence[str] | None = None) -> None:
    fine_tune(CAUSAL, read_blocks, *parse(argv))


if __name__ == "__main__":
    cli.run(quietly, main)
