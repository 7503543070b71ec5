"""An index in a directory of this machine, without a server: texts, and postings in parts, mapped into memory."""

from array import array
from pathlib import Path

import msgspec
import numpy as np
from tqdm import tqdm

from memorization.retrieval import bm25
from memorization.retrieval.documents import Documents
from memorization.retrieval.index import Hit, Index
from memorization.retrieval.parts import Part, PartWriter
from memorization.retrieval.postings import SLACK
from memorization.shell.cli import UserError
from memorization.store.arrays import building, mapped, read_mark, save
from memorization.store.directories import changed
from memorization.store.strings import Strings, Texts, write_strings


class EmbeddedIndex(Index):
    """The index in the directory <directory>/<name>."""

    def __init__(self, directory, name):
        super().__init__(name, where=str(Path(directory) / name))
        self.path = Path(self.where)

    def load(self, documents, made_of, recreate=False, total=None, shards=None, replicas=None):
        documents = Documents(documents)
        with building(self.path) as (directory, mark):
            with tqdm(documents, total=total, desc="indexing", unit="doc") as bar:
                _write(directory, bar)
            mark |= msgspec.to_builtins(documents.mark(made_of))
        self._opened = None
        return documents.count

    def _read_mark(self):
        return read_mark(self.path)

    def _open(self, mark):
        if mark.files is None or "ids.utf8" not in mark.files:
            raise UserError(f"{self.where}: was made by an earlier version; {self._remedy()}")
        if name := changed(self.path, mark.files):
            raise UserError(f"{self.path / name}: is missing or damaged; {self._remedy()}")
        self._ids, self._texts = (
            Strings(self.path / "ids"),
            Texts(self.path / "texts.utf8", self.path / "text-ends.npy"),
        )
        starts = mapped(self.path / "starts.npy")
        sizes = np.diff(starts, append=len(self._texts))
        self._parts = [Part(self.path / str(n), *each) for n, each in enumerate(np.stack([starts, sizes], 1).tolist())]
        return len(self._texts)

    def _frequencies(self, terms):
        return sum((part.frequencies(terms) for part in self._parts), np.zeros(len(terms), int)).tolist()

    def _best(self, queries, k):
        return [self._hits(counts, k) for counts in queries]

    def _hits(self, counts, k):
        weights = bm25.term_weights(counts, self._known, self._opened.count)
        found, least = [], 0.0
        for part in self._parts:
            query = part.query(weights)
            *those, least = part.best(query, k, least)
            found.append((part, query, *those))
        return [
            Hit(self._ids[part.start + document], bm25.rounded(given))
            for part, query, documents, scores in found
            for document, given in part.given(query, documents[scores >= least * (1 - SLACK)])
        ]

    def _find(self, ids):
        numbers = self._ids.numbers(ids).tolist()
        return {id: self._texts[number] for id, number in zip(ids, numbers, strict=True) if number >= 0}


def _write(directory, documents):
    """Write the files of an index of (id, text, terms)."""
    ids, lengths, ends, end, parts = [], array("q"), array("q"), 0, []
    with (directory / "texts.utf8").open("wb") as texts:
        for id, text, terms in documents:
            if not parts or parts[-1].full:
                if parts:
                    parts[-1].write()
                parts.append(PartWriter(directory / str(len(parts)), start=len(ids)))
            parts[-1].add(terms)
            end += texts.write(text.encode())
            ids.append(id)
            lengths.append(len(terms))
            ends.append(end)
    if parts:
        parts[-1].write()
    lengths, starts = np.array(lengths, np.int64), [part.start for part in parts]
    norms = bm25.norms(lengths, lengths.sum() / max(1, len(lengths)))
    for part, of_part in zip(parts, np.split(norms, starts[1:]), strict=False):
        part.finish(of_part)
    write_strings(directory / "ids", ids)
    for name, values in (("text-ends", ends), ("starts", starts)):
        save(directory / f"{name}.npy", np.array(values, np.int64))
