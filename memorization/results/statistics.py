"""Rates and means with 95 % intervals, for clustered values too, and the tests that the verdict is made of."""

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile
LEVEL = 0.05  # of the verdict: the chance of any false "yes" among all groups
POWER = 0.8
DRAWS = 9999  # of a permutation test
ENOUGH = 500  # a permutation test ends at so many draws as extreme as the observation: p is far from small then
FINE = 400  # counts at which the power is computed

Array = np.ndarray
ValueAndEnds = tuple[float, float, float]  # value, low, high


def wilson(count: float, total: float) -> tuple[float, float]:
    """95 % score interval of the rate count/total, as (low, high) in [0, 1] (Wilson 1927). (0, 1) if total is 0.

    count, total: fractions are allowed, for values that are worth fewer independent ones (`effective`).
    """
    if total == 0:
        return 0.0, 1.0
    rate, square = count / total, Z * Z
    middle = rate + square / (2 * total)
    half = Z * sqrt(rate * (1 - rate) / total + square / (4 * total * total))
    low, high = (middle - half) / (1 + square / total), (middle + half) / (1 + square / total)
    return (0.0 if count == 0 else max(low, 0.0)), (1.0 if count == total else min(high, 1.0))  # rounding may miss them


def clopper_pearson(count: float, total: float, tail: float = 0.025) -> tuple[float, float]:
    """Interval of the rate count/total, as (low, high), which is never too narrow (Clopper and Pearson 1934).

    tail: the largest chance of lying outside on either side. (0, 1) if total is 0. count, total: as of `wilson`.
    """
    low = float(stats.beta.ppf(tail, count, total - count + 1)) if count else 0.0
    return low, float(stats.beta.ppf(1 - tail, count + 1, total - count)) if count < total else 1.0


def worth(values: Array, clusters: Array, added: float) -> float:
    """How many independent values of 0 or 1 say as much of a mean as these values do.

    values: from 0 to 1, not empty. clusters: int, the cluster of each value. The variance is that of clusters (Cochran
    1977, Sampling Techniques, 6.3: the mean is a ratio). For the variance, `added` clusters are added at either end,
    all of whose values are 1 or 0 (after Agresti and Coull 1998): where few values differ, they show neither how alike
    the values of a cluster are nor how rare others are.
    """
    sizes, sums = np.bincount(clusters), np.bincount(clusters, values)
    more = (sizes**2).sum() / len(values)  # the size of the cluster that a value is of, on average
    total = len(values) + 2 * added * more
    rate = (sums.sum() + added * more) / total
    variance = ((sums - rate * sizes) ** 2).sum() + added * more**2 * ((1 - rate) ** 2 + rate**2)
    return float(len(values) * total * rate * (1 - rate) / variance)


def effective(values: Array, clusters: Array) -> float:
    """How many independent values say as much as these values of 0 or 1 (`worth`): at most as many as there are.

    The interval of their rate is that of a rate of so many. Simulated in benchmarks/verdict.py.
    """
    alone = np.bincount(clusters).max() == 1
    return float(len(values)) if alone else min(float(len(values)), worth(values, clusters, 2))


def rate_difference(count_a: float, total_a: float, count_b: float, total_b: float) -> ValueAndEnds:
    """Rate a - rate b with its 95 % interval: Newcombe 1998, hybrid score (method 10). Both totals must be positive."""
    return apart(
        (count_a / total_a, *wilson(count_a, total_a)),
        (count_b / total_b, *wilson(count_b, total_b)),
    )


def apart(a: ValueAndEnds, b: ValueAndEnds) -> ValueAndEnds:
    """a - b with its interval, of two independent figures with theirs (Newcombe 1998)."""
    value = a[0] - b[0]
    low, high = (sqrt((a[0] - a[i]) ** 2 + (b[3 - i] - b[0]) ** 2) for i in (1, 2))
    return value, value - low, value + high


def paired_difference(a: Array, b: Array, total: float | None = None) -> ValueAndEnds:
    """Share of a - share of b in the same probes with its 95 % interval: Newcombe 1998, paired, method 10.

    a, b: bool arrays of equal length, not empty. total: how many independent pairs say as much; None: all are.
    """
    total = len(a) if total is None else total
    both, only_a, only_b, neither = (x.mean() * total for x in (a & b, a & ~b, b & ~a, ~a & ~b))
    count_a, count_b = both + only_a, both + only_b
    (low_a, high_a), (low_b, high_b) = wilson(count_a, total), wilson(count_b, total)
    share_a, share_b = count_a / total, count_b / total
    product = both * neither - only_a * only_b
    if product > 0:
        product = max(product - total / 2, 0)  # a continuity correction
    margins = count_a * (total - count_a) * count_b * (total - count_b)
    phi = product / sqrt(margins) if margins > 0 else 0.0

    def half(x: float, y: float) -> float:
        return sqrt(max(x * x - 2 * phi * x * y + y * y, 0))

    change = float((only_a - only_b) / total)
    return (
        change,
        float(change - half(share_a - low_a, high_b - share_b)),
        float(change + half(high_a - share_a, share_b - low_b)),
    )


def mean(values: ArrayLike, clusters: Array | None = None) -> ValueAndEnds | tuple[float, None, None]:
    """The mean with its 95 % interval by Student's t; (mean, None, None) of a single cluster.

    clusters: int, the cluster of each value; None: each value is one. The variance is that of clusters (as in `worth`),
    the degrees of freedom their number less 1. Student's t and not the bootstrap: the groups that matter may hold a
    dozen texts, and there the percentile bootstrap is too narrow; t widens with the sample's size and needs no seed.
    """
    values = np.asarray(values)
    centre = float(np.mean(values))
    clusters = np.arange(len(values)) if clusters is None else clusters
    residuals, number = np.bincount(clusters, values - np.float64(centre)), np.count_nonzero(np.bincount(clusters))
    if number < 2:
        return centre, None, None
    half = float(stats.t.ppf(0.975, number - 1)) * sqrt((residuals**2).sum() * number / (number - 1)) / len(values)
    return centre, centre - half, centre + half


def bounded_mean(values: Array, clusters: Array, least: float, most: float) -> ValueAndEnds:
    """The mean of values from `least` to `most` with its 95 % interval.

    clusters: int, the cluster of each value. It is Wilson's interval between the two ends, of as many independent
    values of either end as say as much (`worth`). Where most values are 0 and few are large, as what a model repeats,
    Student's t misses the mean in up to 40 % of samples; this interval does not.
    """
    centre = float(np.mean(values))
    if least == most:
        return centre, centre, centre
    shares = np.clip((values - least) / (most - least), 0, 1)
    number = worth(shares, clusters, 0.5)
    low, high = (least + (most - least) * end for end in wilson(float(shares.mean()) * number, number))
    return centre, min(low, centre), max(high, centre)  # rounding may miss it


def fisher(count_a: ArrayLike, total_a: ArrayLike, count_b: ArrayLike, total_b: ArrayLike) -> Any:
    """p of Fisher's exact test that rate a is not over rate b, one-sided; float, or an array for arrays."""
    return stats.hypergeom.sf(np.subtract(count_a, 1), np.add(total_a, total_b), np.add(count_a, count_b), total_a)


def holm(p: ArrayLike) -> Array:
    """p-values corrected for their number along the last axis (Holm 1979)."""
    p = np.asarray(p, float)
    order = np.argsort(p, axis=-1)
    sorted_p = np.take_along_axis(p, order, -1) * np.arange(p.shape[-1], 0, -1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(np.maximum.accumulate(sorted_p, -1), 1), -1)
    return corrected


def permuted(as_extreme: Callable[[int], Array], step: int) -> float:
    """p of a permutation test. as_extreme: takes a number of draws, tells of each whether it is as extreme as observed.

    Ends at DRAWS, or at the draw at which ENOUGH are as extreme (Besag and Clifford 1991, Sequential Monte Carlo
    p-values): so p is never too small. step: draws at once.
    """
    extreme = 0
    for start in range(0, DRAWS, step):
        counts = extreme + np.cumsum(as_extreme(min(step, DRAWS - start)))
        if counts[-1] >= ENOUGH:
            return ENOUGH / (start + 1 + int(np.searchsorted(counts, ENOUGH)))
        extreme = int(counts[-1])
    return (1 + extreme) / (1 + DRAWS)


def detectable(total_a: int, rate_b: float, total_b: int, level: float, power: float = POWER) -> float | None:
    """The least difference rate a - rate b that `fisher` finds at a level with this power; None if there is none.

    rate_b: the true rate. Summed over all counts of b (but for 1e-12 at either end). Exact, except that with more than
    FINE counts the least count of a that is significant is interpolated.
    """
    ends = stats.binom.ppf([1e-12, 1 - 1e-12], total_b, rate_b)
    count_b = np.arange(max(ends[0], 0), ends[1] + 1).astype(int)
    weight = stats.binom.pmf(count_b, total_b, rate_b)
    of_b = np.unique(np.linspace(count_b[0], count_b[-1], FINE).astype(int))
    low, high = np.zeros_like(of_b), np.full_like(of_b, total_a + 1)  # the least count of a that is significant
    while (low < high).any():
        middle = (low + high) // 2
        enough = (middle > total_a) | (fisher(np.minimum(middle, total_a), total_a, of_b, total_b) <= level)
        low, high = np.where(enough, low, middle + 1), np.where(enough, middle, high)
    least_count = np.ceil(np.interp(count_b, of_b, low))
    return _least(lambda change: weight @ stats.binom.sf(least_count - 1, total_a, rate_b + change), 1 - rate_b, power)


def paired_detectable(total: int, rate: float, level: float, power: float = POWER) -> float | None:
    """As `detectable`, for paired shares and McNemar's exact test. Exact.

    total: pairs. rate: of pairs that only the second of the two has, as far as the difference leaves so many.
    """
    discordant = np.arange(total + 1)  # pairs in which the two differ
    least_count = stats.binom.isf(level, discordant, 0.5) + 1

    def power_at(change: float) -> float:
        second = min(rate, (1 - change) / 2)
        either = 2 * second + change
        more = stats.binom.sf(least_count - 1, discordant, (second + change) / either) if either else 0.0 * discordant
        return stats.binom.pmf(discordant, total, either) @ more

    return _least(power_at, 1.0, power)


def _least(power_at: Callable[[float], float], most: float, power: float) -> float | None:
    """The least change from 0 to `most` that reaches a power, to 1e-6 from above; None if there is none."""
    if power_at(most) < power:
        return None
    least = 0.0
    while most - least > 1e-6:
        middle = (least + most) / 2
        least, most = (least, middle) if power_at(middle) >= power else (middle, most)
    return most
