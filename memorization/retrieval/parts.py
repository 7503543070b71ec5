"""A part of an embedded index: the postings of a stretch of its documents, on disk."""

from array import array
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from memorization.retrieval import bm25
from memorization.retrieval.postings import best, impacts_on
from memorization.store.arrays import mapped, save
from memorization.store.strings import Strings, write_strings

FULL = 1 << 24  # postings of a part; they are sorted in memory together, which takes half a gigabyte


class PartWriter:
    """A part on its way to the disk, to files that begin with `path`. start: the number of its first document."""

    def __init__(self, path, start):
        self.path, self.start = path, start
        self._numbers = {}  # term -> its number
        self._terms, self._counts, self._ends = array("i"), array("i"), array("q", [0])

    @property
    def full(self):
        return self._ends[-1] >= FULL

    def add(self, terms):
        """Add a document, given by its terms."""
        counts, numbers = Counter(terms), self._numbers
        self._terms.extend([numbers.setdefault(term, len(numbers)) for term in counts])
        self._counts.extend(counts.values())
        self._ends.append(len(self._terms))

    def write(self):
        """Write what is known before all documents are."""
        write_strings(f"{self.path}-terms", [*self._numbers])
        shape = len(self._ends) - 1, len(self._numbers)
        by_document = csr_array((np.asarray(self._counts), np.asarray(self._terms), np.asarray(self._ends)), shape)
        by_term = by_document.tocsc()
        del self._numbers, self._terms, self._counts, self._ends
        save(f"{self.path}-begins.npy", by_term.indptr.astype(np.int64))
        save(f"{self.path}-documents.npy", by_term.indices.astype(np.int32))
        save(f"{self.path}-counts.npy", by_term.data)

    def finish(self, norms):
        """Write the impacts, once written. norms: of each document (bm25)."""
        counts, documents, begins = (mapped(f"{self.path}-{name}.npy") for name in ("counts", "documents", "begins"))
        impacts = bm25.impacts(counts, norms[documents])
        save(f"{self.path}-impacts.npy", impacts)
        save(f"{self.path}-bounds.npy", np.maximum.reduceat(impacts, begins[:-1]))
        Path(f"{self.path}-counts.npy").unlink()


class Part:
    """A part mapped into memory. start: the number of its first document; size: how many it has."""

    def __init__(self, path, start, size):
        self.start, self._totals, self._terms, self._numbers = start, np.zeros(size), Strings(f"{path}-terms"), {}
        files = (mapped(f"{path}-{name}.npy") for name in ("begins", "bounds", "documents", "impacts"))
        self._begins, self._bounds, *self._postings = files

    def frequencies(self, terms):
        """In how many documents each term is, an array; no query is made of other terms."""
        numbers = self._terms.numbers(terms)
        self._numbers |= zip(terms, numbers.tolist(), strict=True)
        return np.where(numbers < 0, 0, self._begins[numbers + 1] - self._begins[numbers])

    def query(self, weights):
        """(weights, bounds, begins, ends) of the terms that are here, as postings.best has them.

        weights: a dict term -> weight, rarest first.
        """
        numbers = np.array([self._numbers[term] for term in weights], np.int64)
        here = numbers >= 0
        weights, numbers = np.array([*weights.values()])[here], numbers[here]
        return weights, self._bounds[numbers], self._begins[numbers], self._begins[numbers + 1]

    def best(self, query, k, least):
        """postings.best of a query."""
        return best(*query, k, least, *self._postings, self._totals)

    def given(self, query, documents):
        """(document, what each term of a query gives to its score) of these documents."""
        weights, _, begins, ends = query
        given = weights * impacts_on(documents, begins, ends, *self._postings)
        return zip(documents.tolist(), given.tolist(), strict=True)
