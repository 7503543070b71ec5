"""The span index: the words of all samples of an encoding, searched for every run of words that a text copies.

Stage 4 writes it to <indexes>/spans-<encoding>/, for all prefix lengths; stage 5 maps it into memory. The samples of
either side lie in parts of at most PART words (or one longer text), each with a suffix array of its own.
"""

from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pydivsufsort
from tqdm import tqdm

from memorization.detection.items import Writer, keys
from memorization.detection.personal import REGIONS, find
from memorization.detection.suffixes import holders, longest_matches
from memorization.encoding.words import words
from memorization.shell.cli import UserError
from memorization.shell.parallel import batches, in_order
from memorization.store.arrays import KIND, building, mapped, read_mark, save
from memorization.store.directories import changed, mark_path
from memorization.store.files import NOT_OF_SHAPE
from memorization.store.manifests import Count

FORMAT = 4  # of these files; raise it when they or the words change
PART = 1 << 24  # words, sorted in memory together: that takes a gigabyte
BATCH = 500  # samples handed to a process at a time
SAMPLES = {
    "ids": np.int64,
    "members": np.bool_,
    "clusters": np.int64,
    "ends": np.int64,
}  # of each sample; `ends` in bytes of texts.utf8


class Mark(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a span index says of itself. samples: members, held-out ones. parts: whether each is of members. files: the
    SHA-256 of each.
    """

    format: int
    made_of: dict[str, str]
    samples: tuple[Count, Count]
    parts: list[bool]
    files: dict[str, str]


def span_index_path(indexes, encoding):
    return Path(indexes) / f"spans-{encoding}"


def read_whole(path, encoding):
    """The Mark of the span index of an encoding, its files as they were written; None without one of this version."""
    mark = read_mark(path)
    if not isinstance(mark, dict) or mark.get("format") != FORMAT:
        return None
    try:
        mark = msgspec.convert(mark, Mark)
    except NOT_OF_SHAPE as error:
        raise UserError(f"{mark_path(path, KIND)}: is no mark of a span index ({error}); move {path} away") from None
    if mark.made_of.get("encoding") != encoding:
        raise UserError(
            f"{path}: is of the encoding {mark.made_of.get('encoding')}; remove it and run load_to_elastic.py again"
        )
    if name := changed(path, mark.files):
        raise UserError(f"{path / name}: is not as it was written; remove {path} and run load_to_elastic.py again")
    return mark


def build(path, samples, encoding, total, jobs, regions=REGIONS):
    """Write the span index of the samples, an iterable of (id, member, cluster, text), unless it is there.

    regions: whose telephone numbers are known among the items of personal data (personal.checked_regions). Returns how
    many are members, and how many held out.
    """
    made_of = {"encoding": encoding, "regions": " ".join(regions)}
    if (mark := read_whole(path, encoding)) and mark.made_of == made_of:
        return mark.samples
    with building(path) as (directory, mark), (directory / "texts.utf8").open("wb") as texts:
        known, parts, end = {name: [] for name in SAMPLES}, {True: _Part(), False: _Part()}, 0
        items = Writer()
        written = []  # whether each part is of members
        bar = tqdm(samples, total=total, desc="spans", unit="sample")
        for batch, (hashes, bounds, counts, of_samples) in in_order(
            partial(_words, regions), batches(bar, BATCH), jobs
        ):
            items.add(of_samples)
            places = np.cumsum(counts)[:-1]
            for (id, member, cluster, text), *one in zip(
                batch, np.split(hashes, places), np.split(bounds, places), strict=True
            ):
                end += texts.write(text.encode())
                if parts[member].size + len(one[0]) + 1 > PART and parts[member].size:
                    parts[member].write(directory / str(len(written)))
                    written.append(member)
                    parts[member] = _Part()
                parts[member].add(len(known["ids"]), *one)
                for name, value in zip(SAMPLES, (id, member, cluster, end), strict=True):
                    known[name].append(value)
        for member, part in parts.items():
            if part.size:
                part.write(directory / str(len(written)))
                written.append(member)
        for name, type in SAMPLES.items():
            save(directory / f"{name}.npy", np.array(known[name], type))
        items.write(directory)
        members = sum(known["members"])
        mark |= {"format": FORMAT, "made_of": made_of, "parts": written}
        mark |= {"samples": (members, len(known["ids"]) - members)}
    return mark["samples"]


def _words(regions, batch):
    """(words, bounds, counts, items): the words of all texts of a batch and their bounds, how many each has, and the
    keys of its items of personal data.
    """
    found = [words(text) for *_, text in batch]
    hashes, bounds = (np.concatenate([getattr(one, name) for one in found]) for name in ("hashes", "bounds"))
    return hashes, bounds, [len(one.hashes) for one in found], [keys(find(text, regions)) for *_, text in batch]


class _Part:
    """Samples of one side on their way to the disk. size: words so far, with a 0 behind each sample."""

    FILES = ("vocabulary", "text", "bounds", "suffixes", "buckets", "samples", "ends")

    def __init__(self):
        self._samples, self._words, self._bounds, self.size = [], [], [], 0

    def add(self, sample, words, bounds):
        self._samples.append(sample)
        self._words.append(words.copy())  # a view would keep its whole batch, the other side's samples too
        self._bounds.append(bounds.copy())
        self.size += len(words) + 1

    def write(self, path):
        counts = np.array([len(words) for words in self._words])
        closing = np.cumsum(counts)
        encoded = pa.array(np.concatenate(self._words)).dictionary_encode()
        vocabulary = encoded.dictionary.to_numpy()
        order = vocabulary.argsort()
        number = np.empty(len(order), np.int32)
        number[order] = np.arange(1, len(order) + 1)
        text = np.insert(number[encoded.indices.to_numpy()], closing, np.int32(0))
        arrays = {
            "vocabulary": vocabulary[order],
            "text": text,
            "bounds": np.insert(np.concatenate(self._bounds), closing, np.int32(0), axis=0),
            "suffixes": pydivsufsort.divsufsort(text.view(np.uint32)),
            "buckets": np.concatenate([[0], np.cumsum(np.bincount(text, minlength=len(vocabulary) + 1))]),
            "samples": np.array(self._samples),
            "ends": closing + np.arange(1, len(counts) + 1),
        }
        for name in self.FILES:
            save(f"{path}-{name}.npy", arrays[name])


class Part:
    """A part of a span index, mapped into memory. samples: the numbers of its samples; ends: the place behind each."""

    def __init__(self, path, member):
        self.member = member
        for name in _Part.FILES:
            setattr(self, name, mapped(f"{path}-{name}.npy"))

    def query(self, words):
        """Words (hashes) as numbers of this part's vocabulary; -1 for those that it does not have."""
        place = self.vocabulary.searchsorted(words)
        known = place < len(self.vocabulary)
        known[known] = self.vocabulary[place[known]] == words[known]
        return np.where(known, place + 1, -1).astype(np.int32)

    def place(self, sample):
        """[begin, end) of a sample's words in the text; None if it is in another part."""
        k = int(self.samples.searchsorted(sample))
        if k == len(self.samples) or self.samples[k] != sample:
            return None
        return int(self.ends[k - 1]) if k else 0, int(self.ends[k]) - 1

    def longest_matches(self, query, own, cut):
        """Of each place in a query the longest match, but for what begins in the first `cut` words of sample `own`."""
        begin = place[0] if (place := self.place(own)) else -cut
        return longest_matches(query, self.text, self.suffixes, self.buckets, begin, begin + cut)

    def holders(self, query, begins, ends):
        """Rows (run, sample, word) of every place at which one of the runs query[begin:end] stands."""
        rows = holders(query, begins, ends, self.text, self.suffixes, self.buckets, self.ends)
        rows[:, 1] = self.samples[rows[:, 1]]
        return rows
