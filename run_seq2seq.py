"""Stage 2 for encoder-decoder models (T5, Flan-T5, BART): fine-tune one on what stage 1 encoded for them.

    python run_seq2seq.py --model-name-or-path ./flan-t5-small \\
        --train-file tokenized_data/tokenized_summarization_train \\
        --validation-file tokenized_data/tokenized_summarization_test \\
        --output-dir finetuned_models/summarization

Takes what encode_*.py --encoder-decoder wrote: the encoder reads the source, the
decoder learns the target. Everything else is as of run_clm.py: it trains from
scratch with --config-name, runs under deepspeed and torchrun, goes on from its
last checkpoint, takes every flag of transformers.TrainingArguments and writes
the same files.
"""

from dataclasses import dataclass
from typing import Literal

from memorization.models.loading import ENCODER_DECODER
from memorization.shell import cli
from memorization.shell.flags import any_text, whole
from memorization.training.arguments import DataArguments, flag, parse_flags
from memorization.training.fine_tune import fine_tune
from memorization.training.launch import told_once
from memorization.training.pairs import read_pairs


@dataclass
class PairArguments(DataArguments):
    max_source_length: int | None = flag(
        "most tokens of a source (default: the model's context, T5: no limit)", check=whole(2)
    )
    max_target_length: int | None = flag(
        "most tokens of a target (default: the model's context, T5: no limit)", check=whole(1)
    )
    probe: Literal["source", "target"] | None = flag("of what, as stage 3's --probe (default: stage 1's)")
    source_prefix: str | None = flag(
        "checked only: it is stage 1's --source-prefix that stands before each source", check=any_text
    )


def parse(argv=None):
    """The flags as ModelArguments, PairArguments and TrainingArguments, which set up the devices and ranks."""
    return parse_flags("run_seq2seq.py", __doc__, PairArguments, argv)


def main(argv=None):
    fine_tune(ENCODER_DECODER, read_pairs, *parse(argv))


if __name__ == "__main__":
    cli.run(told_once, main)
