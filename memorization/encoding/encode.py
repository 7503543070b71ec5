"""The body of stage 1: a task's data as tokenized training and held-out sets and the probes of both."""

import argparse
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from memorization.encoding.canary_secrets import add_canary_arguments, check_canary_arguments, plant, settings
from memorization.encoding.kinds import OF_ENCODING
from memorization.encoding.output_files import refuse_to_replace_another, refuse_to_replace_others, working_directory
from memorization.encoding.probes import write_probes
from memorization.encoding.prompt_counts import PromptCounter, check_prompts, describe_prompts
from memorization.encoding.sample_store import store_samples
from memorization.encoding.sets import write_sets
from memorization.encoding.split import SampleSplit, draw_members, find_copies
from memorization.encoding.stored_sets import BAR_DELAY, FORMAT, PROBE_KINDS, SETS
from memorization.encoding.task_rows import add_data_arguments, check_data_arguments, configured, read_task_rows
from memorization.encoding.tokens import encoded_batches
from memorization.models.hub import load_tokenizer
from memorization.shell.cli import Parser, UserError
from memorization.shell.flags import PROCESSES, SEEDS, Range, any_text, file_name, whole
from memorization.store.files import check_apart, fingerprints, replacing
from memorization.store.fingerprints import tokenizer_fingerprint
from memorization.store.locations import canaries_path, encoding_paths
from memorization.store.manifests import manifest_path, write_manifest

OF_SPLIT = ("near_duplicates", "deduplicate")  # flags that are part of the identity where they are given
DEFAULT_TOKENIZER = Path(__file__).parents[2] / "configs" / "gpt-neo-small"


def parse_arguments(description, task):
    """The flags of the script that encodes a task."""
    parser = Parser(description)
    add_data_arguments(parser, task)
    parser.add_argument("--max-samples", type=whole(1), help="take only the first N samples of the data (default: all)")
    parser.add_argument("--tokenizer", default=str(DEFAULT_TOKENIZER), help="path or hub name (default: %(default)s)")
    parser.add_argument(
        "--name", type=file_name, default=task.name, help="what the outputs are called (default: %(default)s)"
    )
    parser.add_argument("--output-dir", default="tokenized_data", help="where they go (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was made of other data or settings")
    parser.add_argument(
        "--prefix-length",
        type=whole(1),
        default=50,
        help="tokens of a prefix, unless stages 2 to 4 say otherwise (default: %(default)s)",
    )
    parser.add_argument(
        "--probe",
        choices=["text", "source", "target"],
        help="what the prefix is of: text, of the whole sample; target, of the output, and what stands before it is "
        "given too; source, of the input of encoder-decoder models (default: text; source with --encoder-decoder)",
    )
    parser.add_argument(
        "--shared-prompts", action="store_true", help="go on where most probes share their prompt with another"
    )
    parser.add_argument(
        "--min-suffix-length", type=whole(1), default=20, help="least tokens of a suffix (default: %(default)s)"
    )
    parser.add_argument(
        "--test-size",
        type=Range(0, 1, over=True, under=True),
        default=0.1,
        help="share of held-out samples (default: %(default)s)",
    )
    parser.add_argument(
        "--near-duplicates",
        type=_share,
        default=0.8,
        metavar="SHARE",
        help="keep texts on one side that share as much of their word 5-grams, or none: only copies (default: 0.8)",
    )
    parser.add_argument(
        "--deduplicate",
        action="store_true",
        help="train on one text of each cluster of near-duplicates; with --near-duplicates none, on one copy of each",
    )
    parser.add_argument("--seed", type=whole(0, SEEDS), default=5, help="of the split (default: %(default)s)")
    parser.add_argument(
        "--num-proc", type=whole(1, PROCESSES), default=1, help="processes that tokenize (default: %(default)s)"
    )
    parser.add_argument(
        "--encoder-decoder",
        action="store_true",
        help="for T5, BART and their like, which are given the source and say the target (default: for causal models)",
    )
    parser.add_argument(
        "--source-prefix",
        type=any_text,
        default="",
        help='text before each source, for T5 "summarize: ", say (default: none)',
    )
    add_canary_arguments(parser)
    args = parser.parse_args()
    check_data_arguments(parser, args, task)
    check_canary_arguments(parser, args)
    if args.source_prefix and not args.encoder_decoder:
        parser.error("--source-prefix: is for encoder-decoder models; add --encoder-decoder, or leave it out")
    kinds = PROBE_KINDS[args.encoder_decoder]
    args.probe = args.probe or kinds[0]
    if args.probe not in kinds:
        models, remedy = ("causal", "leave out") if args.encoder_decoder else ("encoder-decoder", "add")
        parser.error(f"--probe {args.probe}: is for {models} models; {remedy} --encoder-decoder, or name {kinds[1]}")
    if args.canaries and args.encoder_decoder:
        parser.error("--canaries: are for causal models; leave them or --encoder-decoder out")
    if args.deduplicate and args.canaries and args.canary_copies != [1]:
        parser.error("--deduplicate: leaves one copy of each text, of canaries too; add --canary-copies 1")
    return args


def _share(text: str) -> float | None:
    try:
        return None if text == "none" else Range(0.1, 1)(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}: give a share of the word 5-grams, as 0.8, or none") from None


def encode_task(args, task):
    """Write the encoding of a task's data (design: Files between the stages), with a few batches of it in memory.

    Raises UserError for data that cannot be read or split, and where an encoding of other making may not be replaced.
    """
    if args.num_proc > 1:  # processes instead of the tokenizer's own threads
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenizer, task, data = load_tokenizer(args.tokenizer), configured(task, args), args.data or []
    name = " and ".join(data) or "made-up data"
    if data:
        given = read_task_rows(data, task, args.max_samples, args.delimiter, args.encoding)
    else:
        given = task.made_up()[: args.max_samples]
    every = encoding_paths(args.output_dir, args.name) | {"canaries": canaries_path(args.output_dir, args.name)}
    paths = {kind: path for kind, path in every.items() if args.canaries or kind != "canaries"}
    check_apart(paths.values(), [*data, args.tokenizer])
    refuse_to_replace_others(paths)
    with working_directory(paths["probes"]) as work:
        bar = tqdm(given, desc="reading", unit=" samples", delay=BAR_DELAY)
        hashes, digest = store_samples(map(task.sample, bar), work / "samples")
        made_of = {
            "data": digest,
            "task": task.name,
            "tokenizer": tokenizer_fingerprint(tokenizer),
            "seed": args.seed,
            "test_size": args.test_size,
            "min_suffix_length": args.min_suffix_length,
            "format": FORMAT,
            **settings(args),
        }
        made_of |= {flag: value for flag in OF_SPLIT if (value := getattr(args, flag))}
        if args.encoder_decoder:
            made_of |= {"encoder_decoder": True, "source_prefix": args.source_prefix, "separator": task.separator}
        if not args.overwrite:
            refuse_to_replace_another(every, made_of)
        parts = _parted(name, work / "samples", hashes, args)
        probe = {kind: np.zeros(len(hashes), bool) for kind in PROBE_KINDS[args.encoder_decoder]}
        new = {kind: work / path.name for kind, path in paths.items()}
        planted, of_planted = None, {}
        if args.canaries:
            planted, of_planted = plant(new["canaries"], args, len(hashes), task, tokenizer)
        pairs = (task.separator, args.source_prefix) if args.encoder_decoder else ()
        batches = encoded_batches(work / "samples", tokenizer, args.num_proc, pairs)
        prompts = PromptCounter()
        probes = write_sets(new, made_of, batches, parts, probe, prompts, args, planted)
        write_probes(new["probes as text"], probes)
        stored, distinct = int(parts.stored.sum()), parts.first == np.arange(len(hashes))
        sides = parts.member, ~parts.member
        too_short = {kind: stored - int(long.sum()) for kind, long in probe.items()}
        left_out = [int((side & ~parts.kept).sum()) for side in sides]
        if not probe[args.probe].any():
            other = "--probe target, " if probe["target"].any() else ""
            raise UserError(
                f"{name}: all {stored} {args.probe}s are shorter than {args.prefix_length} + {args.min_suffix_length} "
                f"tokens; take {other}a lower --prefix-length or --min-suffix-length, or longer texts"
            )
        prompts = prompts.count()
        check_prompts(prompts, name, args.probe, args.shared_prompts)
        trained, held_out = (int((side & parts.kept).sum()) for side in sides)
        trained += len(planted) if args.canaries else 0
        numbers = trained, held_out, stored, int(probe[args.probe].sum()), 2 * args.canaries
        rows = dict(zip(every, numbers, strict=True))
        facts = {
            "distinct_samples": int(distinct.sum()),
            "prefix_length": args.prefix_length,
            "probe": args.probe,
            "prompts": prompts,
            "samples_too_short_for_a_probe": too_short[args.probe],
        }
        if args.near_duplicates:
            sizes = np.bincount(parts.begin[distinct])
            near, of_clusters = int(sizes[sizes > 1].sum()), int((sizes > 1).sum())
            facts |= {"near_duplicates": near, "clusters_of_near_duplicates": of_clusters}
        if args.deduplicate:
            facts |= {"left_out_of_training": left_out[0], "left_out_of_held_out": left_out[1]}
        inputs = fingerprints([*data, args.tokenizer])
        if not args.canaries and manifest_path(every["canaries"]).is_file():  # those of the encoding that is replaced
            every["canaries"].unlink(missing_ok=True)
        for path in every.values():  # a killed run leaves results without manifest, never two runs' mixed
            manifest_path(path).unlink(missing_ok=True)
        for kind, path in paths.items():
            with replacing(path, directory=kind in SETS) as temporary:
                new[kind].rename(temporary)
        for kind, path in paths.items():
            more = of_planted if kind == "training set" else {}
            write_manifest(path, OF_ENCODING[kind], made_of, args, inputs, rows=rows[kind], **facts, **more)

    print(
        f"{len(hashes)} samples, {distinct.sum()} of them distinct: "
        f"{rows['training set']} to train on, {rows['held-out set']} held out"
    )
    if args.near_duplicates:
        print(f"{near} of the distinct samples are near-duplicates, in {of_clusters} clusters")
    if args.deduplicate:
        print(f"{left_out[0]} samples left out of training and {left_out[1]} held-out ones: another stands for them")
    for kind, long in probe.items():
        members, others = ((long & side).sum() for side in sides)
        print(
            f"{members + others} probes of kind {kind}: {members} members, {others} non-members; {too_short[kind]} "
            f"{kind}s too short"
        )
    if prompts["own"] < prompts["probes"]:
        print(describe_prompts(prompts))
    if args.canaries:
        print(f"{args.canaries} canaries in {len(planted)} of the rows to train on, {args.canaries} controls in none")
    for path in paths.values():
        print(f"wrote {path}")


def _parted(name, path, hashes, args):
    """The Split of the samples of a data set, stored at the path."""
    first, copies = find_copies(hashes)
    begin, alike = first, "only one distinct sample"
    if args.near_duplicates is not None and first.any():
        from memorization.encoding.near_duplicates import clusters  # compiles, and who does without need not wait

        begin, alike = clusters(path, first, args.near_duplicates, args.num_proc, BAR_DELAY), "all are near-duplicates"
    if not begin.any():  # all begin with the very first one
        remedy = " (or --near-duplicates none)" if first.any() else ""
        raise UserError(f"{name}: {alike}; give two that differ at the least, to train on and to hold out{remedy}")
    member, kept = draw_members(first, begin, args.test_size, args.seed), np.ones(len(first), bool)
    if args.deduplicate:
        kept, copies = begin == np.arange(len(first)), np.ones_like(copies)  # held-out ones too: they are the control
    return SampleSplit(first, copies, begin, member, kept)
