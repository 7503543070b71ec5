"""Of cases that overlap on the suspicious side the better one stays: makes reference.resolve_overlaps() fast."""

import numpy as np

from memorization.alignment.extension import extend
from memorization.alignment.profiles import NEAR_COPY
from memorization.alignment.seeding import WeightedPair, any_seed, pair_up, products, workspace
from memorization.store.compiled import compiled


@compiled
def _quality(case, rival, pair, work):
    """reference.quality() of a case beside its rival. work: a workspace()."""
    product, shared, touched = work
    shared_sum, shared_n, own_sum, own_n = 0.0, 0, 0.0, 0
    for i in range(case[0], case[1] + 1):
        best = 0.0
        for t in range(products(i, pair, product, shared, touched)):
            j = touched[t]
            if case[2] <= j <= case[3]:
                best = max(best, product[j] / (pair.norm_a[i] * pair.norm_b[j]))
            product[j], shared[j] = 0.0, 0
        if rival[0] <= i <= rival[1]:
            shared_sum += best
            shared_n += 1
        else:
            own_sum += best
            own_n += 1
    value = shared_sum / shared_n
    return value + (1 - value) * own_sum / own_n if own_n else value


@compiled
def resolve_overlaps(cases: np.ndarray, pair: WeightedPair) -> np.ndarray:
    """The cases that stay, in order of their start: rows of the (n, 4) array `cases`.

    A case is compared with all that overlap it; the winner then takes its place among the cases that follow.
    """
    work = workspace(pair)
    cases = cases[np.argsort(cases[:, 0], kind="mergesort")]
    stay, n, following = np.empty_like(cases), 0, 0
    while following < len(cases):
        current = cases[following]
        following += 1
        while following < len(cases) and cases[following, 0] <= current[1]:
            winner, highest = current, 0.0
            end = current[1]
            while following < len(cases) and cases[following, 0] <= end:
                rival = cases[following]
                following += 1
                ours, theirs = _quality(current, rival, pair, work), _quality(rival, current, pair, work)
                longer = rival[1] - rival[0] > current[1] - current[0]
                better = longer if ours > NEAR_COPY and theirs > NEAR_COPY else theirs > ours
                if better and theirs > highest:
                    winner, highest = rival, theirs
            current = winner
        stay[n] = current
        n += 1
    return stay[:n]


@compiled
def find_cases(
    packed_a: np.ndarray, packed_b: np.ndarray, gaps: tuple[int, int], th1: float, th2: float, th3: float
) -> tuple[bool, np.ndarray]:
    """Whether there is any seed, and the cases without overlaps: an (n, 4) array of first and last sentence of a, of b.

    a: the suspicious, b: the source document. gaps: on the suspicious and on the source side.
    """
    pair = pair_up(packed_a, packed_b)
    cases = np.empty((0, 4), np.int64)
    if not any_seed(pair, th1, th2):
        return False, cases
    cases = resolve_overlaps(extend(pair, gaps, th1, th2, th3), pair)
    for k in range(len(cases)):
        case = cases[k]
        case[0], case[1] = pair.a.first[case[0]], pair.a.last[case[1]]
        case[2], case[3] = pair.b.first[case[2]], pair.b.last[case[3]]
    return True, cases
