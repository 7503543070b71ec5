"""The span index on disk: the words of all samples of an encoding, in parts with a suffix array each.

Stage 4 writes it to <indexes>/spans-<encoding>/, for all prefix lengths; stage 5 maps it into memory. A part holds
samples of one side, of at most PART words (or one longer text).
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pydivsufsort
from tqdm import tqdm

from memorization.detection.personal_data import REGIONS, find
from memorization.detection.personal_items import ItemIndexWriter, item_keys
from memorization.detection.suffix_array import longest_matches, occurrences
from memorization.encoding.words import words
from memorization.shell.cli import UserError
from memorization.shell.parallel import batches, in_order
from memorization.store.arrays import KIND, building_arrays, mapped, read_arrays_mark, save
from memorization.store.directories import changed, mark_path
from memorization.store.files import NOT_OF_SHAPE
from memorization.store.manifests import Count

FORMAT = 4  # of these files; raise it when they or the words change
PART = 1 << 24  # words; sorting them in memory takes a gigabyte
BATCH = 500  # samples handed to a process at a time
SAMPLES = {
    "ids": np.int64,
    "members": np.bool_,
    "clusters": np.int64,
    "ends": np.int64,
}  # of each sample; `ends` in bytes of texts.utf8


class SpanIndexMetadata(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """samples: how many are members, and how many held out. parts: whether each is of members. files: their SHA-256."""

    format: int
    made_of: dict[str, str]
    samples: tuple[Count, Count]
    parts: list[bool]
    files: dict[str, str]


def read_whole(path: Path, encoding: str) -> SpanIndexMetadata | None:
    """The metadata of the span index of an encoding, all its files checked; None without one of this version."""
    stored = read_arrays_mark(path)
    if not isinstance(stored, dict) or stored.get("format") != FORMAT:
        return None
    try:
        metadata = msgspec.convert(stored, SpanIndexMetadata)
    except NOT_OF_SHAPE as error:
        raise UserError(f"{mark_path(path, KIND)}: is no mark of a span index ({error}); move {path} away") from None
    if metadata.made_of.get("encoding") != encoding:
        raise UserError(
            f"{path}: is of the encoding {metadata.made_of.get('encoding')}; remove it and run load_to_elastic.py again"
        )
    if name := changed(path, metadata.files):
        raise UserError(f"{path / name}: is not as it was written; remove {path} and run load_to_elastic.py again")
    return metadata


def build(
    path: Path,
    samples: Iterable[tuple[int, bool, int, str]],
    encoding: str,
    total: int,
    jobs: int,
    regions: tuple[str, ...] = REGIONS,
) -> tuple[int, int]:
    """Write the span index of the samples, (id, member, cluster, text) of each, unless it is there.

    regions: those whose national telephone numbers are recognized (personal_data.checked_regions). Returns how many
    samples are members, and how many held out.
    """
    made_of = {"encoding": encoding, "regions": " ".join(regions)}
    if (metadata := read_whole(path, encoding)) and metadata.made_of == made_of:
        return metadata.samples
    with building_arrays(path) as (directory, mark), (directory / "texts.utf8").open("wb") as texts:
        columns: dict[str, list[int]] = {name: [] for name in SAMPLES}
        parts, end, items = {True: _PartWriter(), False: _PartWriter()}, 0, ItemIndexWriter()
        written: list[bool] = []  # whether each part is of members
        bar = tqdm(samples, total=total, desc="spans", unit="sample")
        for batch, (hashes, bounds, counts, item_keys_of_samples) in in_order(
            partial(_analyse, regions), batches(bar, BATCH), jobs
        ):
            items.add(item_keys_of_samples)
            places = np.cumsum(counts)[:-1]
            for (id, member, cluster, text), *of_sample in zip(
                batch, np.split(hashes, places), np.split(bounds, places), strict=True
            ):
                end += texts.write(text.encode())
                if parts[member].size + len(of_sample[0]) + 1 > PART and parts[member].size:
                    parts[member].write(directory / str(len(written)))
                    written.append(member)
                    parts[member] = _PartWriter()
                parts[member].add(len(columns["ids"]), *of_sample)
                for name, value in zip(SAMPLES, (id, member, cluster, end), strict=True):
                    columns[name].append(value)
        for member, part in parts.items():
            if part.size:
                part.write(directory / str(len(written)))
                written.append(member)
        for name, type in SAMPLES.items():
            save(directory / f"{name}.npy", np.array(columns[name], type))
        items.write(directory)
        members = sum(columns["members"])
        mark |= {"format": FORMAT, "made_of": made_of, "parts": written}
        mark |= {"samples": (members, len(columns["ids"]) - members)}
    return mark["samples"]


def _analyse(
    regions: tuple[str, ...], batch: list[tuple[int, bool, int, str]]
) -> tuple[np.ndarray, np.ndarray, list[int], list[np.ndarray]]:
    """(hashes, bounds, counts, keys): the words of all texts of a batch, how many each has, and the keys of its items
    of personal data.
    """
    texts = [words(text) for *_, text in batch]
    hashes, bounds = (np.concatenate([getattr(text, name) for text in texts]) for name in ("hashes", "bounds"))
    keys = [item_keys(find(text, regions)) for *_, text in batch]
    return hashes, bounds, [len(text.hashes) for text in texts], keys


class _PartWriter:
    """Samples of one side on their way to the disk. size: words so far, with a 0 behind each sample."""

    FILES = ("vocabulary", "text", "bounds", "suffixes", "buckets", "samples", "ends")

    def __init__(self) -> None:
        self._samples: list[int] = []
        self._words: list[np.ndarray] = []
        self._bounds: list[np.ndarray] = []
        self.size = 0

    def add(self, sample: int, words: np.ndarray, bounds: np.ndarray) -> None:
        self._samples.append(sample)
        self._words.append(words.copy())  # a view would keep the whole batch in memory
        self._bounds.append(bounds.copy())
        self.size += len(words) + 1

    def write(self, path: Path) -> None:
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


class IndexPart:
    """A part of a span index, mapped into memory. samples: the numbers of its samples; ends: the place behind each."""

    def __init__(self, path: Path, member: bool) -> None:
        self.member = member
        files = (mapped(f"{path}-{name}.npy") for name in _PartWriter.FILES)
        self.vocabulary, self.text, self.bounds, self.suffixes, self.buckets, self.samples, self.ends = files

    def query(self, hashes: np.ndarray) -> np.ndarray:
        """Words as numbers of this part's vocabulary; -1 for those that it lacks."""
        place = self.vocabulary.searchsorted(hashes)
        present = place < len(self.vocabulary)
        present[present] = self.vocabulary[place[present]] == hashes[present]
        return np.where(present, place + 1, -1).astype(np.int32)

    def place(self, sample: int) -> tuple[int, int] | None:
        """[begin, end) of a sample's words in the text; None if it is in another part."""
        k = int(self.samples.searchsorted(sample))
        if k == len(self.samples) or self.samples[k] != sample:
            return None
        return int(self.ends[k - 1]) if k else 0, int(self.ends[k]) - 1

    def longest_matches(self, query: np.ndarray, own: int, cut: int) -> np.ndarray:
        """The longest match at each place in a query. Matches that begin in the first `cut` words of sample `own` do
        not count.
        """
        begin = place[0] if (place := self.place(own)) else -cut
        return longest_matches(query, self.text, self.suffixes, self.buckets, begin, begin + cut)

    def occurrences(self, query: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Rows (run, sample, word), one for every place at which one of the runs query[begin:end] occurs."""
        rows = occurrences(query, begins, ends, self.text, self.suffixes, self.buckets, self.ends)
        rows[:, 1] = self.samples[rows[:, 1]]
        return rows
