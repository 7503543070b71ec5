"""Stage 2 for encoder-decoder models (T5, Flan-T5, BART): fine-tune one on what stage 1 encoded for them.

    python run_seq2seq.py --model-name-or-path ./flan-t5-small \\
        --train-file tokenized_data/tokenized_summarization_train \\
        --validation-file tokenized_data/tokenized_summarization_test \\
        --output-dir finetuned_models/summarization

Takes what encode_*.py --encoder-decoder wrote: the encoder reads the source,
the decoder learns the target. Everything else is as in run_clm.py: it trains from
scratch with --config-name, runs under deepspeed and torchrun, continues from
its last checkpoint, takes every flag of transformers.TrainingArguments and writes
the same files.
"""

from collections.abc import Sequence

from transformers import TrainingArguments

from memorization.models.loading import ENCODER_DECODER
from memorization.shell import cli
from memorization.training.distributed import quietly
from memorization.training.encoder_decoder_data import read_sources_and_targets
from memorization.training.fine_tune import fine_tune
from memorization.training.flag_parser import parse_flags
from memorization.training.settings import SourceTargetSettings


def parse(argv: Sequence[str] | None = None) -> tuple[SourceTargetSettings, TrainingArguments]:
    """The flags, which set up the devices and ranks."""
    return parse_flags("run_seq2seq.py", __doc__, SourceTargetSettings, argv)


def main(argv: Sequence[str] | None = None) -> None:
    fine_tune(ENCODER_DECODER, read_sources_and_targets, *parse(argv))


if __name__ == "__main__":
    cli.run(quietly, main)
