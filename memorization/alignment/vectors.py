"""Sentence vectors of one document (design.md, step 1), packed into one array.

Packed, because compiled code takes apart every array of every argument anew at each call: two documents of ten arrays
each would cost 7 microseconds a call, and a pair of them, aligned in two to four calls, takes some 60. As two arrays
they cost 0.3. unpack() gives the parts their names inside compiled code, where that is next to free.
"""

from typing import NamedTuple

import numpy as np

from memorization.store.compiled import compiled

HEADER = 3  # numbers before the arrays: how many stems in the vocabulary, vectors, and stems in all vectors


class Vectors(NamedTuple):
    """The sentence vectors of one document: sparse rows, their stems in the order they came, and the columns.

    Vector i has the stems `stem[start[i] : start[i + 1]]` (indices into `vocabulary`), `count` times each. Stem k is
    in the vectors `posting[posting_start[k] : posting_start[k + 1]]`, `posting_count` times in each.
    """

    vocabulary: np.ndarray  # hashes, sorted
    start: np.ndarray
    stem: np.ndarray
    count: np.ndarray
    posting_start: np.ndarray
    posting: np.ndarray
    posting_count: np.ndarray
    first: np.ndarray  # the first and the last sentence of each vector
    last: np.ndarray
    twin: np.ndarray  # the first vector that is the same as each


@compiled
def unpack(packed):
    """The Vectors in an array that vectorize() made, as views."""
    size, rows, entries = packed[0], packed[1], packed[2]
    vocabulary, rest = packed[HEADER : HEADER + size], packed[HEADER + size :]
    start, rest = rest[: rows + 1], rest[rows + 1 :]
    stem, count, rest = rest[:entries], rest[entries : 2 * entries], rest[2 * entries :]
    posting_start, rest = rest[: size + 1], rest[size + 1 :]
    posting, posting_count, rest = rest[:entries], rest[entries : 2 * entries], rest[2 * entries :]
    first, last, twin = rest[:rows], rest[rows : 2 * rows], rest[2 * rows :]
    return Vectors(vocabulary, start, stem, count, posting_start, posting, posting_count, first, last, twin)


@compiled
def vectorize(stems, order, ends, min_sentlen):
    """The packed Vectors of a document.

    stems: hashes of all stems; order: what sorts them; ends: where each sentence's end. A sentence without stems is
    no sentence; one of fewer than min_sentlen is merged into the next, its stems behind those of the next.
    """
    local, size = number_stems(stems, order)
    first, last = merge(ends, min_sentlen)
    start, stem, count = count_stems(local, size, ends, first, last)
    rows, entries = len(first), len(stem)
    packed = np.empty(HEADER + size + (rows + 1) + 2 * entries + (size + 1) + 2 * entries + 3 * rows, np.int64)
    packed[0], packed[1], packed[2] = size, rows, entries
    vectors = unpack(packed)
    for k in range(len(stems)):
        vectors.vocabulary[local[k]] = stems[k]
    vectors.start[:], vectors.stem[:], vectors.count[:] = start, stem, count
    vectors.first[:], vectors.last[:] = first, last
    fill_postings(vectors)
    find_twins(vectors)
    return packed


@compiled
def number_stems(stems, order):
    """Stems as indices into the sorted vocabulary, and its size."""
    local, size = np.empty(len(stems), np.int64), 0
    for k in range(len(stems)):
        if k == 0 or stems[order[k]] != stems[order[k - 1]]:
            size += 1
        local[order[k]] = size - 1
    return local, size


@compiled
def merge(ends, min_sentlen):
    """The first and the last sentence of each vector, given where the stems of each sentence end."""
    first, last = np.empty(len(ends), np.int64), np.empty(len(ends), np.int64)
    rows, fresh, begin = 0, True, 0  # begin: where the stems of the vector do
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
def count_stems(local, size, ends, first, last):
    """The rows (start, stem, count) of the vectors of sentences first to last: sentence by sentence from the last."""
    n, entries = len(local), 0
    start, stem, count = np.zeros(len(first) + 1, np.int64), np.empty(n, np.int64), np.zeros(n, np.int64)
    place = np.full(size, -1, np.int64)  # of each stem, its newest entry
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
def fill_postings(vectors):
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
            vectors.posting[free[stem[k]]], vectors.posting_count[free[stem[k]]] = i, vectors.count[k]
            free[stem[k]] += 1


@compiled
def find_twins(vectors):
    """Fill in the twins of Vectors, by an open hash table of the vectors seen."""
    size = 16
    while size < 2 * len(vectors.twin):
        size *= 2
    table = np.full(size, -1, np.int64)
    for i in range(len(vectors.twin)):
        slot = hash_of(vectors, i) & (size - 1)
        while table[slot] >= 0 and not same(vectors, i, table[slot]):
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = i
        vectors.twin[i] = table[slot]


@compiled
def hash_of(vectors, i):
    """A hash of vector i, of 40 bits so that no product overflows."""
    result = vectors.start[i + 1] - vectors.start[i]
    for k in range(vectors.start[i], vectors.start[i + 1]):
        result = (result * 31 + vectors.stem[k] * 7 + vectors.count[k]) & 0xFFFFFFFFFF
    return result


@compiled
def same(vectors, i, j):
    """Whether vectors i and j have the same stems in the same order, as often each."""
    begin, other, n = vectors.start[i], vectors.start[j], vectors.start[i + 1] - vectors.start[i]
    if vectors.start[j + 1] - other != n:
        return False
    for k in range(n):
        if vectors.stem[begin + k] != vectors.stem[other + k] or vectors.count[begin + k] != vectors.count[other + k]:
            return False
    return True
