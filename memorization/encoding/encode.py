"""The body of stage 1: a task's data as tokenized training and held-out sets and the probes of both."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast

from memorization.encoding.canary_secrets import plant
from memorization.encoding.comparability import compare_sides, describe_sides, draw_to_compare, sides_differ
from memorization.encoding.kinds import OF_ENCODING
from memorization.encoding.output_files import refuse_to_replace_another, refuse_to_replace_others, working_directory
from memorization.encoding.probes import write_probes
from memorization.encoding.prompt_counts import PromptCounter, check_prompts, describe_prompts
from memorization.encoding.sample_store import SampleStore, store_samples
from memorization.encoding.settings import EncodingSettings
from memorization.encoding.split import SampleSplit, copies_by_side, draw_members, find_copies
from memorization.encoding.stored_sets import BAR_DELAY, FORMAT, PAIRS, PROBE_KINDS, PROBES, SIDE, chosen_lists, saved
from memorization.encoding.task_rows import read_task_rows, sides
from memorization.encoding.tokens import Encoded, EncodedPairs, cut, encoded_batches
from memorization.models.hub import load_tokenizer
from memorization.shell.cli import UserError
from memorization.store.files import check_apart, fingerprints, replacing
from memorization.store.fingerprints import tokenizer_fingerprint
from memorization.store.locations import canaries_path, encoding_paths
from memorization.store.manifests import identity, manifest_path, write_manifest

EXAMPLES = 3  # of the held-out samples that are left out, how many are named


def encode_task(settings: EncodingSettings) -> None:
    """Write the encoding of a task's data (design: Files between the stages), with a few batches of it in memory.

    Raises UserError for data that cannot be read or split, and where an encoding of other making may not be replaced.
    """
    if settings.num_proc > 1:  # processes instead of the tokenizer's own threads
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenizer, task, read = load_tokenizer(settings.tokenizer), settings.data.task, sides(settings.data)
    files = list(dict.fromkeys(path for side in read for path in side.paths))
    every = encoding_paths(settings.output_dir, settings.name)
    every["canaries"] = canaries_path(settings.output_dir, settings.name)
    paths = {kind: path for kind, path in every.items() if settings.canaries or kind != "canaries"}
    check_apart(paths.values(), [*files, settings.tokenizer])
    refuse_to_replace_others(paths)
    with working_directory(paths["probes"]) as work:
        numbers: list[int] = []  # of the samples of each side
        rows_read = chain.from_iterable(_counted(read_task_rows(side), numbers) for side in read)
        samples = tqdm(rows_read, desc="reading", unit=" samples", delay=BAR_DELAY)
        hashes, digest = store_samples(map(task.sample, samples), work / "samples")
        made_of = _made_of(settings, digest, numbers[0], tokenizer)
        if not settings.overwrite:
            refuse_to_replace_another(every, made_of)
        split = _split_samples(work / "samples", hashes, numbers[0], settings)
        of_split, about_split = _given_split(work / "samples", split) if len(read) > 1 else ({}, [])
        new = {kind: work / path.name for kind, path in paths.items()}
        canaries = of_canaries = None
        if settings.canaries:
            canaries, of_canaries = plant(
                new["canaries"], settings.canaries, settings.seed, len(hashes), task, tokenizer
            )
        pairs = (task.separator, settings.source_prefix) if settings.encoder_decoder else ()
        batches = encoded_batches(work / "samples", tokenizer, settings.num_proc, pairs)
        writer = _Writer(settings, split)
        write_probes(new["probes as text"], writer.write(new, made_of, batches, canaries))
        facts = _facts(settings, split, writer) | of_split
        rows = {
            "training set": int((split.member & split.in_set).sum()) + (len(canaries) if canaries else 0),
            "held-out set": int((~split.member & split.in_set).sum()),
            "probes": int(split.stored.sum()),
            "probes as text": int(writer.long[settings.probe].sum()),
            "canaries": 2 * settings.canaries.number if settings.canaries else 0,
        }
        inputs = fingerprints([*files, settings.tokenizer])
        if not settings.canaries and manifest_path(every["canaries"]).is_file():  # of the encoding that is replaced
            every["canaries"].unlink(missing_ok=True)
        for path in every.values():  # a killed run leaves results without manifest, never two runs' mixed
            manifest_path(path).unlink(missing_ok=True)
        for kind, path in paths.items():
            with replacing(path, directory=new[kind].is_dir()) as temporary:
                new[kind].rename(temporary)
        for kind, path in paths.items():
            more = facts | (of_canaries if of_canaries and kind == "training set" else {})
            write_manifest(path, OF_ENCODING[kind], made_of, settings.flags, inputs, rows=rows[kind], **more)
    for line in chain(_summary(facts, rows, split, writer.long), about_split):
        print(line)
    if not rows["held-out set"]:
        print("no held-out data: there is no control")
    if settings.canaries and canaries:
        number = settings.canaries.number
        print(f"{number} canaries in {len(canaries)} of the rows to train on, {number} controls in none")
    for path in paths.values():
        print(f"wrote {path}")


def _counted(rows: Iterable[Any], numbers: list[int]) -> Iterator[Any]:
    """The same rows; how many they were is added to `numbers`."""
    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007
        yield row
    numbers.append(number)


def _made_of(
    settings: EncodingSettings, data: str, training: int, tokenizer: PreTrainedTokenizerFast
) -> dict[str, Any]:
    """What makes the encoding. data: the hash of the samples. training: of a given split, how many are the first ones,
    those to train on."""
    made_of: dict[str, Any] = {
        "data": data,
        "task": settings.data.task.name,
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "split": settings.data.split,
        "min_suffix_length": settings.min_suffix_length,
        "format": FORMAT,
    }
    if settings.data.split == "random":
        made_of |= {"seed": settings.seed, "test_size": settings.test_size}
    else:
        made_of["training_samples"] = training
    if settings.near_duplicates:
        made_of["near_duplicates"] = settings.near_duplicates
    if settings.deduplicate:
        made_of["deduplicate"] = True
    if settings.canaries:
        made_of["canaries"] = settings.canaries.made_of() | {"seed": settings.seed}
    if settings.encoder_decoder:
        made_of |= {"encoder_decoder": True, "source_prefix": settings.source_prefix}
        made_of["separator"] = settings.data.task.separator
    return made_of


def _split_samples(path: Path, hashes: np.ndarray, training: int, settings: EncodingSettings) -> SampleSplit:
    """The split of the samples that are stored at the path. training: as of _made_of."""
    first, copies = find_copies(hashes)
    begin, reason, given = first, "only one distinct sample", settings.data.split == "given"
    if settings.near_duplicates is not None and first.any():
        from memorization.encoding.near_duplicates import clusters  # compiles, and who does without need not wait

        begin = clusters(path, first, settings.near_duplicates, settings.num_proc, BAR_DELAY)
        reason = "all are near-duplicates"
    if given:  # what a held-out sample shares with a member is no control; members come first
        member = np.arange(len(first)) < training
        copies, in_set = copies_by_side(first, member), member | ~member[begin]
        if not member.all() and not (in_set & ~member).any():
            raise UserError(
                f"{settings.data.name}: all {(~member).sum()} held-out samples stand in it too, or are near-duplicates "
                "of some that do; name by --held-out-data texts that the model was not trained on, or leave it out"
            )
    elif not begin.any():  # all begin with the very first one
        remedy = " (or --near-duplicates none)" if first.any() else ""
        raise UserError(
            f"{settings.data.name}: {reason}; give two that differ at the least, to train on and to hold out{remedy}"
        )
    else:
        member, in_set = draw_members(first, begin, settings.test_size, settings.seed), np.ones(len(first), bool)
    if settings.deduplicate:  # held-out ones too: they are the control
        in_set, copies = in_set & (begin == np.arange(len(first))), np.ones_like(copies)
    return SampleSplit(first, copies, begin, member, in_set)


def _given_split(path: Path, split: SampleSplit) -> tuple[dict[str, Any], list[str]]:
    """What is to be known of a given split of the samples stored at the path, as facts and in words: the held-out
    samples that are left out, and whether the others are like members."""
    outside = ~split.member
    copies = outside & split.member[split.first]
    near = outside & split.member[split.begin] & ~copies
    chosen = draw_to_compare(split.member, split.stored)
    shown = {what: np.flatnonzero(which)[:EXAMPLES] for what, which in (("copies", copies), ("near", near))}
    texts = _texts_of(path, np.union1d(chosen, np.concatenate([*shown.values()])))
    comparability = compare_sides((texts[i] for i in chosen.tolist()), split.member[chosen], split.begin[chosen])
    lines, training = [], int(split.member.sum())
    reasons = {"copies": "stand in the training data too", "near": "are near-duplicates of texts in the training data"}
    for what, which in (("copies", copies), ("near", near)):
        if number := int(which.sum()):
            rows = "; ".join(f"{i - training + 1}: {texts[i][:50]!r}" for i in shown[what].tolist())
            more = ", the first" if number > EXAMPLES else ""
            lines.append(f"{number} held-out samples left out: they {reasons[what]} (row{more} {rows})")
    lines.append(describe_sides(comparability))
    if sides_differ(comparability):
        lines.append("WARNING: the sides differ: a difference may come from the texts, not from training")
    facts: dict[str, Any] = {
        "held_out_in_training": int(copies.sum()),
        "held_out_near_training": int(near.sum()),
        "comparability": comparability,
    }
    return facts, lines


def _texts_of(path: Path, ids: np.ndarray) -> dict[int, str]:
    """The texts of the samples of these ids, sorted int64, that are stored at the path."""
    samples, texts, at = SampleStore(path), dict[int, str](), 0
    for n in range(len(samples)):
        column = samples[n]["text"]
        here = ids[np.searchsorted(ids, at) : np.searchsorted(ids, at + len(column))]
        texts |= {i: column[i - at].as_py() for i in here.tolist()}
        at += len(column)
    return texts


class _Writer:
    """Writes the sets, and notes on the way which samples are long enough for a probe.

    long: by kind of probe, which samples are (bool arrays). prompts: of the probes of the settings' kind. Both are
    filled by `write`.
    """

    def __init__(self, settings: EncodingSettings, split: SampleSplit):
        self.settings, self.split = settings, split
        self.long = {kind: np.zeros(len(split.first), bool) for kind in PROBE_KINDS[settings.encoder_decoder]}
        self.prompts = PromptCounter()

    def write(
        self,
        paths: dict[str, Path],
        made_of: dict[str, Any],
        batches: Iterable[tuple[pa.StringArray, Encoded | EncodedPairs]],
        canaries: pa.RecordBatch | None,
    ) -> Iterator[dict[str, Any]]:
        """Write the three sets batch by batch; yields the probes for the text file. canaries: end the training set."""
        begin, total, probe_schema = 0, len(self.split.first), PAIRS if self.settings.encoder_decoder else PROBES
        schemas = {"training set": SIDE, "held-out set": SIDE, "probes": probe_schema}
        with ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=total, desc="tokenizing", unit=" samples", delay=BAR_DELAY))
            train, test, probes = (
                stack.enter_context(saved(paths[kind], schema, identity({**made_of, "kind": kind})))
                for kind, schema in schemas.items()
            )
            for texts, encoded in batches:
                here = slice(begin, begin := begin + len(texts))
                split = SampleSplit(*(column[here] for column in self.split))
                ids = np.arange(here.start, here.stop)
                train(_side(ids, texts, encoded, split.member & split.in_set))
                test(_side(ids, texts, encoded, ~split.member & split.in_set))
                stored = self.split.stored[here]
                probes(_stored(ids, encoded, split, stored))
                yield from self._probes(here, texts, encoded, stored)
                bar.update(len(texts))
            if canaries is not None:
                train(canaries)

    def _probes(self, here, texts, encoded, stored):
        """The probes of a batch for the text file. here: the slice of all samples that it is."""
        settings, cuts, pairs = self.settings, {}, isinstance(encoded, EncodedPairs)
        for kind, long in self.long.items():
            of_target = kind == "target"
            tokens = encoded[:3]
            if pairs and of_target:
                tokens = encoded.target_ids, encoded.target_starts, encoded.target_bounds
            begin, end = cut(*tokens[1:], settings.prefix_length, encoded.first if of_target else 0)
            long[here] = stored & (end - begin >= settings.min_suffix_length)
            cuts[kind] = tokens, begin
        (ids, starts, bounds), begin = cuts[settings.probe]
        for i in np.flatnonzero(self.long[settings.probe][here]).tolist():
            source = ()
            if pairs and settings.probe == "target":
                source = encoded.ids[encoded.bounds[i] : encoded.bounds[i + 1]]
            self.prompts.add(source, ids[bounds[i] : begin[i]])
            text, place = texts[i].as_py(), starts[begin[i]]
            text = text[: encoded.source_ends[i]] if settings.probe == "source" else text
            yield {
                "id": here.start + i,
                "member": bool(self.split.member[here][i]),
                "prefix": text[:place],
                "suffix": text[place:],
                "duplicates": int(self.split.copies[here][i]),
            }


def _side(ids: np.ndarray, texts: pa.StringArray, encoded: Encoded | EncodedPairs, rows: np.ndarray) -> pa.RecordBatch:
    """Of a batch, what goes into the set of which `rows` (bool) are."""
    tokens, mask = chosen_lists(rows, encoded.bounds, encoded.ids, np.ones(len(encoded.ids), np.int8))
    labels = tokens
    if isinstance(encoded, EncodedPairs):
        (labels,) = chosen_lists(rows, encoded.target_bounds, encoded.target_ids)
    columns = [ids[rows], texts.filter(pa.array(rows)), tokens, mask, labels, encoded.first[rows]]
    return pa.record_batch(columns, SIDE)


def _stored(ids: np.ndarray, encoded: Encoded | EncodedPairs, split: SampleSplit, rows: np.ndarray) -> pa.RecordBatch:
    """Of a batch, what goes into the probes' set."""
    columns = [ids[rows], split.member[rows], split.copies[rows], split.begin[rows]]
    columns += chosen_lists(rows, encoded.bounds, encoded.starts)
    if not isinstance(encoded, EncodedPairs):
        return pa.record_batch(columns, PROBES)
    columns += [*chosen_lists(rows, encoded.target_bounds, encoded.target_starts), encoded.source_ends[rows]]
    return pa.record_batch(columns, PAIRS)


def _facts(settings: EncodingSettings, split: SampleSplit, writer: _Writer) -> dict[str, Any]:
    """The facts of the manifests. Raises UserError if there are no probes, or too few prompts among them."""
    name, kind, stored = settings.data.name, settings.probe, int(split.stored.sum())
    probes = int(writer.long[kind].sum())
    if not probes:
        other = "--probe target, " if writer.long["target"].any() else ""
        raise UserError(
            f"{name}: all {stored} {kind}s are shorter than {settings.prefix_length} + {settings.min_suffix_length} "
            f"tokens; take {other}a lower --prefix-length or --min-suffix-length, or longer texts"
        )
    prompts = writer.prompts.count()
    check_prompts(prompts, name, kind, settings.shared_prompts)
    distinct = split.first == np.arange(len(split.first))
    facts: dict[str, Any] = {
        "distinct_samples": int(distinct.sum()),
        "prefix_length": settings.prefix_length,
        "probe": kind,
        "prompts": prompts,
        "samples_too_short_for_a_probe": stored - probes,
    }
    if settings.near_duplicates:
        sizes = np.bincount(split.begin[distinct])
        facts["near_duplicates"] = int(sizes[sizes > 1].sum())
        facts["clusters_of_near_duplicates"] = int((sizes > 1).sum())
    if settings.deduplicate:
        facts["left_out_of_training"] = int((split.member & ~split.in_set).sum())
        facts["left_out_of_held_out"] = int((~split.member & ~split.in_set).sum())
    return facts


def _summary(
    facts: dict[str, Any], rows: dict[str, int], split: SampleSplit, long: dict[str, np.ndarray]
) -> Iterator[str]:
    """What is printed of an encoding, line by line. rows: of each result."""
    yield (
        f"{len(split.first)} samples, {facts['distinct_samples']} of them distinct: "
        f"{rows['training set']} to train on, {rows['held-out set']} held out"
    )
    if "near_duplicates" in facts:
        near, clusters = facts["near_duplicates"], facts["clusters_of_near_duplicates"]
        yield f"{near} of the distinct samples are near-duplicates, in {clusters} clusters"
    if "left_out_of_training" in facts:
        trained, held_out = facts["left_out_of_training"], facts["left_out_of_held_out"]
        yield f"{trained} samples left out of training and {held_out} held-out ones: another stands for them"
    for kind, probes in long.items():
        members, others = ((probes & side).sum() for side in (split.member, ~split.member))
        too_short = split.stored.sum() - probes.sum()
        yield (
            f"{members + others} probes of kind {kind}: {members} members, {others} non-members; {too_short} "
            f"{kind}s too short"
        )
    if facts["prompts"]["own"] < facts["prompts"]["probes"]:
        yield describe_prompts(facts["prompts"])
