"""The settings of stage 1, and the flags they come from."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memorization.encoding.canary_secrets import CanarySettings, add_canary_arguments, canary_settings
from memorization.encoding.stored_sets import PROBE_KINDS
from memorization.encoding.task_rows import DataSettings, add_data_arguments, data_settings
from memorization.encoding.tasks import Task
from memorization.shell.cli import Parser
from memorization.shell.flags import PROCESSES, SEEDS, Range, any_text, file_name, whole

SEED, TEST_SIZE = 5, 0.1
DEFAULT_TOKENIZER = Path(__file__).parents[2] / "configs" / "gpt-neo-small"


@dataclass(frozen=True)
class EncodingSettings:
    """The settings of stage 1, by the names of their flags (--help says what they mean).

    test_size, seed: of a drawn split; the seed is that of canaries too. near_duplicates: None for no rule. flags: all
    of them as given, for the manifests.
    """

    data: DataSettings
    tokenizer: str
    name: str
    output_dir: Path
    overwrite: bool
    prefix_length: int
    min_suffix_length: int
    probe: str
    shared_prompts: bool
    test_size: float
    near_duplicates: float | None
    deduplicate: bool
    seed: int
    num_proc: int
    encoder_decoder: bool
    source_prefix: str
    canaries: CanarySettings | None
    flags: dict[str, Any]


def add_sample_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which samples are taken, and how fast."""
    parser.add_argument(
        "--max-samples",
        type=whole(1),
        help="take only the first N samples of the data, or of either side (default: all)",
    )
    parser.add_argument(
        "--min-suffix-length", type=whole(1), help="least tokens of a suffix (default: 20, of a chat's turn 12)"
    )
    parser.add_argument(
        "--near-duplicates",
        type=_share,
        default=0.8,
        metavar="SHARE",
        help="keep texts on one side that share as much of their word 5-grams, or none: only copies; of given data, "
        "such held-out texts are left out (default: 0.8)",
    )
    parser.add_argument(
        "--num-proc", type=whole(1, PROCESSES), default=1, help="processes that tokenize (default: %(default)s)"
    )


def parse_settings(description: str, task: Task) -> EncodingSettings:
    """The settings that the command line of the script that encodes a task gives."""
    parser = Parser(description)
    add_data_arguments(parser, task)
    add_sample_arguments(parser)
    parser.add_argument("--tokenizer", default=str(DEFAULT_TOKENIZER), help="path or hub name (default: %(default)s)")
    parser.add_argument(
        "--name", type=file_name, default=task.name, help="what the outputs are called (default: %(default)s)"
    )
    parser.add_argument("--output-dir", default="tokenized_data", help="where they go (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was made of other data or settings")
    parser.add_argument(
        "--prefix-length",
        type=whole(0),
        help="tokens of a prefix, unless stages 2 to 4 say otherwise; 0: what stands before the target alone "
        "(default: 50, of a chat's turns 0)",
    )
    parser.add_argument(
        "--probe",
        choices=["text", "source", "target"],
        help="what the prefix is of: text, of the whole sample; target, of the output, and all text before it is "
        "given too; source, of the input of encoder-decoder models (default: text; of chats target; source with "
        "--encoder-decoder)",
    )
    parser.add_argument(
        "--shared-prompts", action="store_true", help="go on where most probes share their prompt with another"
    )
    parser.add_argument(
        "--test-size",
        type=Range(0, 1, over=True, under=True),
        help=f"share of held-out samples (default: {TEST_SIZE})",
    )
    parser.add_argument(
        "--deduplicate",
        action="store_true",
        help="train on one text of each cluster of near-duplicates; with --near-duplicates none, on one copy of each",
    )
    parser.add_argument("--seed", type=whole(0, SEEDS), help=f"of the split, and of canaries (default: {SEED})")
    parser.add_argument(
        "--encoder-decoder",
        action="store_true",
        help="for T5, BART and their like, which read the source and write the target (default: for causal models)",
    )
    parser.add_argument(
        "--source-prefix",
        type=any_text,
        default="",
        help='text before each source, for T5 "summarize: ", say (default: none)',
    )
    add_canary_arguments(parser)
    flags = parser.parse_args()
    data = data_settings(parser, flags, task)
    canaries = canary_settings(parser, flags)
    if data.split == "given":
        without_effect = {"--test-size": flags.test_size, "--seed": None if canaries else flags.seed}
        if given := [flag for flag, value in without_effect.items() if value is not None]:
            parser.error(f"{given[0]}: has no effect with --train-data, which says what is a member; leave it out")
    if flags.source_prefix and not flags.encoder_decoder:
        parser.error("--source-prefix: is for encoder-decoder models; add --encoder-decoder, or leave it out")
    if task.chat and (not_for_chats := [name for name in ("encoder_decoder", "canaries") if getattr(flags, name)]):
        parser.error(f"--{not_for_chats[0].replace('_', '-')}: is not for chats; leave it out")
    kinds = PROBE_KINDS[flags.encoder_decoder]
    vars(flags).update(default_probes(task, flags.encoder_decoder, vars(flags)))
    if flags.prefix_length == 0 and flags.probe != "target":
        parser.error(f"--prefix-length 0: gives nothing of a {flags.probe} to go on from; add --probe target")
    if flags.probe not in kinds:
        models, remedy = ("causal", "leave out") if flags.encoder_decoder else ("encoder-decoder", "add")
        parser.error(f"--probe {flags.probe}: is for {models} models; {remedy} --encoder-decoder, or name {kinds[1]}")
    if canaries and flags.encoder_decoder:
        parser.error("--canaries: are for causal models; leave them or --encoder-decoder out")
    if flags.deduplicate and canaries and canaries.copies != [1]:
        parser.error("--deduplicate: leaves one copy of each text, of canaries too; add --canary-copies 1")
    own = {name: getattr(flags, name) for name in EncodingSettings.__dataclass_fields__ if hasattr(flags, name)}
    others = {"data": data, "canaries": canaries, "output_dir": Path(flags.output_dir), "flags": vars(flags)}
    drawn = {"seed": SEED if flags.seed is None else flags.seed, "test_size": flags.test_size or TEST_SIZE}
    return EncodingSettings(**own | drawn | others)


def default_probes(task: Task, encoder_decoder: bool, flags: dict[str, Any]) -> dict[str, Any]:
    """The kind of a task's probes, the tokens of a prefix and the least tokens of a suffix, unless flags give them."""
    kind = flags.get("probe") or ("target" if task.chat else PROBE_KINDS[encoder_decoder][0])
    of_turns = task.chat and kind == "target"
    defaults = {"probe": kind, "prefix_length": 0 if of_turns else 50, "min_suffix_length": 12 if of_turns else 20}
    return {name: default if flags.get(name) is None else flags[name] for name, default in defaults.items()}


def _share(text: str) -> float | None:
    try:
        return None if text == "none" else Range(0.1, 1)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}: give a share of the word 5-grams, as 0.8, or none") from None
