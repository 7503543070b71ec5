"""Rates and means with intervals, and the test of members against held-out texts."""

from math import sqrt

import numpy as np
from scipy import stats

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile
LEVEL = 0.05  # of the verdict: the chance of any false "yes" among all groups
POWER = 0.8


def wilson(count, total):
    """95 % score interval of the rate count/total, as (low, high) in [0, 1] (Wilson 1927). (0, 1) if total is 0."""
    if total == 0:
        return 0.0, 1.0
    rate, square = count / total, Z * Z
    middle = rate + square / (2 * total)
    half = Z * sqrt(rate * (1 - rate) / total + square / (4 * total * total))
    low, high = (middle - half) / (1 + square / total), (middle + half) / (1 + square / total)
    return (0.0 if count == 0 else low), (1.0 if count == total else high)  # exact where rounding would miss them


def clopper_pearson(count, total, tail=0.025):
    """Interval of the rate count/total, as (low, high), which is never too narrow (Clopper and Pearson 1934).

    tail: the chance of lying outside of it on either side, at the most. (0, 1) if total is 0.
    """
    low = float(stats.beta.ppf(tail, count, total - count + 1)) if count else 0.0
    return low, float(stats.beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0


def difference(count_a, total_a, count_b, total_b):
    """Rate a - rate b with its 95 % interval, as (difference, low, high): Newcombe 1998, hybrid score (method 10).

    Both totals must be positive.
    """
    a, b = count_a / total_a, count_b / total_b
    (low_a, high_a), (low_b, high_b) = wilson(count_a, total_a), wilson(count_b, total_b)
    low = a - b - sqrt((a - low_a) ** 2 + (high_b - b) ** 2)
    high = a - b + sqrt((high_a - a) ** 2 + (b - low_b) ** 2)
    return a - b, low, high


def paired_difference(a, b):
    """Share of a - share of b of the same probes, as `difference` gives it: Newcombe 1998, paired, method 10.

    a, b: bool arrays of equal length, not empty.
    """
    total = len(a)
    both, only_a, only_b = (int(np.sum(x)) for x in (a & b, a & ~b, b & ~a))
    neither = total - both - only_a - only_b
    count_a, count_b = both + only_a, both + only_b
    (low_a, high_a), (low_b, high_b) = wilson(count_a, total), wilson(count_b, total)
    share_a, share_b = count_a / total, count_b / total
    product = both * neither - only_a * only_b
    if product > 0:
        product = max(product - total / 2, 0)  # a continuity correction
    margins = count_a * (total - count_a) * count_b * (total - count_b)
    phi = product / sqrt(margins) if margins else 0.0

    def half(x, y):
        return sqrt(max(x * x - 2 * phi * x * y + y * y, 0))

    change = (only_a - only_b) / total
    return change, change - half(share_a - low_a, high_b - share_b), change + half(high_a - share_a, share_b - low_b)


def mean(values):
    """The mean with its 95 % interval by Student's t, as (mean, low, high); (mean, None, None) of a single value.

    Student's t and not the bootstrap: the groups that matter may hold a dozen texts, and there the percentile
    bootstrap is too narrow; t widens with the sample's size, and needs no seed.
    """
    centre = float(np.mean(values))
    if len(values) < 2:
        return centre, None, None
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / sqrt(len(values))
    return centre, centre - float(half), centre + float(half)


def mean_difference(a, b):
    """Mean of a - mean of b with its 95 % interval by Welch's t, as `mean` gives one (Welch 1947)."""
    centre = float(np.mean(a) - np.mean(b))
    if len(a) < 2 or len(b) < 2:
        return centre, None, None
    square_a, square_b = np.var(a, ddof=1) / len(a), np.var(b, ddof=1) / len(b)
    if not square_a + square_b:
        return centre, centre, centre
    freedom = (square_a + square_b) ** 2 / (square_a**2 / (len(a) - 1) + square_b**2 / (len(b) - 1))
    half = float(stats.t.ppf(0.975, freedom) * np.sqrt(square_a + square_b))
    return centre, centre - half, centre + half


def fisher(count_a, total_a, count_b, total_b):
    """p of Fisher's exact test that rate a is not over rate b, one-sided; counts and totals may be arrays."""
    return stats.hypergeom.sf(np.subtract(count_a, 1), total_a + total_b, np.add(count_a, count_b), total_a)


def holm(p):
    """p-values corrected for their number along the last axis (Holm 1979): what is at most a level may be claimed."""
    p = np.asarray(p, float)
    order = np.argsort(p, axis=-1)
    sorted_p = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(np.maximum.accumulate(sorted_p, -1), 1), -1)
    return corrected


def detectable(total_a, rate_b, total_b, level, power=POWER):
    """The least difference rate a - rate b that `fisher` finds at a level with so much power; None if there is none.

    Exact: summed over all that can be counted in b (but for 1e-12 at either end), where rate_b is the true rate.
    """
    ends = stats.binom.ppf([1e-12, 1 - 1e-12], total_b, rate_b)
    count_b = np.arange(max(ends[0], 0), ends[1] + 1).astype(int)
    weight = stats.binom.pmf(count_b, total_b, rate_b)
    low, high = np.zeros_like(count_b), np.full_like(count_b, total_a + 1)  # the least count of a that is found
    while (low < high).any():
        middle = (low + high) // 2
        found = (middle > total_a) | (fisher(np.minimum(middle, total_a), total_a, count_b, total_b) <= level)
        low, high = np.where(found, low, middle + 1), np.where(found, middle, high)

    def found_at(rate_a):
        return weight @ stats.binom.sf(low - 1, total_a, rate_a)

    if found_at(1.0) < power:
        return None
    least, most = rate_b, 1.0
    while most - least > 1e-6:
        middle = (least + most) / 2
        least, most = (least, middle) if found_at(middle) >= power else (middle, most)
    return most - rate_b


def verdict(groups, held_out, level=LEVEL):
    """Whether each group comes out more often than held-out texts, beyond chance.

    groups: dict name -> (count, total); held_out: (count, total); totals positive. Each group is tested by `fisher`,
    corrected by `holm`, so that the chance of any false "yes" is at most `level`, however the groups overlap. Returns
    dict name -> p (corrected), evidence (bool), and where there is none detectable_difference (rates, or None): the
    least that would have been found with 80 % power in a group of this size, at the level at which Holm tested it and
    the held-out rate as counted.
    """
    counts, totals = np.array(list(groups.values())).T
    corrected = holm(fisher(counts, totals, *held_out))
    evidence = corrected <= level
    left = int((~evidence).sum())
    return {
        name: {
            "p": float(p),
            "evidence": bool(yes),
            "detectable_difference": None
            if yes
            else detectable(total, held_out[0] / held_out[1], held_out[1], level / left),
        }
        for name, (_, total), p, yes in zip(groups, groups.values(), corrected, evidence, strict=True)
    }
