"""Probes: a sample's prefix, which the model is asked to continue, and its suffix, which it may have memorized.

Stage 1 stores all distinct samples whole, tokenized, in an Arrow file of batches. Probes cuts them. The probes as text
are for readers and other programs: pandas "split" orientation, one row a probe (design: Files between the stages).
"""

from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute

from memorization.encoding import kinds
from memorization.encoding.kinds import PromptCount
from memorization.encoding.prompt_counts import PromptCounter
from memorization.encoding.stored_sets import PAIRS, PROBE_KINDS, PROBES, StoredBatches, flat
from memorization.encoding.tokens import INSIDE, SPECIAL, cut
from memorization.models.limits import WHOLE, cut_source
from memorization.shell.cli import UserError
from memorization.store.files import read_json, replacing
from memorization.store.locations import encoding_paths
from memorization.store.manifests import Positive, checked, difference
from memorization.store.rows import Id


class Probe(msgspec.Struct):
    """A probe as text."""

    id: Id
    member: bool
    prefix: str
    suffix: str
    duplicates: Positive


class Table(msgspec.Struct):
    """Rows in pandas "split" orientation."""

    columns: list[str]
    data: list[list]


TOKENS = ("input_ids", "starts"), ("target_ids", "target_starts")  # of stored samples; the second of PAIRS alone
BATCH = 1000  # probes in memory together
COLUMNS = list(Probe.__struct_fields__)  # of the probes as text
LISTING_BEGINS = msgspec.json.encode({"columns": COLUMNS})[:-1] + b",\n"


class Probes:
    """The probes of an encoding, of a kind, cut at prefix_length; read from disk batch by batch.

    kind: what is cut (default: stage 1's, as is prefix_length). For a causal model "text": the sample from its first
    token on; or "target": what stands before the target is given whole, and then the target's prefix. For an
    encoder-decoder model "source": the encoder reads its prefix; or "target": the encoder reads the source, the decoder
    is given the prefix.

    path, manifest, encoding (its identity), tokenizer (its fingerprint): where they are from. ids (int64: the row of
    the data in which the text stands first), members (bool), duplicates (int64: copies of the text), clusters
    (int64: the id of the first sample of its cluster of near-duplicates): of each probe.
    longest_prefix: in tokens, of what is continued; longest_source: of what the encoder reads, 0 without one.
    greatest_id: of all tokens of the samples.
    too_short: samples that leave no suffix of the least length behind the cut. pairs: whether for encoder-decoder
    models.

    Raises UserError if the probes are not there, are unfinished, have changed or are of another split than their text
    file, if no sample is long enough, or if they are not encoded for the kind of model that has such probes.
    """

    def __init__(self, directory, name, prefix_length=None, kind=None):
        paths = encoding_paths(directory, name)
        self.path = path = paths["probes"]
        text = paths["probes as text"]
        self.manifest = checked(path, kinds.PROBES)
        other = checked(text, kinds.PROBE_TEXTS)
        if other.identity != self.manifest.identity:
            raise UserError(
                f"{text}: is the text file of the probes from another split than their ids in {path}: another "
                f"{difference(other.made_of, self.manifest.made_of)}; run encode_<task>.py again"
            )
        self.encoding, self.tokenizer = self.manifest.identity, self.manifest.made_of["tokenizer"]
        self.kind = kind = kind or self.manifest.facts["probe"]
        self.prefix_length = prefix_length = prefix_length or self.manifest.facts["prefix_length"]
        self.longest_source, self.greatest_id = 0, 0
        self.pairs = pairs = self.manifest.made_of.get("encoder_decoder", False)
        if kind not in PROBE_KINDS[pairs]:
            models, other = ("encoder-decoder", "without") if pairs else ("causal", "with")
            raise UserError(
                f"{path}: is encoded for {models} models, so --probe can't be {kind!r}; name one of "
                f"{' and '.join(PROBE_KINDS[pairs])}, or encode {other} --encoder-decoder"
            )
        self._batches = StoredBatches(path, PAIRS if pairs else PROBES)
        least, columns, samples = self.manifest.made_of["min_suffix_length"], [], 0
        for number, batch in enumerate(self._batches):
            if not _fit(batch, TOKENS[: 1 + pairs]):
                raise UserError(f"{path}: tokens that do not fit their texts; run encode_<task>.py again")
            samples += len(batch)
            greatest = (int(flat(batch[name])[0].max(initial=0)) for name, _ in TOKENS[: 1 + pairs])
            self.greatest_id = max(self.greatest_id, *greatest)
            of_target = kind == "target"
            starts, bounds = flat(batch["target_starts" if pairs and of_target else "starts"])
            begin, end = cut(starts, bounds, prefix_length, batch["target"].to_numpy() if of_target else 0)
            sample = np.flatnonzero(end - begin >= least)
            begin, end = (place[sample] - bounds[sample] for place in (begin, end))
            if pairs:
                whole = np.diff(flat(batch["starts"])[1])[sample]
                read = whole if of_target else whole - (end - begin)
                self.longest_source = max(self.longest_source, int(read.max(initial=0)))
            names = ("id", "member", "duplicates", "cluster")
            of_probes = (batch[name].to_numpy(zero_copy_only=False)[sample] for name in names)
            columns.append([np.full(len(sample), number), sample, begin, end, *of_probes])
        if not samples or samples != self.manifest.rows:
            raise UserError(
                f"{path}: has {samples} samples, by its manifest {self.manifest.rows}; run encode_<task>.py again"
            )
        together = map(np.concatenate, zip(*columns, strict=True))
        self._number, self._sample, self._begin, self._end, *of_probes = together
        self.ids, self.members, self.duplicates, self.clusters = of_probes
        if (np.diff(self.ids) <= 0).any() or (self.clusters > self.ids).any():
            raise UserError(f"{path}: its ids are not in order, or its clusters; run encode_<task>.py again")
        self.too_short = self.manifest.rows - len(self)
        if not len(self):
            raise UserError(
                f"{path}: all {self.too_short} samples are shorter than {prefix_length} + {least} tokens; lower "
                "--prefix-length, or encode longer texts"
            )
        self._loaded = None, None
        self.longest_prefix = len(self[:1][0]["prefix_ids"]) if kind == "source" else int(self._begin.max())

    def leave_out(self, longest: float) -> list[int]:
        """Leave out the probes with a prefix of more tokens than `longest`, unless all have; return their ids."""
        fits = self._begin <= longest if self.kind != "source" else np.full(len(self), True)
        if fits.all() or not fits.any():
            return []
        left_out = self.ids[~fits].tolist()
        for name in ("_number", "_sample", "_begin", "_end", "ids", "members", "duplicates", "clusters"):
            setattr(self, name, getattr(self, name)[fits])
        self.longest_prefix = int(self._begin.max())
        return left_out

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, where):
        """The probes of a slice, as dicts: id, member, duplicates, cluster, prefix, suffix, prefix_ids, suffix_ids.

        prefix: all of the text before the suffix. prefix_ids: what is continued. Of encoder-decoder models also
        source_ids, which the encoder reads, closed; the decoder is given what a tokenizer opens a target with (BART's)
        and, of kind "target", the prefix of the target.
        """
        return [self._probe(i) for i in range(*where.indices(len(self)))]

    def samples(self):
        """(id, member, cluster, text) of all distinct samples, those too short for a probe too."""
        for batch in self._batches:
            yield from zip(*(batch[name].to_pylist() for name in ("id", "member", "cluster", "text")), strict=True)

    def prompts(self, source_length: int = WHOLE) -> PromptCount:
        """How many distinct prompts there are. source_length: the most tokens that an encoder reads."""
        prompts = PromptCounter()
        for start in range(0, len(self), BATCH):
            for probe in self[start : start + BATCH]:
                prompts.add(cut_source(probe.get("source_ids", ()), source_length), probe["prefix_ids"])
        return prompts.count()

    def _probe(self, i):
        batch, tokens = self._batch(self._number[i])
        sample, begin, end = (int(array[i]) for array in (self._sample, self._begin, self._end))
        text, parts = batch["text"][sample].as_py(), []
        for ids, starts, bounds in tokens:
            here = slice(bounds[sample], bounds[sample + 1])
            parts.append((ids[here].tolist(), starts[here]))
        ids, starts = parts[self.pairs and self.kind == "target"]
        place, more = starts[begin], {}
        prefix_ids, suffix_ids = ids[:begin], ids[begin:end]
        if self.kind == "source":
            text = text[: batch["source_end"][sample].as_py()]
            said, said_starts = parts[1]
            opening = int(np.argmax(np.append(said_starts[:-1] != SPECIAL, True)))
            more, prefix_ids = {"source_ids": prefix_ids + ids[end:]}, said[:opening]
        elif self.pairs:
            more = {"source_ids": parts[0][0]}
        return {
            "id": int(self.ids[i]),
            "member": bool(self.members[i]),
            "duplicates": int(self.duplicates[i]),
            "cluster": int(self.clusters[i]),
            "prefix": text[:place],
            "suffix": text[place:],
            "prefix_ids": prefix_ids,
            "suffix_ids": suffix_ids,
            **more,
        }

    def _batch(self, number):
        if self._loaded[0] != number:
            batch = self._batches[number]
            tokens = [(flat(batch[ids])[0], *flat(batch[starts])) for ids, starts in TOKENS[: 1 + self.pairs]]
            self._loaded = number, (batch, tokens)
        return self._loaded[1]


def _fit(batch, lists):
    """Whether the columns of a batch of stored samples can be true of one another. lists: TOKENS that it has."""
    row, copies, cluster, target = (batch[name].to_numpy() for name in ("id", "duplicates", "cluster", "target"))
    length = pa.compute.utf8_length(batch["text"]).to_numpy()
    fit = (copies >= 1).all() and all((column >= 0).all() for column in (row, cluster, target))
    for ids, starts in lists:
        (ids, token_bounds), (starts, bounds) = flat(batch[ids]), flat(batch[starts])
        known = starts[starts >= 0]
        sample = np.repeat(np.arange(len(batch)), np.diff(bounds))[starts >= 0]
        inside = (starts >= INSIDE).all() and (known <= length[sample]).all()
        rising = (np.diff(known)[np.diff(sample) == 0] >= 0).all()
        fit = fit and inside and rising and (ids >= 0).all() and np.array_equal(bounds, token_bounds)
    if len(lists) > 1:
        ends = batch["source_end"].to_numpy()
        fit = fit and (ends >= 0).all() and (ends <= length).all()
    return fit and (target < np.diff(bounds)).all()


def write_probes(path, probes):
    """Write an iterable of dicts with the keys COLUMNS as text, one at a time."""
    count = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(LISTING_BEGINS + b'"data": [')
        for count, probe in enumerate(probes, 1):
            file.write(b",\n" if count > 1 else b"\n")
            file.write(msgspec.json.encode([probe[column] for column in COLUMNS]))
        file.write(b'\n],\n"index": ' + msgspec.json.encode(list(range(count))) + b"}\n")


def read_probes(path):
    """The probes of a text file, as a list of dicts with the keys COLUMNS, other columns left out.

    Raises UserError if it is none, naming the row.
    """
    table = read_json(Path(path), Table)
    if missing := [column for column in COLUMNS if table.columns.count(column) != 1]:
        raise UserError(f"{path}: no column {missing[0]}, or several; it has {', '.join(table.columns)}")
    probes, seen = [], set()
    for number, row in enumerate(table.data, 1):
        try:
            probe = msgspec.convert(dict(zip(table.columns, row, strict=True)), Probe)
            if probe.id in seen:
                raise ValueError(f"id {probe.id} stands twice")
            msgspec.json.encode(probe)  # half a surrogate pair can be read, but not written
        except ValueError as error:
            raise UserError(f"{path}: row {number} of data: {error}; mend it, or write it with stage 1") from None
        seen.add(probe.id)
        probes.append(msgspec.structs.asdict(probe))
    if not probes:
        raise UserError(f"{path}: no probes in it; encode data with samples longer than the prefix")
    return probes
