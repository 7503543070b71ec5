"""Filtering: of cases that overlap on the suspicious side the better one stays (design.md, step 5)."""

import numpy as np

from memorization.alignment.compiled import compiled
from memorization.alignment.extension import extend
from memorization.alignment.seeding import norms, products, weigh
from memorization.alignment.vectors import unpack


@compiled
def filter_overlaps(cases, a, b, weights, norms):
    """The cases that stay, in order of their start: rows of the (n, 4) array `cases`.

    A case is compared with all that overlap it at once; the winner then takes its place among those that follow.
    """
    (weight_a, weight_b, other), (norm_a, norm_b) = weights, norms
    size = len(norm_b)
    product, shared, touched = np.zeros(size), np.zeros(size, np.int64), np.empty(size, np.int64)

    def quality(case, rival):
        """Mean best cosine of the sentences shared with the rival, then of the rest in what that leaves of 1."""
        shared_sum, shared_n, own_sum, own_n = 0.0, 0, 0.0, 0
        for i in range(case[0], case[1] + 1):
            best = 0.0
            for t in range(products(i, a, b, weight_a, weight_b, other, product, shared, touched)):
                j = touched[t]
                if case[2] <= j <= case[3] and norm_a[i] * norm_b[j] > 0:
                    best = max(best, product[j] / (norm_a[i] * norm_b[j]))
                product[j], shared[j] = 0.0, 0
            if rival[0] <= i <= rival[1]:
                shared_sum += best
                shared_n += 1
            else:
                own_sum += best
                own_n += 1
        value = shared_sum / shared_n
        return value + (1 - value) * own_sum / own_n if own_n else value

    cases = cases[np.argsort(cases[:, 0], kind="mergesort")]
    kept, n = np.empty_like(cases), 0
    i, pending = 0, False
    while i < len(cases):
        current = kept[n - 1] if pending else cases[i]
        overlapping = 0
        for k in range(i + 1, len(cases)):
            if cases[k, 0] > current[1]:
                break
            overlapping += 1
        if overlapping == 0:
            if not pending:
                kept[n] = current
                n += 1
            pending = False
            i += 1
            continue
        winner, highest = current, 0.0
        for k in range(i + 1, i + 1 + overlapping):
            rival = cases[k]
            ours, theirs = quality(current, rival), quality(rival, current)
            longer = rival[1] - rival[0] > current[1] - current[0]
            better = longer if ours > 0.99 and theirs > 0.99 else theirs > ours
            if better and theirs > highest:
                winner, highest = rival, theirs
        if not pending:
            n += 1
        kept[n - 1] = winner
        pending = True
        i += overlapping
    return kept[:n]


@compiled
def find_cases(packed_a, packed_b, gaps, th1, th2, th3):
    """Cases, filtered: an (n, 4) array of first and last sentence of a, first and last sentence of b.

    a: the suspicious, b: the source document; gaps: on the suspicious and on the source side.
    """
    a, b = unpack(packed_a), unpack(packed_b)
    weights = weigh(a, b)
    lengths = norms(a, weights[0]), norms(b, weights[1])
    cases = filter_overlaps(extend(a, b, weights, lengths, gaps, th1, th2, th3), a, b, weights, lengths)
    for k in range(len(cases)):
        case = cases[k]
        case[0], case[1], case[2], case[3] = a.first[case[0]], a.last[case[1]], b.first[case[2]], b.last[case[3]]
    return cases
