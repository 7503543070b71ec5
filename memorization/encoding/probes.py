"""Probes: a sample's prefix, which the model is asked to continue, and its suffix, which it may have memorized.

Stage 1 stores all distinct samples whole: their texts and tokens in the training and held-out sets, all else beside
them in an Arrow file of batches. Probes cuts them. The probes as text are for people and other programs: pandas "split"
orientation, one row a probe (design: Files between the stages).
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute

from memorization.encoding import kinds
from memorization.encoding.kinds import PromptCount
from memorization.encoding.prompt_counts import PromptCounter
from memorization.encoding.stored_sets import PAIRS, PROBE_KINDS, PROBES, SIDE, StoredBatches, flat
from memorization.encoding.tokens import CONTROL, SPECIAL, cut, text_end
from memorization.models.limits import WHOLE, cut_source
from memorization.shell.cli import UserError
from memorization.store.files import read_json, replacing
from memorization.store.locations import encoding_paths
from memorization.store.manifests import Count, Positive, checked, difference
from memorization.store.rows import Id


class Probe(msgspec.Struct):
    """A probe as text."""

    id: Id
    member: bool
    prefix: str
    suffix: str
    duplicates: Positive
    turn: Count = 0


class _ColumnsAndData(msgspec.Struct):
    """Rows in pandas "split" orientation."""

    columns: list[str]
    data: list[list]


class _Tokens(NamedTuple):
    """Of many samples: the ids and starts (tokens.py) of sample i are those from bounds[i] to bounds[i + 1]."""

    ids: np.ndarray
    starts: np.ndarray
    bounds: np.ndarray

    def of(self, sample: int) -> tuple[list[int], np.ndarray]:
        here = slice(self.bounds[sample], self.bounds[sample + 1])
        return self.ids[here].tolist(), self.starts[here]


TOKENS = ("input_ids", "starts"), ("labels", "target_starts")  # of stored samples; the second for PAIRS alone
BATCH = 1000  # probes in memory together
COLUMNS = list(Probe.__struct_fields__)  # of the probes as text; other programs' files may lack the last
LISTING_BEGINS = msgspec.json.encode({"columns": COLUMNS})[:-1] + b",\n"
AGAIN = "run encode_<task>.py again"


class Probes:
    """The probes of an encoding, of a kind, cut at prefix_length; read from disk batch by batch.

    kind: what is cut (default: stage 1's, as is prefix_length). For a causal model "text": the sample from its first
    token on; or "target": all text before the target is given, and then the target's prefix. For an
    encoder-decoder model "source": the encoder reads its prefix; or "target": the encoder reads the source, the decoder
    is given the prefix.

    name, path, manifest, encoding (its identity), tokenizer (its fingerprint): where they are from. sets: the paths of
    the training and held-out sets, which hold the texts. Of each probe: ids (int64: the row of the data in which the
    text occurs first), turns (int64: which target of the sample), members (bool), duplicates (int64: copies of the
    text), clusters (int64: the id of the first sample of its cluster of near-duplicates). longest_prefix: in tokens, of
    what is continued; longest_source: of what the encoder reads, 0 without one. greatest_id: of all tokens of the
    samples. too_short: how many samples, or targets, leave no suffix of the least length behind the cut. pairs: whether
    for encoder-decoder models. ends: the tokens that end what a model says.

    Raises UserError if the probes or a set are not there, are unfinished, have changed or are of different splits, if
    no sample is long enough, or if they are not encoded for the kind of model that has such probes.
    """

    def __init__(self, directory: str | Path, name: str, prefix_length: int | None = None, kind: str | None = None):
        paths = encoding_paths(directory, name)
        self.name, self.path = name, paths["probes"]
        path = self.path
        self.sets = paths["training set"], paths["held-out set"]
        self.manifest = manifest = checked(path, kinds.PROBES)
        for other_kind in (kinds.PROBE_TEXTS, kinds.TRAINING_SET, kinds.HELD_OUT_SET):
            other = checked(paths[other_kind.name], other_kind)
            if other.identity != manifest.identity:
                raise UserError(
                    f"{paths[other_kind.name]}: is of another split than the probes in {path}: another "
                    f"{difference(other.made_of, manifest.made_of)}; {AGAIN}"
                )
        self.encoding, self.tokenizer = manifest.identity, manifest.made_of["tokenizer"]
        self.kind = kind = kind or manifest.facts["probe"]
        self.prefix_length = manifest.facts["prefix_length"] if prefix_length is None else prefix_length
        self.ends: list[int] = manifest.facts["ends"]
        self.pairs = pairs = manifest.made_of.get("encoder_decoder", False)
        if kind not in PROBE_KINDS[pairs]:
            models, option = ("encoder-decoder", "without") if pairs else ("causal", "with")
            raise UserError(
                f"{path}: is encoded for {models} models, so --probe can't be {kind!r}; name one of "
                f"{' and '.join(PROBE_KINDS[pairs])}, or encode {option} --encoder-decoder"
            )
        if self.prefix_length == 0 and kind != "target":
            raise UserError(f"{path}: with prefixes of 0 tokens nothing of a {kind} is given; take --probe target")
        self._batches = StoredBatches(path, PAIRS if pairs else PROBES), *(StoredBatches(s, SIDE) for s in self.sets)
        self._cut(manifest.made_of["min_suffix_length"])
        self._loaded: tuple[int, pa.RecordBatch, list[_Tokens]] | None = None
        self.longest_prefix = len(self[:1][0]["prefix_ids"]) if kind == "source" else int(self._begin.max())

    def _cut(self, least: int) -> None:
        """Find the probes among the stored samples: those that leave a suffix of `least` tokens behind the cut."""
        columns, samples, self.too_short, of_target = [], 0, 0, self.kind == "target"
        self.longest_source = self.greatest_id = 0
        for number, batch in enumerate(self._samples()):
            tokens = self._tokens(batch)
            targets, target_bounds = flat(batch["targets"])
            if not _fit(batch, tokens, targets, target_bounds):
                raise UserError(f"{self.path}: tokens that do not fit their texts; {AGAIN}")
            samples += len(batch)
            self.greatest_id = max(self.greatest_id, *(int(one.ids.max(initial=0)) for one in tokens))
            _, starts, bounds = tokens[self.pairs and of_target]
            triples = targets.reshape(-1, 3), target_bounds // 3
            sample, turn, begin, end = cut(self.kind, self.prefix_length, starts, bounds, triples)
            long = end - begin >= least
            self.too_short += int((~long).sum())
            sample, turn = sample[long], turn[long]
            begin, end = (place[long] - bounds[sample] for place in (begin, end))
            if self.pairs:
                read = np.diff(tokens[0].bounds)[sample] - (0 if of_target else end - begin)
                self.longest_source = max(self.longest_source, int(read.max(initial=0)))
            names = ("id", "member", "duplicates", "cluster")
            of_probes = (batch[name].to_numpy(zero_copy_only=False)[sample] for name in names)
            columns.append([np.full(len(sample), number), sample, begin, end, *of_probes, turn])
        if not samples or samples != self.manifest.rows:
            raise UserError(f"{self.path}: has {samples} samples, by its manifest {self.manifest.rows}; {AGAIN}")
        together = map(np.concatenate, zip(*columns, strict=True))
        self._number, self._sample, self._begin, self._end, *own = together
        self.ids, self.members, self.duplicates, self.clusters, self.turns = own
        ordered = (np.diff(self.ids) > 0) | (np.diff(self.ids) == 0) & (np.diff(self.turns) > 0)
        if not ordered.all() or (self.clusters > self.ids).any():
            raise UserError(f"{self.path}: its ids are not in order, or its clusters; {AGAIN}")
        if not len(self):
            raise UserError(
                f"{self.path}: all {self.too_short} {self.kind}s are shorter than {self.prefix_length} + {least} "
                "tokens; lower --prefix-length, or encode longer texts"
            )

    def _samples(self) -> Iterator[pa.RecordBatch]:
        """All stored samples, batch by batch, each with its text and tokens beside what the probes' set says of it."""
        return map(self._joined, *self._batches)

    def _joined(self, batch: pa.RecordBatch, *sides: pa.RecordBatch) -> pa.RecordBatch:
        both = pa.concat_batches(sides)
        ids, wanted, member = both["id"].to_numpy(), batch["id"].to_numpy(), batch["member"].to_numpy(False)
        order = ids.argsort()
        places = np.searchsorted(ids, wanted, sorter=order)
        if (places == len(ids)).any() or (ids[places := order[places]] != wanted).any():
            raise UserError(f"{self.path}: has samples that neither set beside it has; {AGAIN}")
        if ((places < len(sides[0])) != member).any():
            raise UserError(f"{self.path}: its members are not those of the training set beside it; {AGAIN}")
        samples = both.take(pa.array(places))
        for name in ("text", "input_ids", "labels", "targets"):
            batch = batch.append_column(name, samples[name])
        return batch

    def _tokens(self, batch: pa.RecordBatch) -> list[_Tokens]:
        """Of a batch of samples; for encoder-decoder models of the sources, and then of the targets."""
        tokens = []
        for ids, starts in TOKENS[: 1 + self.pairs]:
            (values, bounds), (places, of_starts) = flat(batch[ids]), flat(batch[starts])
            if not np.array_equal(bounds, of_starts):
                raise UserError(f"{self.path}: tokens that do not fit their texts; {AGAIN}")
            tokens.append(_Tokens(values, places, bounds))
        return tokens

    def leave_out(self, longest: float) -> list[int]:
        """Leave out the probes with a prefix of more tokens than `longest`, unless all have; return their ids."""
        fits = self._begin <= longest if self.kind != "source" else np.full(len(self), True)
        if fits.all() or not fits.any():
            return []
        left_out = self.ids[~fits].tolist()
        self.keep(fits)
        return left_out

    def keep(self, chosen: np.ndarray) -> None:
        """Leave out all probes but those chosen (bool)."""
        for name in ("_number", "_sample", "_begin", "_end", "ids", "turns", "members", "duplicates", "clusters"):
            setattr(self, name, getattr(self, name)[chosen])
        if self.kind != "source":
            self.longest_prefix = int(self._begin.max())

    def documents(self) -> Iterator[tuple[str, str]]:
        """The sample_documents of all training samples."""
        every = (probe for start in range(0, len(self), BATCH) for probe in self[start : start + BATCH])
        return sample_documents((probe["id"], probe["suffix"]) for probe in every if probe["member"])

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, where: slice) -> list[dict[str, Any]]:
        """The probes of a slice, as dicts.

        Keys: id, turn, member, duplicates, cluster, prefix, suffix, prefix_ids, suffix_ids, suffix_starts. prefix: all
        of the text before the suffix. prefix_ids: what is continued. suffix_starts: the character of the suffix at
        which each token starts; one that begins inside a character, where that does. Of encoder-decoder models also
        source_ids, which the encoder reads, closed; the decoder is given what a tokenizer opens a target with (BART's)
        and, of kind "target", the prefix of the target.
        """
        return [self._probe(i) for i in range(*where.indices(len(self)))]

    def samples(self) -> Iterator[tuple[int, bool, int, str]]:
        """(id, member, cluster, text) of all distinct samples, those too short for a probe too."""
        for batch in self._samples():
            yield from zip(*(batch[name].to_pylist() for name in ("id", "member", "cluster", "text")), strict=True)

    def prompts(self, source_length: int = WHOLE) -> PromptCount:
        """How many distinct prompts there are. source_length: the most tokens that an encoder reads."""
        prompts = PromptCounter()
        for start in range(0, len(self), BATCH):
            for probe in self[start : start + BATCH]:
                prompts.add(cut_source(probe.get("source_ids", ()), source_length), probe["prefix_ids"])
        return prompts.count()

    def _probe(self, i: int) -> dict[str, Any]:
        batch, tokens = self._batch(self._number[i])
        sample, begin, end = (int(array[i]) for array in (self._sample, self._begin, self._end))
        text, more = batch["text"][sample].as_py(), {}
        ids, starts = tokens[self.pairs and self.kind == "target"].of(sample)
        prefix_ids, suffix_ids = ids[:begin], ids[begin:end]
        own = starts[begin:end]
        if self.kind == "source":
            text = text[: batch["source_end"][sample].as_py()]
            target_ids, target_starts = tokens[1].of(sample)
            opening = int(np.argmax(np.append(target_starts[:-1] != SPECIAL, True)))
            more, prefix_ids = {"source_ids": prefix_ids + ids[end:]}, target_ids[:opening]
        elif self.pairs:
            more = {"source_ids": tokens[0].of(sample)[0]}
        return {
            "id": int(self.ids[i]),
            "turn": int(self.turns[i]),
            "member": bool(self.members[i]),
            "duplicates": int(self.duplicates[i]),
            "cluster": int(self.clusters[i]),
            "prefix": text[: starts[begin]],
            "suffix": text[starts[begin] : text_end(starts, end, text)],
            "prefix_ids": prefix_ids,
            "suffix_ids": suffix_ids,
            "suffix_starts": (np.maximum.accumulate(np.maximum(own, CONTROL - own)) - own[0]).tolist(),
            **more,
        }

    def _batch(self, number: int) -> tuple[pa.RecordBatch, list[_Tokens]]:
        if self._loaded is None or self._loaded[0] != number:
            batch = self._joined(*(batches[number] for batches in self._batches))
            self._loaded = number, batch, self._tokens(batch)
        return self._loaded[1:]


def _fit(batch: pa.RecordBatch, tokens: list[_Tokens], targets: np.ndarray, target_bounds: np.ndarray) -> bool:
    """Whether the columns of a batch of stored samples can be true of one another."""
    row, copies, cluster = (batch[name].to_numpy() for name in ("id", "duplicates", "cluster"))
    length = pa.compute.utf8_length(batch["text"]).to_numpy()
    fit = (copies >= 1).all() and all((column >= 0).all() for column in (row, cluster))
    for ids, starts, bounds in tokens:
        spelled = (starts >= 0) | (starts <= CONTROL)
        places, sample = starts[spelled], np.repeat(np.arange(len(batch)), np.diff(bounds))[spelled]
        places = np.where(places < 0, CONTROL - places, places)
        rising = (np.diff(places)[np.diff(sample) == 0] >= 0).all()
        fit = fit and (places <= length[sample]).all() and rising and (ids >= 0).all()
    if len(tokens) > 1:
        ends = batch["source_end"].to_numpy()
        fit = fit and (ends >= 0).all() and (ends <= length).all()
    number = np.diff(target_bounds)
    if not fit or (number % 3).any():
        return False
    most = np.repeat(np.diff(tokens[-1].bounds), number // 3)
    begin, end, closed = targets.reshape(-1, 3).T
    return bool(((begin >= 0) & (begin <= end) & (end <= closed) & (closed <= most)).all())


def sample_documents(suffixes: Iterable[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """The documents of an index, one a training sample: (id, the suffixes of its turns, a line each).

    suffixes: (id of the sample, suffix) of every probe, those of a sample together.
    """
    for id, of_sample in groupby(suffixes, itemgetter(0)):
        yield str(id), "\n".join(suffix for _, suffix in of_sample)


def write_probes(path: str | Path, probes: Iterable[Mapping[str, Any]]) -> None:
    """Write mappings with the keys COLUMNS as text, one at a time."""
    count = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(LISTING_BEGINS + b'"data": [')
        for count, probe in enumerate(probes, 1):
            file.write(b",\n" if count > 1 else b"\n")
            file.write(msgspec.json.encode([probe[column] for column in COLUMNS]))
        file.write(b'\n],\n"index": ' + msgspec.json.encode(list(range(count))) + b"}\n")


def read_probes(path: str | Path) -> list[dict[str, Any]]:
    """The probes of a text file, as dicts with the keys COLUMNS, other columns left out.

    Raises UserError if it is none, naming the row.
    """
    table = read_json(Path(path), _ColumnsAndData)
    needed = COLUMNS[: 5 + ("turn" in table.columns)]
    if missing := [column for column in needed if table.columns.count(column) != 1]:
        raise UserError(f"{path}: no column {missing[0]}, or several; it has {', '.join(table.columns)}")
    probes, ids = [], set()
    for number, row in enumerate(table.data, 1):
        try:
            probe = msgspec.convert(dict(zip(table.columns, row, strict=True)), Probe)
            if (probe.id, probe.turn) in ids:
                raise ValueError(f"id {probe.id} occurs twice" + f" with turn {probe.turn}" * bool(probe.turn))
            msgspec.json.encode(probe)  # half a surrogate pair can be read, but not written
        except ValueError as error:
            raise UserError(f"{path}: row {number} of data: {error}; mend it, or write it with stage 1") from None
        ids.add((probe.id, probe.turn))
        probes.append(msgspec.structs.asdict(probe))
    if not probes:
        raise UserError(f"{path}: no probes in it; encode data with samples longer than the prefix")
    return probes
