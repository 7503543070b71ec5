"""An index in a directory, without a server. What ranks the documents is a subclass's: BM25 (embedded.py), or another.

The directory holds ids, texts and metadata, with the hash of each file. It is built aside by one process at a time, and
then takes its place. A text that is part of a sample's in the span index beside it takes a few bytes: it is compressed
with the sample's text as the dictionary.
"""

import zlib
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from memorization.retrieval.documents import DocumentStream, IndexDocument, IndexMetadata
from memorization.retrieval.index import Hit, Index
from memorization.shell.cli import UserError
from memorization.store.arrays import KIND, OURS, building_arrays, mapped, read_arrays_mark, save
from memorization.store.directories import changed, check_ours
from memorization.store.locations import span_index_path
from memorization.store.strings import Strings, Texts, write_strings

BLOCK = 256  # scores


class DirectoryIndex(Index):
    """The index in the directory <directory>/<name>. engine: what ranks, part of made_of for all but BM25."""

    engine: str | None = None

    def __init__(self, directory: str | Path, name: str) -> None:
        super().__init__(name, where=str(Path(directory) / name))
        self.path = Path(self.where)

    @abstractmethod
    def write_ranking(self, directory: Path, documents: Iterable[IndexDocument]) -> None:
        """Write to the directory what ranks the documents, files .npy and .utf8; reads all documents, once."""

    @abstractmethod
    def open_ranking(self, directory: Path) -> None:
        """Open what write_ranking wrote; the files are whole."""

    @abstractmethod
    def rank(self, texts: Sequence[str], k: int) -> Iterable[list[tuple[int, float]]]:
        """For each text the numbers and scores of its k best documents, best first (see best_scores)."""

    def check_load(self, made_of: dict[str, str | int], recreate: bool = False) -> None:
        check_ours(self.path, KIND, OURS)

    def _load(
        self, stream: DocumentStream, documents: Iterable[IndexDocument], made_of: dict[str, str | int], recreate: bool
    ) -> IndexMetadata:
        if self.engine:
            made_of = made_of | {"engine": self.engine}
        with building_arrays(self.path) as (directory, metadata):
            self.write_ranking(directory, self._stored(directory, documents, made_of))
            metadata |= msgspec.to_builtins(stream.metadata(made_of))
        return stream.metadata(made_of)

    def search(self, texts: Sequence[str], k: int = 10) -> list[list[Hit]]:
        self.open()
        hits = [[Hit(self._ids[number], score) for number, score in ranked] for ranked in self.rank(texts, k)]
        self._check_unchanged()
        return hits

    def texts(self, ids: Iterable[str]) -> dict[str, str]:
        self.open()
        ids = list(ids)
        numbers = dict(zip(ids, self._ids.numbers(ids).tolist(), strict=True))
        if missing := [id for id, number in numbers.items() if number < 0]:
            raise KeyError(missing[0])
        samples = SampleTexts(self.path.parent, self.made_of())
        try:
            texts = {
                id: zlib.decompressobj(zdict=samples[id]).decompress(self._texts.bytes(number)).decode()
                for id, number in numbers.items()
            }
        except zlib.error:
            raise UserError(
                f"{self.where}: its texts are not of the samples in {samples.path}; {self._remedy()}"
            ) from None
        self._check_unchanged()
        return texts

    def _check_unchanged(self) -> None:
        if self._read_metadata() != msgspec.to_builtins(self._metadata):
            raise UserError(f"{self.where}: was removed or replaced while in use; run the same command again")

    def _read_metadata(self) -> Any:
        return read_arrays_mark(self.path)

    def _open(self, metadata: IndexMetadata) -> int:
        if metadata.made_of.get("engine") != self.engine:
            raise UserError(f"{self.where}: is ranked by another engine; {self._remedy()}")
        if name := changed(self.path, metadata.files or {"ids.utf8": ""}):
            raise UserError(f"{self.path / name}: is missing or damaged; {self._remedy()}")
        self._ids = Strings(self.path / "ids")
        self._texts = Texts(self.path / "texts.zlib", self.path / "text-ends.npy")
        self.open_ranking(self.path)
        return len(self._texts)

    def _stored(
        self, directory: Path, documents: Iterable[IndexDocument], made_of: dict[str, str | int]
    ) -> Iterator[IndexDocument]:
        """The documents, whose ids and texts are written as they pass by."""
        samples, ids, ends, end = SampleTexts(self.path.parent, made_of), [], array("q"), 0
        with (directory / "texts.zlib").open("wb") as texts:
            for document in documents:
                compressor = zlib.compressobj(zdict=samples[document.id])
                end += texts.write(compressor.compress(document.text.encode()) + compressor.flush())
                ends.append(end)
                ids.append(document.id)
                yield document
        write_strings(directory / "ids", ids)
        save(directory / "text-ends.npy", np.array(ends, np.int64))


class SampleTexts:
    """The texts, in bytes, of the samples in the span index of an encoding, by id; none without one, or for others.

    made_of: names the encoding.
    """

    def __init__(self, indexes: Path, made_of: dict[str, str | int]) -> None:
        self.path = span_index_path(indexes, str(made_of.get("encoding")))
        self._ids = np.empty(0, np.int64)
        if self.path.is_dir():
            self._ids = mapped(self.path / "ids.npy")
            self._texts = Texts(self.path / "texts.utf8", self.path / "ends.npy")

    def __getitem__(self, id: str) -> bytes:
        number = int(id) if id.isdecimal() and len(id) < 19 else -1
        place = int(self._ids.searchsorted(number))
        return self._texts.bytes(place) if place < len(self._ids) and self._ids[place] == number else b""


def best_scores(scores: np.ndarray, k: int) -> list[tuple[int, float]]:
    """The numbers and scores of the k best documents, best first, equal ones by number; none that score 0 or less.

    scores: of all documents, by number.
    """
    least = 0.0
    if len(scores) > k * BLOCK:  # the k-th best of the blocks' best is a lower bound, found much faster than the best
        maxima = np.maximum.reduceat(scores, np.arange(0, len(scores), BLOCK))
        least = np.partition(maxima, -k)[-k]
    numbers = np.flatnonzero((scores >= least) & (scores > 0))
    numbers = numbers[np.argsort(-scores[numbers], kind="stable")[:k]]
    return [(number, float(str(score))) for number, score in zip(numbers.tolist(), scores[numbers], strict=True)]
