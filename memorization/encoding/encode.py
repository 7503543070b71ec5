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
from memorization.encoding.samples import SampleReader
from memorization.encoding.settings import EncodingSettings
from memorization.encoding.split import SampleSplit, copies_by_side, draw_members, find_copies
from memorization.encoding.stored_sets import BAR_DELAY, FORMAT, PAIRS, PROBE_KINDS, PROBES, SIDE, chosen_lists, saved
from memorization.encoding.task_rows import sides
from memorization.encoding.tokens import TEXT, Encoded, EncodedPairs, cut, encoded_batches, text_end
from memorization.models.hub import load_tokenizer
from memorization.shell.cli import UserError
from memorization.store.files import check_apart, fingerprints, replacing
from memorization.store.fingerprints import tokenizer_fingerprint
from memorization.store.locations import canaries_path, encoding_paths
from memorization.store.manifests import identity, manifest_path, write_manifest

EXAMPLES, ENDING = 3, 50  # of the held-out samples that are left out, how many are named; characters that are shown


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
        reader = SampleReader(settings.data, tokenizer, settings.tokenizer)
        samples_read = chain.from_iterable(_counted(reader.read(side), numbers) for side in read)
        samples = tqdm(samples_read, desc="reading", unit=" samples", delay=BAR_DELAY)
        hashes, digest = store_samples(samples, work / "samples")
        made_of = _made_of(settings, digest, numbers[0], tokenizer, reader)
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
        batches = encoded_batches(work / "samples", tokenizer, settings.num_proc, reader.form, pairs)
        writer = _Writer(settings, split, tokenizer.eos_token_id)
        write_probes(new["probes as text"], writer.write(new, made_of, batches, canaries))
        facts = _facts(settings, split, writer) | _facts_of_texts(reader, tokenizer) | of_split
        rows = {
            "training set": int((split.member & split.in_set).sum()) + (len(canaries) if canaries else 0),
            "held-out set": int((~split.member & split.in_set).sum()),
            "probes": int(split.stored.sum()),
            "probes as text": int(writer.counts[settings.probe].sum()),
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
            if kind == "probes" and reader.template:
                more = more | {"examples": reader.examples}
            write_manifest(path, OF_ENCODING[kind], made_of, settings.flags, inputs, rows=rows[kind], **more)
    for line in chain(_about_texts(reader, tokenizer), _summary(facts, rows, split, writer), about_split):
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
    settings: EncodingSettings, data: str, training: int, tokenizer: PreTrainedTokenizerFast, reader: SampleReader
) -> dict[str, Any]:
    """What makes the encoding. data: the hash of the samples, which `reader` read. training: of a given split, how many
    are the first ones, those to train on."""
    made_of: dict[str, Any] = {
        "data": data,
        "task": settings.data.task.name,
        "tokenizer": tokenizer_fingerprint(tokenizer),
        "split": settings.data.split,
        "min_suffix_length": settings.min_suffix_length,
        "format": FORMAT,
    }
    if reader.form != TEXT:
        made_of["form"] = reader.form
    if reader.template:
        made_of["chat_template"] = reader.template
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
            ends = {i: repr(texts[i][-ENDING:]) for i in shown[what].tolist()}  # beginnings are often alike
            rows = "; ".join(f"{i - training + 1}: ... {end}" for i, end in ends.items())
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
    """Writes the sets, and counts the probes on the way.

    counts: by kind of probe, how many there are of held-out samples and of members, int64. too_short: by kind, how many
    texts, or turns, are too short for one. prompts: of the probes of the settings' kind. ends: the tokens that end what
    a model says: eos, and those that close a chat's turns. `write` fills them.
    """

    def __init__(self, settings: EncodingSettings, split: SampleSplit, eos: int):
        self.settings, self.split = settings, split
        self.ends = {eos}
        self.counts = {kind: np.zeros(2, np.int64) for kind in PROBE_KINDS[settings.encoder_decoder]}
        self.too_short = dict.fromkeys(self.counts, 0)
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
                closed = encoded.targets[:, 1] < encoded.targets[:, 2]
                if closed.any() and not isinstance(encoded, EncodedPairs):
                    first = np.repeat(encoded.bounds[:-1], np.diff(encoded.target_bounds)) + encoded.targets[:, 1]
                    self.ends |= set(encoded.ids[first[closed]].tolist())
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
        for kind in self.counts:
            tokens, targets = encoded[:3], (encoded.targets, encoded.target_bounds)
            if pairs and kind == "target":
                tokens = encoded.output_ids, encoded.output_starts, encoded.output_bounds
            sample, turn, begin, end = cut(kind, settings.prefix_length, *tokens[1:], targets)
            fits = stored[sample] & (end - begin >= settings.min_suffix_length)
            self.counts[kind] += np.bincount(self.split.member[here][sample[fits]], minlength=2)
            self.too_short[kind] += int(stored[sample].sum() - fits.sum())
            cuts[kind] = tokens, sample[fits], turn[fits], begin[fits], end[fits]
        (ids, starts, bounds), *places = cuts[settings.probe]
        for i, turn, begin, end in zip(*(place.tolist() for place in places), strict=True):
            source = ()
            if pairs and settings.probe == "target":
                source = encoded.ids[encoded.bounds[i] : encoded.bounds[i + 1]]
            self.prompts.add(source, ids[bounds[i] : begin])
            text, own = texts[i].as_py(), starts[bounds[i] : bounds[i + 1]]
            text = text[: encoded.source_ends[i]] if settings.probe == "source" else text
            yield {
                "id": here.start + i,
                "member": bool(self.split.member[here][i]),
                "prefix": text[: starts[begin]],
                "suffix": text[starts[begin] : text_end(own, end - int(bounds[i]), text)],
                "duplicates": int(self.split.copies[here][i]),
                "turn": turn,
            }


def _side(ids: np.ndarray, texts: pa.StringArray, encoded: Encoded | EncodedPairs, rows: np.ndarray) -> pa.RecordBatch:
    """Of a batch, what goes into the set of which `rows` (bool) are."""
    tokens, mask = chosen_lists(rows, encoded.bounds, encoded.ids, np.ones(len(encoded.ids), np.int8))
    labels = tokens
    if isinstance(encoded, EncodedPairs):
        (labels,) = chosen_lists(rows, encoded.output_bounds, encoded.output_ids)
    (targets,) = chosen_lists(rows, 3 * encoded.target_bounds, encoded.targets.ravel())
    return pa.record_batch([ids[rows], texts.filter(pa.array(rows)), tokens, mask, labels, targets], SIDE)


def _stored(ids: np.ndarray, encoded: Encoded | EncodedPairs, split: SampleSplit, rows: np.ndarray) -> pa.RecordBatch:
    """Of a batch, what goes into the probes' set."""
    columns = [ids[rows], split.member[rows], split.copies[rows], split.begin[rows]]
    columns += chosen_lists(rows, encoded.bounds, encoded.starts)
    if not isinstance(encoded, EncodedPairs):
        return pa.record_batch(columns, PROBES)
    columns += [*chosen_lists(rows, encoded.output_bounds, encoded.output_starts), encoded.source_ends[rows]]
    return pa.record_batch(columns, PAIRS)


def _facts(settings: EncodingSettings, split: SampleSplit, writer: _Writer) -> dict[str, Any]:
    """The facts of the manifests. Raises UserError if there are no probes, or too few prompts among them."""
    name, kind = settings.data.name, settings.probe
    if not writer.counts[kind].any() and not writer.too_short[kind]:
        raise UserError(
            f"{name}: no chat has a turn of the assistant, so there is nothing to ask for; give some that do"
        )
    if not writer.counts[kind].any():
        other = "--probe target, " if writer.counts["target"].any() else ""
        raise UserError(
            f"{name}: all {writer.too_short[kind]} {kind}s are shorter than {settings.prefix_length} + "
            f"{settings.min_suffix_length} tokens; take {other}a lower --prefix-length or --min-suffix-length, or "
            "longer texts"
        )
    prompts = writer.prompts.count()
    check_prompts(prompts, name, kind, settings.shared_prompts)
    distinct = split.first == np.arange(len(split.first))
    facts: dict[str, Any] = {
        "distinct_samples": int(distinct.sum()),
        "prefix_length": settings.prefix_length,
        "probe": kind,
        "prompts": prompts,
        "too_short_for_a_probe": writer.too_short[kind],
        "ends": sorted(writer.ends),
    }
    if settings.near_duplicates:
        sizes = np.bincount(split.begin[distinct])
        facts["near_duplicates"] = int(sizes[sizes > 1].sum())
        facts["clusters_of_near_duplicates"] = int((sizes > 1).sum())
    if settings.deduplicate:
        facts["left_out_of_training"] = int((split.member & ~split.in_set).sum())
        facts["left_out_of_held_out"] = int((~split.member & ~split.in_set).sum())
    return facts


def _facts_of_texts(reader: SampleReader, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """What may be wrong with the form of the texts, for the manifests."""
    facts = {
        "samples": reader.number,
        "special_names": reader.named,
        "template_unused": bool(tokenizer.chat_template) and not reader.template,
    }
    return facts | ({"taken_for": reader.taken_for, "without_turn": reader.without_turn} if reader.taken_for else {})


def _about_texts(reader: SampleReader, tokenizer: PreTrainedTokenizerFast) -> Iterator[str]:
    """The same in words."""
    if reader.taken_for:
        through = "through the tokenizer's chat template" if reader.template else "no chat template"
        yield f"taken for chats: {reader.taken_for}, {through}"
    if reader.without_turn:
        yield f"{reader.without_turn} chats have no turn of the assistant, so nothing of them is asked for"
    if reader.named:
        read_as = "text: --parse-special-tokens makes them tokens" if reader.form == TEXT else "control tokens"
        yield f"{reader.named} samples have the name of a special token in their texts, which is read as {read_as}"
    if tokenizer.chat_template and not reader.template:
        yield "the tokenizer has a chat template; if the model is one of chats, encode these with encode_chat.py"


def _summary(facts: dict[str, Any], rows: dict[str, int], split: SampleSplit, writer: _Writer) -> Iterator[str]:
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
    for kind, (others, members) in writer.counts.items():
        yield (
            f"{members + others} probes of kind {kind}: {members} members, {others} non-members; "
            f"{writer.too_short[kind]} {kind}s too short"
        )
    if facts["prompts"]["own"] < facts["prompts"]["probes"]:
        yield describe_prompts(facts["prompts"])
