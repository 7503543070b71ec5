"""Seeds grow into cases, ranges of sentence vectors on both sides: makes reference.clustering(), extension() fast."""

import numpy as np

from memorization.alignment.seeding import Area, WeightedPair, mark_seeds
from memorization.store.compiled import compiled


@compiled
def _add_up(vectors, first, last, weight, total, touched):
    """Sum vectors first..last into total (zero before); list the stems in touched; return their number and the norm."""
    size = 0
    for k in range(vectors.start[first], vectors.start[last + 1]):
        stem = vectors.stem[k]
        if weight[stem] == 0.0:
            continue
        if total[stem] == 0.0:
            touched[size] = stem
            size += 1
        total[stem] += vectors.counts[k] * weight[stem]
    square = 0.0
    for t in range(size):
        square += total[touched[t]] ** 2
    return size, np.sqrt(square)


@compiled
def _similarity(area, pair, total_a, total_b, touched_a, touched_b):
    """Cosine of the two fragments of an area; the totals are zero before and after."""
    size_a, norm_a = _add_up(pair.a, area[0], area[1], pair.weight_a, total_a, touched_a)
    size_b, norm_b = _add_up(pair.b, area[2], area[3], pair.weight_b, total_b, touched_b)
    product = 0.0
    for t in range(size_a):
        stem = touched_a[t]
        if pair.other[stem] >= 0:
            product += total_a[stem] * total_b[pair.other[stem]]
        total_a[stem] = 0.0
    for t in range(size_b):
        total_b[touched_b[t]] = 0.0
    return product / (norm_a * norm_b) if norm_a * norm_b > 0 else 0.0


@compiled
def group(marked: np.ndarray, first: int, last: int, gap: int) -> list[tuple[int, int]]:
    """The ranges of marked vectors in first..last whose neighbours are at most gap vectors apart."""
    ranges, previous = [(0, 0) for _ in range(0)], -1
    begin = first
    for i in range(first, last + 1):
        if marked[i]:
            if previous < 0:
                begin = i
            elif i - previous > gap + 1:
                ranges.append((begin, previous))
                begin = i
            previous = i
    if previous >= 0:
        ranges.append((begin, previous))
    return ranges


@compiled
def extend(pair: WeightedPair, gaps: tuple[int, int], th1: float, th2: float, th3: float) -> np.ndarray:
    """The cases: an (n, 4) array, an Area each.

    gaps: on the suspicious and on the source side. A group of seeds is always all seeds of an area, so that areas are
    grouped instead.
    """
    n, m = len(pair.norm_a), len(pair.norm_b)
    rows, columns = np.empty(n, np.bool_), np.empty(m, np.bool_)
    total_a, touched_a = np.zeros(len(pair.weight_a)), np.empty(len(pair.weight_a), np.int64)
    total_b, touched_b = np.zeros(len(pair.weight_b)), np.empty(len(pair.weight_b), np.int64)
    cases = [(0, 0, 0, 0) for _ in range(0)]
    # areas still to be grouped: (area, side, by how much the gaps are narrower, whether one side is grouped already)
    stack: list[tuple[Area, int, int, bool]] = [((0, n - 1, 0, m - 1), 0, 0, False)]
    while stack:
        area, side, narrower, deeper = stack.pop()
        i0, i1, j0, j1 = area
        mark_seeds(pair, area, th1, th2, rows, columns)
        ranges = group(columns, j0, j1, gaps[1] - narrower) if side else group(rows, i0, i1, gaps[0] - narrower)
        areas = [(i0, i1, low, high) if side else (low, high, j0, j1) for low, high in ranges]
        if len(areas) > 1 or not deeper:
            for k in range(len(areas) - 1, -1, -1):
                stack.append((areas[k], 1 - side, narrower, True))
        elif _similarity(areas[0], pair, total_a, total_b, touched_a, touched_b) > th3:
            cases.append(areas[0])
        elif min(gaps[0], gaps[1]) > narrower:
            stack.append((areas[0], 0, narrower + 1, False))
    result = np.empty((len(cases), 4), np.int64)
    for k in range(len(cases)):
        result[k] = cases[k]
    return result
