"""BM25 in a directory: what each term adds to the score of each document, computed once and summed by bm25s.

The formula is Lucene's, whose index keeps a document's length in one byte. Without that rounding only 85 % of queries
have the candidates that Elasticsearch gives, so the scores are computed here, and bm25s (Lù 2024) sums them.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import bm25s
import numpy as np
from scipy.sparse import csr_array

from memorization.retrieval.analysis import query_terms
from memorization.retrieval.directory import DirectoryIndex, best_scores
from memorization.retrieval.documents import IndexDocument
from memorization.store.arrays import save
from memorization.store.strings import Strings, write_strings

K1, B = 1.2, 0.75
COMPILED = 20_000  # documents, from which on compiling, a second in each process, pays


class EmbeddedIndex(DirectoryIndex):
    """The index in the directory <directory>/<name>, ranked by BM25."""

    def write_ranking(self, directory: Path, documents: Iterable[IndexDocument]) -> None:
        numbers: dict[str, int] = {}  # of terms
        terms, counts, ends, lengths = array("i"), array("i"), array("q", [0]), array("q")
        for document in documents:
            occurrences = Counter(document.terms)
            terms.extend([numbers.setdefault(term, len(numbers)) for term in occurrences])
            counts.extend(occurrences.values())
            ends.append(len(terms))
            lengths.append(len(document.terms))
        write_strings(directory / "terms", list(numbers))
        shape = len(lengths), len(numbers)
        del numbers
        by_term = csr_array((np.asarray(counts), np.asarray(terms), np.asarray(ends)), shape).tocsc()
        del terms, counts, ends
        save(directory / "indptr.csc.index.npy", by_term.indptr.astype(np.int64))
        save(directory / "indices.csc.index.npy", by_term.indices.astype(np.int32))
        save(directory / "data.csc.index.npy", term_scores(by_term, np.array(lengths)))

    def open_ranking(self, directory: Path) -> None:
        self._terms = Strings(directory / "terms")
        self._bm25 = bm25s.BM25()
        self._bm25.load_scores(directory, num_docs=len(self._texts), mmap=True)
        self._bm25.nonoccurrence_array = None
        if len(self._texts) >= COMPILED:
            self._bm25.compile()

    def rank(self, texts: Sequence[str], k: int) -> Iterable[list[tuple[int, float]]]:
        for text in texts:
            numbers = self._terms.numbers(query_terms(text))
            numbers = numbers[numbers >= 0]
            yield best_scores(self._bm25.get_scores_from_ids(numbers), k) if len(numbers) else []


def term_scores(by_term: csr_array, lengths: np.ndarray) -> np.ndarray:
    """What each term adds to the score of each document that has it, float32, in the order of by_term.data.

    by_term: occurrences, by document and term, in columns. lengths: terms of each document.
    """
    documents = len(lengths)
    norms = K1 * (1 - B + B * lucene_lengths(lengths) / max(1.0, lengths.mean() if documents else 0))
    frequencies = np.diff(by_term.indptr)
    weights = (K1 + 1) * np.log(1 + (documents - frequencies + 0.5) / (frequencies + 0.5))
    scores = by_term.data.astype(np.float32)
    scores /= scores + norms.astype(np.float32)[by_term.indices]
    scores *= np.repeat(weights.astype(np.float32), frequencies)
    return scores


def lucene_lengths(lengths: np.ndarray) -> np.ndarray:
    """Lengths as Lucene keeps them in a byte: exact below 40, then 24 more than a number of four bits."""
    rest = np.maximum(lengths, 24) - 24
    bits = np.maximum(np.frexp(rest)[1] - 4, 0)
    return np.minimum(lengths, 24) + (rest >> bits << bits)
