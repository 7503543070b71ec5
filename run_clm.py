"""Stage 2: fine-tune a causal language model on stage 1's tokenized data.

    python run_clm.py --model-name-or-path ./gpt-neo-125m \\
        --train-file tokenized_data/tokenized_dialogue_train \\
        --validation-file tokenized_data/tokenized_dialogue_test \\
        --output-dir finetuned_models/dialogue

Trains from scratch with --config-name (and --tokenizer-name) in place of
--model-name-or-path. On several GPUs start it with `deepspeed --num_gpus=4
run_clm.py --deepspeed ds_config.json ...` or with torchrun; on a machine
without GPUs these ranks run on the CPU. A run that was stopped goes on from its
last checkpoint when it is started again; what is another run's is never gone on
with or trained over, unless --overwrite-output-dir says so. Takes every flag of
transformers.TrainingArguments too; unless told otherwise there are a checkpoint
and an evaluation an epoch. Writes the model, its tokenizer, checkpoints,
train_results.json, eval_results.json, losses.jsonl (a row an epoch),
memorization.jsonl (with --memorization-probes) and run.json (what makes the
weights) to the output directory.
"""

from dataclasses import dataclass
from typing import Literal

from memorization.models.loading import CAUSAL
from memorization.shell import cli
from memorization.shell.flags import whole
from memorization.training.arguments import DataArguments, flag, parse_flags
from memorization.training.blocks import read_blocks
from memorization.training.fine_tune import fine_tune
from memorization.training.launch import told_once


@dataclass
class BlockArguments(DataArguments):
    probe: Literal["text", "target"] | None = flag("of what, as stage 3's --probe (default: stage 1's)")
    block_size: int | None = flag("most tokens of a sample (default: the model's context)", check=whole(2))
    long_samples: Literal["cut", "split"] = flag(
        "keep the first block of a longer sample, or all (default: cut)", "cut"
    )
    packing: bool = flag("train on several samples a row, none of which sees another; evaluation is not packed", False)
    loss_on: Literal["all", "output"] = flag("the tokens that are learned: all, or the output's alone", "all")


def parse(argv=None):
    """The flags as ModelArguments, BlockArguments and TrainingArguments, which set up the devices and ranks."""
    return parse_flags("run_clm.py", __doc__, BlockArguments, argv)


def main(argv=None):
    fine_tune(CAUSAL, read_blocks, *parse(argv))


if __name__ == "__main__":
    cli.run(told_once, main)
