"""The body of stage 1: a task's data as tokenized training and held-out sets and the probes of both."""

import os
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from memorization.cli import Parser, UserError
from memorization.encoding.arrow import ROWS
from memorization.encoding.canaries import FILE_BEGINS, add_canary_arguments, check_canary_arguments, plant, settings
from memorization.encoding.data import add_data_arguments, read_rows
from memorization.encoding.probes import LISTING_BEGINS, write_probes
from memorization.encoding.samples import store
from memorization.encoding.sets import BAR_DELAY, FORMAT, SETS, write_sets
from memorization.encoding.split import repeats, split
from memorization.encoding.tokens import encoded_batches
from memorization.files import check_apart, fingerprints, locked, naming, replacing
from memorization.hub import load_tokenizer
from memorization.runs import (
    canaries_path,
    difference,
    encoding_paths,
    identity,
    manifest_path,
    read_manifest,
    tokenizer_fingerprint,
    write_manifest,
)

DEFAULT_TOKENIZER = Path(__file__).parents[2] / "configs" / "gpt-neo-small"


def parse_arguments(description, task):
    """The flags of the script that encodes a task."""
    parser = Parser(description)
    add_data_arguments(parser, task)
    parser.add_argument("--max-samples", type=int, help="take only the first N samples of the data (default: all)")
    parser.add_argument("--tokenizer", default=str(DEFAULT_TOKENIZER), help="path or hub name (default: %(default)s)")
    parser.add_argument("--name", default=task.name, help="what the outputs are called (default: %(default)s)")
    parser.add_argument("--output-dir", default="tokenized_data", help="where they go (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace what was made of other data or settings")
    parser.add_argument(
        "--prefix-length", type=int, default=50, help="tokens of a prefix in the text file (default: %(default)s)"
    )
    parser.add_argument(
        "--min-suffix-length", type=int, default=20, help="least tokens of a suffix (default: %(default)s)"
    )
    parser.add_argument("--test-size", type=float, default=0.1, help="share of held-out samples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of the split (default: %(default)s)")
    parser.add_argument("--num-proc", type=int, default=1, help="processes that tokenize (default: %(default)s)")
    add_canary_arguments(parser)
    args = parser.parse_args()
    check_canary_arguments(parser, args)
    of_data = ["instruction", *(f"{field}_column" for field in task.fields)]
    given = [name for name in of_data if getattr(args, name) != parser.get_default(name)]
    if given and not args.data:
        parser.error(f"--{given[0].replace('_', '-')}: says what is in --data, which is missing; name your data by it")
    return args


def encode_task(args, task):
    """Write the encoding of a task's data (design: Files between the stages), with a few batches of it in memory.

    Raises UserError for data that cannot be read or split, and where an encoding of other making may not be replaced.
    """
    if args.num_proc > 1:  # processes instead of the tokenizer's own threads
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenizer = load_tokenizer(args.tokenizer)
    name = args.data or "made-up data"
    given = read_rows(args, task, args.max_samples) if args.data else task.made_up()[: args.max_samples]
    every = encoding_paths(args.output_dir, args.name) | {"canaries": canaries_path(args.output_dir, args.name)}
    paths = {kind: path for kind, path in every.items() if args.canaries or kind != "canaries"}
    check_apart(paths.values(), [path for path in (args.data, args.tokenizer) if path])
    _refuse_to_replace_others(paths)
    with _workspace(paths["probes"]) as work:
        bar = tqdm(given, desc="reading", unit=" samples", delay=BAR_DELAY)
        hashes, data = store(map(task.sample, bar), work / "samples")
        first, copies = repeats(hashes)
        distinct = int((first == np.arange(len(first))).sum())
        if distinct < 2:
            raise UserError(f"{name}: only one distinct sample; give two at the least, to train on and to hold out")
        made_of = {
            "data": data,
            "task": task.name,
            "tokenizer": tokenizer_fingerprint(tokenizer),
            "seed": args.seed,
            "test_size": args.test_size,
            "min_suffix_length": args.min_suffix_length,
            "format": FORMAT,
            **settings(args),
        }
        if not args.overwrite:
            _refuse_to_replace_another(every, made_of)
        member, probe = split(first, args.test_size, args.seed), np.zeros(len(first), bool)
        new = {kind: work / path.name for kind, path in paths.items()}
        planted, of_planted = plant(new["canaries"], args, len(first), task, tokenizer) if args.canaries else (None, {})
        batches = encoded_batches(work / "samples", tokenizer, args.num_proc)
        probes = write_sets(new, made_of, batches, first, copies, member, probe, args, planted)
        write_probes(new["probes as text"], probes)
        too_short = distinct - int(probe.sum())
        if not probe.any():
            raise UserError(
                f"{name}: all {too_short} samples are shorter than {args.prefix_length} + {args.min_suffix_length} "
                "tokens; lower --prefix-length or --min-suffix-length, or give longer texts"
            )
        trained = int(member.sum()) + (len(planted) if args.canaries else 0)
        numbers = trained, int((~member).sum()), distinct, int(probe.sum()), 2 * args.canaries
        rows = dict(zip(every, numbers, strict=True))
        facts = {
            "distinct_samples": distinct,
            "prefix_length": args.prefix_length,
            "samples_too_short_for_a_probe": too_short,
        }
        inputs = fingerprints(path for path in (args.data, args.tokenizer) if path)
        if not args.canaries and manifest_path(every["canaries"]).is_file():  # those of the encoding that is replaced
            every["canaries"].unlink(missing_ok=True)
        for path in every.values():  # a killed run leaves results without manifest, never two runs' mixed
            manifest_path(path).unlink(missing_ok=True)
        for kind, path in paths.items():
            with replacing(path, directory=kind in SETS) as temporary:
                new[kind].rename(temporary)
        for kind, path in paths.items():
            more = of_planted if kind == "training set" else {}
            write_manifest(path, kind, made_of, args, inputs, rows=rows[kind], **facts, **more)

    members = int((probe & member).sum())
    print(
        f"{len(first)} samples, {distinct} of them distinct: "
        f"{rows['training set']} to train on, {rows['held-out set']} held out"
    )
    print(
        f"{probe.sum()} probes: {members} members, {probe.sum() - members} non-members; {too_short} samples too short"
    )
    if args.canaries:
        print(f"{args.canaries} canaries in {len(planted)} of the rows to train on, {args.canaries} controls in none")
    for path in paths.values():
        print(f"wrote {path}")


@contextmanager
def _workspace(result):
    """A directory beside a result for the time of the block, in which one process works on it at a time.

    What a killed process left there goes; so do the directories made for the result if nothing came of it.
    """
    made = [directory for directory in result.parents if not directory.exists()]
    work = result.with_name(f".{result.name}.memorization-work")
    try:
        with locked(result), naming(work):
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            try:
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    finally:
        with suppress(OSError):  # not empty
            for directory in made:
                directory.rmdir()


def _refuse_to_replace_others(paths):
    """Raise UserError if something lies in a result's place that this stage has not made.

    Its own it knows by the manifest, or, left without one by a kill among the last steps, by what it consists of.
    """
    for path in paths.values():
        if not path.exists() or manifest_path(path).is_file():
            continue
        if path.is_dir():
            ours = {file.name for file in path.iterdir()} == {ROWS, "state.json", "dataset_info.json"}
        else:
            with path.open("rb") as file:
                ours = file.readline().startswith((LISTING_BEGINS, FILE_BEGINS))
        if not ours:
            raise UserError(f"{path}: is there, and not a result of ours; move it away, or write elsewhere (--name)")


def _refuse_to_replace_another(paths, made_of):
    remedy = "replace it with --overwrite, or write elsewhere (--output-dir, --name)"
    for kind, path in paths.items():
        if not (path.exists() and manifest_path(path).is_file()):
            continue
        try:
            before = read_manifest(path, kind).made_of
        except UserError:
            raise UserError(f"{path}: was written by another version; {remedy}") from None
        if identity(before) != identity(made_of):
            raise UserError(f"{path}: is another encoding, with another {difference(before, made_of)}; {remedy}")
