"""Seeds, pairs of a suspicious and a source sentence vector that are alike: makes reference.weigh(), seeding() fast."""

import math
from typing import NamedTuple

import numpy as np

from memorization.alignment.sentence_vectors import Vectors, unpack
from memorization.store.compiled import compiled

Area = tuple[int, int, int, int]  # first and last vector of a, first and last vector of b


class WeightedPair(NamedTuple):
    """The suspicious document a and the source b, with weights."""

    a: Vectors
    b: Vectors
    weight_a: np.ndarray  # idf of each stem of a
    weight_b: np.ndarray
    other: np.ndarray  # for each stem of a its index in b, or -1
    norm_a: np.ndarray  # of each vector of a
    norm_b: np.ndarray


@compiled
def pair_up(packed_a: np.ndarray, packed_b: np.ndarray) -> WeightedPair:
    """The WeightedPair of two documents that vectorize() packed."""
    a, b = unpack(packed_a), unpack(packed_b)
    weight_a, weight_b, other = _weigh(a, b)
    return WeightedPair(a, b, weight_a, weight_b, other, _norms(a, weight_a), _norms(b, weight_b))


@compiled
def _weigh(a, b):
    """The idf of each stem of a and of b, and for each stem of a its index in b or -1."""
    n = len(a.start) + len(b.start) - 2
    weight_a, weight_b = np.empty(len(a.vocabulary)), np.empty(len(b.vocabulary))
    other = np.full(len(a.vocabulary), -1, np.int64)
    j = 0
    for k in range(len(b.vocabulary)):
        weight_b[k] = math.log(n / (b.posting_start[k + 1] - b.posting_start[k]))
    for i in range(len(a.vocabulary)):
        frequency = a.posting_start[i + 1] - a.posting_start[i]
        while j < len(b.vocabulary) and b.vocabulary[j] < a.vocabulary[i]:
            j += 1
        if j < len(b.vocabulary) and b.vocabulary[j] == a.vocabulary[i]:
            other[i] = j
            frequency += b.posting_start[j + 1] - b.posting_start[j]
            weight_b[j] = math.log(n / frequency)
        weight_a[i] = math.log(n / frequency)
    return weight_a, weight_b, other


@compiled
def _norms(vectors, weight):
    """The Euclidean norm of each sentence vector."""
    result = np.empty(len(vectors.start) - 1)
    for i in range(len(result)):
        total = 0.0
        for k in range(vectors.start[i], vectors.start[i + 1]):
            total += (vectors.counts[k] * weight[vectors.stem[k]]) ** 2
        result[i] = np.sqrt(total)
    return result


@compiled
def products(i: int, pair: WeightedPair, product: np.ndarray, shared: np.ndarray, touched: np.ndarray) -> int:
    """Dot products and numbers of shared stems of vector i of a with every vector of b that shares a stem.

    Adds into product and shared (zero before), lists those vectors of b in touched, returns their number. Stems of
    weight 0 are left out.
    """
    a, b, size = pair.a, pair.b, 0
    for k in range(a.start[i], a.start[i + 1]):
        stem, weight = pair.other[a.stem[k]], a.counts[k] * pair.weight_a[a.stem[k]]
        if stem < 0 or weight == 0.0:
            continue
        for p in range(b.posting_start[stem], b.posting_start[stem + 1]):
            j = b.posting[p]
            if shared[j] == 0:
                touched[size] = j
                size += 1
            shared[j] += 1
            product[j] += weight * (b.posting_count[p] * pair.weight_b[stem])
    return size


@compiled
def workspace(pair: WeightedPair) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Arrays for products(): product, shared and touched."""
    size = len(pair.norm_b)
    return np.zeros(size), np.zeros(size, np.int64), np.empty(size, np.int64)


@compiled
def mark_seeds(pair: WeightedPair, area: Area, th1: float, th2: float, rows: np.ndarray, columns: np.ndarray) -> None:
    """Mark the rows and columns that have a seed in an area.

    rows and columns are set throughout the area. The seeds themselves are never stored: where sentences repeat, there
    are as many as the product of the documents. Equal rows are computed once.
    """
    a, b = pair.a, pair.b
    product, shared, touched = workspace(pair)
    everywhere = (pair.weight_a == 0.0).sum()  # stems of weight 0 are in all vectors, so any two share them
    verdict = np.full(len(pair.norm_a), -1, np.int64)
    i0, i1, j0, j1 = area
    columns[j0 : j1 + 1] = False
    for i in range(i0, i1 + 1):
        twin = a.twin[i]
        if verdict[twin] < 0:
            verdict[twin] = 0
            for t in range(products(i, pair, product, shared, touched)):
                j = touched[t]
                if j0 <= j <= j1 and product[j] / (pair.norm_a[i] * pair.norm_b[j]) > th1:
                    sizes = a.start[i + 1] - a.start[i] + b.start[j + 1] - b.start[j]
                    if 2 * (shared[j] + everywhere) / sizes > th2:
                        verdict[twin] = 1
                        columns[j] = True
                product[j], shared[j] = 0.0, 0
        rows[i] = verdict[twin] == 1


@compiled
def any_seed(pair: WeightedPair, th1: float, th2: float) -> bool:
    """Whether the two documents have any seed."""
    n, m = len(pair.norm_a), len(pair.norm_b)
    rows, columns = np.empty(n, np.bool_), np.empty(m, np.bool_)
    mark_seeds(pair, (0, n - 1, 0, m - 1), th1, th2, rows, columns)
    return bool(rows.any())
