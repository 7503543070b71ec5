"""The settings of stage 3, and their flags."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from memorization.extraction.engine import DecodingSettings
from memorization.shell.flags import SEEDS, Range, text, whole
from memorization.store import locations


@dataclass(frozen=True)
class ExtractionSettings:
    """Stage 3's flags (inference_prefix.py --help). adapter: None for none; then a model_path is needed. engine: what
    extract.open_backend takes. device_map: None for a device a process."""

    model_path: str | None
    token_path: str | None
    base_model: str | None
    subset_name: str
    output_name: str
    dir_name: str
    tokenized_dir: str
    output_dir: str
    overwrite: bool
    unchecked: bool
    probe: str | None
    prefix_length: int | None
    probes: str | None
    shared_prompts: bool
    members: int | None
    held_out: int | None
    max_new_tokens: int
    batch_size: int
    dtype: str
    temperature: float
    top_k: int
    top_p: float
    num_samples: int
    seed: int
    adapter: list[str] | None = None
    engine: str = "transformers"
    token_scores: bool = False  # has no effect
    device_map: str | None = None
    max_requests: int | None = None
    max_tokens: int | None = None

    @property
    def decoding(self) -> DecodingSettings:
        return DecodingSettings(self.max_new_tokens, self.temperature, self.top_k, self.top_p, self.seed)

    @property
    def path(self) -> Path:
        """Where the generations lie."""
        return locations.generations_path(self.output_dir, self.dir_name, self.subset_name, self.output_name)


def add_model_arguments(parser: argparse.ArgumentParser, model: str, tokenizer: str) -> None:
    """Add the flags that name a model, its adapters, tokenizer and base model. model, tokenizer: two of the flags."""
    parser.add_argument(model, help="the model: path or hub name; with --adapter, its base model")
    parser.add_argument(
        "--adapter",
        nargs="+",
        metavar="DIR",
        help=f"an adapter of peft (LoRA ...) on it, or several; without {model} on the base model that it names",
    )
    parser.add_argument(tokenizer, help=f"its tokenizer: path or hub name (default: the adapter's, {model}'s)")
    parser.add_argument(
        "--base-model",
        help="the model before fine-tuning: the same with it, to compare: path or hub name; an adapter's own is not "
        "loaded twice",
    )


def add_extraction_arguments(parser: argparse.ArgumentParser, several_lengths: bool = False) -> None:
    """Add the flags that say how probes are asked; those that name paths are the script's.

    several_lengths: whether --prefix-length takes several numbers, as a list.
    """
    parser.add_argument("--overwrite", action="store_true", help="replace the result of another run")
    parser.add_argument(
        "--unchecked", action="store_true", help="go on with probes that the model was not trained with"
    )
    parser.add_argument(
        "--engine",
        type=text,
        default="transformers",
        metavar="NAME|URL|FILE",
        help="what runs the model: transformers (default), vllm (docs/scaling.md), a server at an address, or a file "
        "of generations that were made elsewhere (docs/stages.md)",
    )
    add_device_map_argument(parser)
    parser.add_argument(
        "--max-requests", type=whole(1), metavar="N", help="the most requests of a run to --engine URL (default: any)"
    )
    parser.add_argument(
        "--max-tokens", type=whole(1), metavar="N", help="and the most tokens, those of prompts included (default: any)"
    )
    parser.add_argument(
        "--probe",
        choices=["text", "source", "target"],
        help="what the prefix is of: text, of the whole sample; target, of the output, and what stands before it is "
        "given too; source, of what an encoder reads (default: stage 1's)",
    )
    if several_lengths:
        parser.add_argument(
            "--prefix-length",
            type=_lengths,
            metavar="TOKENS,...",
            help="tokens of a prefix, or several numbers, as 0,5,10,20: each is a result (default: 50; of a chat 0)",
        )
    else:
        parser.add_argument("--prefix-length", type=whole(0), help="tokens of a prefix (default: stage 1's)")
    parser.add_argument(
        "--shared-prompts",
        action="store_true",
        help="go on where most probes share their prompt with another; every report says so",
    )
    parser.add_argument(
        "--members",
        type=whole(1),
        metavar="N",
        help="ask for so many members alone, drawn in proportion to their numbers of copies, each of which is "
        "represented, and whole clusters of near-duplicates (default: all)",
    )
    parser.add_argument(
        "--held-out", type=whole(1), metavar="N", help="and so many held-out samples, drawn alike (default: all)"
    )
    parser.add_argument(
        "--max-new-tokens", type=whole(1), default=100, help="tokens of a generation (default: %(default)s)"
    )
    parser.add_argument("--batch-size", type=whole(1), default=32, help="generations at a time (default: %(default)s)")
    parser.add_argument(
        "--dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto", help="auto: the checkpoint's"
    )
    temperature = Range(0.001, 1000, also=0)  # beyond, scores divided by it are infinite or all alike
    parser.add_argument("--temperature", type=temperature, default=0.0, help="0 is greedy (default: %(default)s)")
    parser.add_argument(
        "--top-k", type=whole(0), default=0, help="sample among the k likeliest tokens; 0: all (default)"
    )
    parser.add_argument(
        "--top-p",
        type=Range(0, 1, over=True),
        default=1.0,
        help="sample among the likeliest that sum to p (default: %(default)s)",
    )
    parser.add_argument(
        "--token-scores", action="store_true", help="has no effect: the log probabilities of tokens are always kept"
    )
    parser.add_argument("--num-samples", type=whole(1), default=1, help="generations of a probe (default: %(default)s)")
    parser.add_argument(
        "--seed",
        type=whole(0, SEEDS),
        default=5,
        help="of the sampling, of tokens and of --members and --held-out (default: %(default)s)",
    )


def add_device_map_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says where the weights of a model lie."""
    parser.add_argument(
        "--device-map",
        choices=["auto"],
        help="auto: spread the model over the GPUs of this machine, and what they do not hold, slowly, over its memory "
        "and disk (default: whole on the GPU of each process)",
    )


def _lengths(text: str) -> list[int]:
    lengths = [int(whole(0)(part)) for part in text.split(",")]
    if len(set(lengths)) < len(lengths):
        raise argparse.ArgumentTypeError(f"{text}: names a number twice; give different ones, as 0,5,10,20")
    return lengths
