"""Sentence vectors of one document, packed into one array: makes the vectors of reference.preprocess() fast.

Packed, because passing an array to compiled code has a price: two documents of ten arrays each would cost 7
microseconds a call, where a whole pair is aligned in 60. As two arrays they cost 0.3. unpack() names the parts inside
compiled code, where that costs almost nothing.
"""

from typing import NamedTuple

import numpy as np

from memorization.store.compiled import compiled

HEADER = 3  # numbers before the arrays: the stems of the vocabulary, the vectors, the stems of all vectors


class Vectors(NamedTuple):
    """The sentence vectors of one document: sparse rows with stems in order of appearance, and columns.

    Vector i has the stems `stem[start[i] : start[i + 1]]` (indices into `vocabulary`), `counts` times each. Stem k is
    in the vectors `posting[posting_start[k] : posting_start[k + 1]]`, `posting_count` times in each.
    """

    vocabulary: np.ndarray  # hashes, sorted
    start: np.ndarray
    stem: np.ndarray
    counts: np.ndarray
    posting_start: np.ndarray
    posting: np.ndarray
    posting_count: np.ndarray
    first: np.ndarray  # the first and the last sentence of each vector
    last: np.ndarray
    twin: np.ndarray  # for each vector, the first one that is equal to it


@compiled
def unpack(packed: np.ndarray) -> Vectors:
    """The Vectors in an array that vectorize() packed, as views."""
    size, rows, entries = packed[0], packed[1], packed[2]
    vocabulary, rest = packed[HEADER : HEADER + size], packed[HEADER + size :]
    start, rest = rest[: rows + 1], rest[rows + 1 :]
    stem, count, rest = rest[:entries], rest[entries : 2 * entries], rest[2 * entries :]
    posting_start, rest = rest[: size + 1], rest[size + 1 :]
    posting, posting_count, rest = rest[:entries], rest[entries : 2 * entries], rest[2 * entries :]
    first, last, twin = rest[:rows], rest[rows : 2 * rows], rest[2 * rows :]
    return Vectors(vocabulary, start, stem, count, posting_start, posting, posting_count, first, last, twin)


@compiled
def vectorize(stems: np.ndarray, order: np.ndarray, ends: np.ndarray, min_sentlen: int) -> np.ndarray:
    """The packed Vectors of a document.

    stems: hashes of all stems. order: what sorts them. ends: for each sentence, where its stems end. A sentence without
    stems is dropped; one with fewer than min_sentlen is merged into the next, its stems after those of the next.
    """
    local, size = _number_stems(stems, order)
    first, last = _merge(ends, min_sentlen)
    start, stem, count = _count_stems(local, size, ends, first, last)
    rows, entries = len(first), len(stem)
    packed = np.empty(HEADER + size + (rows + 1) + 2 * entries + (size + 1) + 2 * entries + 3 * rows, np.int64)
    packed[0], packed[1], packed[2] = size, rows, entries
    vectors = unpack(packed)
    for k in range(len(stems)):
        vectors.vocabulary[local[k]] = stems[k]
    vectors.start[:], vectors.stem[:], vectors.counts[:] = start, stem, count
    vectors.first[:], vectors.last[:] = first, last
    _fill_postings(vectors)
    _find_twins(vectors)
    return packed


@compiled
def _number_stems(stems, order):
    """Stems as indices into the sorted vocabulary, and its size."""
    local, size = np.empty(len(stems), np.int64), 0
    for k in range(len(stems)):
        if k == 0 or stems[order[k]] != stems[order[k - 1]]:
            size += 1
        local[order[k]] = size - 1
    return local, size


@compiled
def _merge(ends, min_sentlen):
    """The first and the last sentence of each vector, given where the stems of each sentence end."""
    first, last = np.empty(len(ends), np.int64), np.empty(len(ends), np.int64)
    rows, fresh, begin = 0, True, 0  # begin: where the stems of the current vector begin
    for i in range(len(ends)):
        low = ends[i - 1] if i else 0
        if ends[i] == low:
            continue
        if fresh:
            first[rows], begin, fresh = i, low, False
        if ends[i] - begin >= min_sentlen or ends[i] == ends[-1]:
            last[rows], fresh = i, True
            rows += 1
    return first[:rows], last[:rows]


@compiled
def _count_stems(local, size, ends, first, last):
    """The start, stem and counts of Vectors; a vector's stems are those of its sentences from the last to the first."""
    n, entries = len(local), 0
    start, stem, count = np.zeros(len(first) + 1, np.int64), np.empty(n, np.int64), np.zeros(n, np.int64)
    place = np.full(size, -1, np.int64)  # the latest entry of each stem
    for row in range(len(first)):
        for i in range(last[row], first[row] - 1, -1):
            for k in range(ends[i - 1] if i else 0, ends[i]):
                if place[local[k]] < start[row]:
                    place[local[k]] = entries
                    stem[entries] = local[k]
                    entries += 1
                count[place[local[k]]] += 1
        start[row + 1] = entries
    return start, stem[:entries], count[:entries]


@compiled
def _fill_postings(vectors):
    """Fill in the columns of Vectors from its rows."""
    start, stem, posting_start = vectors.start, vectors.stem, vectors.posting_start
    posting_start[:] = 0
    for k in range(len(stem)):
        posting_start[stem[k] + 1] += 1
    for k in range(len(posting_start) - 1):
        posting_start[k + 1] += posting_start[k]
    free = posting_start.copy()
    for i in range(len(start) - 1):
        for k in range(start[i], start[i + 1]):
            vectors.posting[free[stem[k]]], vectors.posting_count[free[stem[k]]] = i, vectors.counts[k]
            free[stem[k]] += 1


@compiled
def _find_twins(vectors):
    """Fill in the twins of Vectors with an open-addressing hash table."""
    size = 16
    while size < 2 * len(vectors.twin):
        size *= 2
    table = np.full(size, -1, np.int64)
    for i in range(len(vectors.twin)):
        slot = _hash_of(vectors, i) & (size - 1)
        while table[slot] >= 0 and not _same(vectors, i, table[slot]):
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = i
        vectors.twin[i] = table[slot]


@compiled
def _hash_of(vectors, i):
    """A hash of vector i, of 40 bits so that no product overflows."""
    result = vectors.start[i + 1] - vectors.start[i]
    for k in range(vectors.start[i], vectors.start[i + 1]):
        result = (result * 31 + vectors.stem[k] * 7 + vectors.counts[k]) & 0xFFFFFFFFFF
    return result


@compiled
def _same(vectors, i, j):
    """Whether vectors i and j have the same stems and counts in the same order."""
    begin, other, n = vectors.start[i], vectors.start[j], vectors.start[i + 1] - vectors.start[i]
    if vectors.start[j + 1] - other != n:
        return False
    for k in range(n):
        if vectors.stem[begin + k] != vectors.stem[other + k] or vectors.counts[begin + k] != vectors.counts[other + k]:
            return False
    return True
