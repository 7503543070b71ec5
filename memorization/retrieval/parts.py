"""A part of an embedded index: the postings of a stretch of its documents, on disk."""

from array import array
from collections import Counter

import numpy as np
from scipy.sparse import csr_array

from memorization.retrieval.directory import mapped, save
from memorization.retrieval.postings import best, bounds, counts_in
from memorization.retrieval.strings import Strings, write_strings

FULL = 1 << 24  # of a part; they are sorted in memory together, which takes half a gigabyte
POSTINGS = ("begins", "documents", "counts")  # by term, then by document


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
        write_strings(f"{self.path}-terms", [*self._numbers])
        shape = len(self._ends) - 1, len(self._numbers)
        by_document = csr_array((np.asarray(self._counts), np.asarray(self._terms), np.asarray(self._ends)), shape)
        by_term = by_document.tocsc()
        del self._numbers, self._terms, self._counts, self._ends
        types = (np.int64, np.int32, np.int32)
        for name, values, type in zip(POSTINGS, (by_term.indptr, by_term.indices, by_term.data), types, strict=True):
            save(f"{self.path}-{name}.npy", values.astype(type))

    def write_bounds(self, norms):
        """Once it is written: of each term the most of count / (count + norm) that a document has, norms in order."""
        files = (mapped(f"{self.path}-{name}.npy") for name in POSTINGS)
        save(f"{self.path}-bounds.npy", bounds(*files, norms))


class Part:
    """A part mapped into memory. norms: of each of its documents (bm25)."""

    def __init__(self, path, start, norms):
        self.start, self._norms, self._terms, self._numbers = start, norms, Strings(f"{path}-terms"), {}
        files = (mapped(f"{path}-{name}.npy") for name in (*POSTINGS, "bounds"))
        self._begins, self._documents, self._counts, self._bounds = files

    def frequencies(self, terms):
        """In how many documents each term is, an array; best and given are asked for no other terms."""
        numbers = self._terms.numbers(terms)
        self._numbers |= zip(terms, numbers.tolist(), strict=True)
        return np.where(numbers < 0, 0, self._begins[numbers + 1] - self._begins[numbers])

    def best(self, weights, k, least):
        """postings.best of a query, a dict term -> weight, rarest first."""
        numbers, weights = self._known(weights)
        ranges = self._begins[numbers], self._begins[numbers + 1]
        return best(weights, self._bounds[numbers], *ranges, k, least, self._documents, self._counts, self._norms)

    def given(self, weights, documents):
        """(document, what each term gives to its score) of these documents, a list."""
        numbers, weights = self._known(weights)
        ranges = self._begins[numbers], self._begins[numbers + 1]
        counts = counts_in(documents, *ranges, self._documents, self._counts)
        parts = weights * counts / (counts + self._norms[documents, None])
        return zip(documents.tolist(), parts.tolist(), strict=True)

    def _known(self, weights):
        """(numbers, weights) of the terms that are here."""
        numbers = np.array([self._numbers[term] for term in weights], np.int64)
        here = numbers >= 0
        return numbers[here], np.array([*weights.values()])[here]
