"""Seeds: all pairs of a suspicious and a source sentence vector that are alike (design.md, steps 2 and 3)."""

import math

import numpy as np

from memorization.alignment.compiled import compiled
from memorization.alignment.vectors import unpack


@compiled
def weigh(a, b):
    """tf-idf of two documents: the weight of each stem of a and of b, and for each stem of a its index in b or -1."""
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
def norms(vectors, weight):
    """The Euclidean norm of each sentence vector."""
    result = np.empty(len(vectors.start) - 1)
    for i in range(len(result)):
        total = 0.0
        for k in range(vectors.start[i], vectors.start[i + 1]):
            total += (vectors.count[k] * weight[vectors.stem[k]]) ** 2
        result[i] = np.sqrt(total)
    return result


@compiled
def products(i, a, b, weight_a, weight_b, other, product, shared, touched):
    """Dot product and shared stems of vector i of a with every vector of b that shares one: adds into product and
    shared (zero before), lists those vectors in touched, returns how many."""
    found = 0
    for k in range(a.start[i], a.start[i + 1]):
        stem = other[a.stem[k]]
        if stem < 0:
            continue
        weight = a.count[k] * weight_a[a.stem[k]]
        for p in range(b.posting_start[stem], b.posting_start[stem + 1]):
            j = b.posting[p]
            if shared[j] == 0:
                touched[found] = j
                found += 1
            shared[j] += 1
            product[j] += weight * (b.posting_count[p] * weight_b[stem])
    return found


@compiled
def find_seeds(packed_a, packed_b, th1, th2):
    """Seeds of suspicious document a and source document b: an (n, 2) array of vector indices."""
    a, b = unpack(packed_a), unpack(packed_b)
    weight_a, weight_b, other = weigh(a, b)
    norm_a, norm_b = norms(a, weight_a), norms(b, weight_b)
    size = len(norm_b)
    product, shared, touched = np.zeros(size), np.zeros(size, np.int64), np.empty(size, np.int64)
    seeds, n = np.empty((16, 2), np.int64), 0
    for i in range(len(norm_a)):
        for t in range(products(i, a, b, weight_a, weight_b, other, product, shared, touched)):
            j = touched[t]
            det = norm_a[i] * norm_b[j]
            length = a.start[i + 1] - a.start[i] + b.start[j + 1] - b.start[j]
            if det > 0 and product[j] / det > th1 and 2 * shared[j] / length > th2:
                if n == len(seeds):
                    seeds = np.concatenate((seeds, np.empty_like(seeds)))
                seeds[n] = i, j
                n += 1
            product[j], shared[j] = 0.0, 0
    return seeds[:n]
