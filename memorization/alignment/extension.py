"""Extension: seeds grow into cases, ranges of sentence vectors on both sides (design.md, step 4)."""

import numpy as np

from memorization.alignment.compiled import compiled


@compiled
def add_up(vectors, first, last, weight, total, touched):
    """Sum vectors first..last into total (zero before); list the stems in touched; return how many, and the norm."""
    found = 0
    for k in range(vectors.start[first], vectors.start[last + 1]):
        stem = vectors.stem[k]
        if weight[stem] == 0.0:
            continue
        if total[stem] == 0.0:
            touched[found] = stem
            found += 1
        total[stem] += vectors.count[k] * weight[stem]
    square = 0.0
    for t in range(found):
        square += total[touched[t]] ** 2
    return found, np.sqrt(square)


@compiled
def group(seeds, side, gap):
    """Sort seeds by side, in place; returns the ends of the runs of neighbours at most gap sentences apart."""
    seeds[:] = seeds[np.argsort(seeds[:, side], kind="mergesort")]
    ends = np.empty(len(seeds), np.int64)
    n = 0
    for k in range(1, len(seeds)):
        if seeds[k, side] - seeds[k - 1, side] > gap + 1:
            ends[n] = k
            n += 1
    ends[n] = len(seeds)
    return ends[: n + 1]


@compiled
def extend(seeds, a, b, weight_a, weight_b, other, susp_gap, src_gap, th3):
    """Cases of the seeds: an (n, 4) array of first and last vector of a, first and last vector of b."""
    seeds = seeds.copy()
    total_a, touched_a = np.zeros(len(weight_a)), np.empty(len(weight_a), np.int64)
    total_b, touched_b = np.zeros(len(weight_b)), np.empty(len(weight_b), np.int64)
    cases = [(0, 0, 0, 0) for _ in range(0)]
    # groups still to be grouped, as (first seed, end, side, how much narrower the gaps, grouped on a side before)
    stack = [(0, len(seeds), 0, 0, False)]
    while stack:
        low, high, side, narrower, deeper = stack.pop()
        part = seeds[low:high]
        ends = group(part, side, (src_gap if side else susp_gap) - narrower)
        if len(ends) > 1 or not deeper:
            for k in range(len(ends) - 1, -1, -1):
                stack.append((low + (ends[k - 1] if k else 0), low + ends[k], 1 - side, narrower, True))
            continue
        a0, a1, b0, b1 = part[:, 0].min(), part[:, 0].max(), part[:, 1].min(), part[:, 1].max()
        found, norm_a = add_up(a, a0, a1, weight_a, total_a, touched_a)
        found_b, norm_b = add_up(b, b0, b1, weight_b, total_b, touched_b)
        product = 0.0
        for t in range(found):
            stem = touched_a[t]
            if other[stem] >= 0:
                product += total_a[stem] * total_b[other[stem]]
            total_a[stem] = 0.0
        for t in range(found_b):
            total_b[touched_b[t]] = 0.0
        if norm_a * norm_b > 0 and product / (norm_a * norm_b) > th3:
            cases.append((a0, a1, b0, b1))
        elif min(susp_gap, src_gap) - narrower > 0:
            stack.append((low, high, 0, narrower + 1, False))
    result = np.empty((len(cases), 4), np.int64)
    for k in range(len(cases)):
        result[k] = cases[k]
    return result
