"""Sentence vectors of one document (design.md, step 1), packed into one array so that a call passes one."""

from typing import NamedTuple

import numpy as np

from memorization.alignment.compiled import compiled


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
    a = 3 + size
    b = a + rows + 1
    c = b + 2 * entries
    d = c + size + 1
    e = d + 2 * entries
    return Vectors(
        packed[3:a],
        packed[a:b],
        packed[b : b + entries],
        packed[b + entries : c],
        packed[c:d],
        packed[d : d + entries],
        packed[d + entries : e],
        packed[e : e + rows],
        packed[e + rows : e + 2 * rows],
        packed[e + 2 * rows : e + 3 * rows],
    )


@compiled
def find_twins(vectors):
    """Fill in vectors.twin, by an open hash table of the vectors seen."""
    size = 16
    while size < 2 * len(vectors.twin):
        size *= 2
    table = np.full(size, -1, np.int64)
    for i in range(len(vectors.twin)):
        begin, n = vectors.start[i], vectors.start[i + 1] - vectors.start[i]
        slot = n
        for k in range(begin, begin + n):
            slot = (slot * 31 + vectors.stem[k] * 7 + vectors.count[k]) & 0xFFFFFFFFFF
        slot &= size - 1
        while table[slot] >= 0:
            other = vectors.start[table[slot]]
            same = vectors.start[table[slot] + 1] - other == n
            for k in range(n):
                if not same:
                    break
                same = (
                    vectors.stem[begin + k] == vectors.stem[other + k]
                    and vectors.count[begin + k] == vectors.count[other + k]
                )
            if same:
                break
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = i
        vectors.twin[i] = table[slot]


@compiled
def vectorize(stems, order, ends, min_sentlen):
    """Pack the sentence vectors of a document into one int64 array.

    stems: hashes of all stems; order: what sorts them; ends: where each sentence's end. A sentence without stems is
    no sentence; one of fewer than min_sentlen is merged into the next, its stems behind those of the next.
    """
    n, size = len(stems), 0
    local = np.empty(n, np.int64)  # stems as indices into the vocabulary
    for k in range(n):
        if k and stems[order[k]] != stems[order[k - 1]]:
            size += 1
        local[order[k]] = size
    size += n > 0
    start, stem, count = np.zeros(len(ends) + 1, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    first, last = np.empty(len(ends), np.int64), np.empty(len(ends), np.int64)
    place, posting_ends = np.full(size, -1, np.int64), np.zeros(size + 1, np.int64)
    rows = entries = begin = 0
    opening = -1
    for i in range(len(ends)):
        low = ends[i - 1] if i else 0
        if ends[i] == low:
            continue
        if opening < 0:
            opening, begin = i, low
        if ends[i] - begin < min_sentlen and ends[i] < n:
            continue
        first[rows], last[rows] = opening, i
        row, high = entries, ends[i]
        for s in range(i, opening - 1, -1):
            low = ends[s - 1] if s else 0
            for k in range(low, high):
                if place[local[k]] < row:
                    place[local[k]] = entries
                    stem[entries], count[entries] = local[k], 0
                    posting_ends[local[k] + 1] += 1
                    entries += 1
                count[place[local[k]]] += 1
            high = low
        rows += 1
        start[rows] = entries
        opening = -1
    packed = np.empty(3 + 2 * size + 4 * rows + 4 * entries + 2, np.int64)
    packed[0], packed[1], packed[2] = size, rows, entries
    vectors = unpack(packed)
    for k in range(n):
        vectors.vocabulary[local[k]] = stems[k]
    vectors.start[:], vectors.stem[:], vectors.count[:] = start[: rows + 1], stem[:entries], count[:entries]
    vectors.first[:], vectors.last[:] = first[:rows], last[:rows]
    find_twins(vectors)
    for k in range(size):
        posting_ends[k + 1] += posting_ends[k]
        place[k] = posting_ends[k]
    vectors.posting_start[:] = posting_ends
    for i in range(rows):
        for k in range(start[i], start[i + 1]):
            vectors.posting[place[stem[k]]], vectors.posting_count[place[stem[k]]] = i, count[k]
            place[stem[k]] += 1
    return packed
