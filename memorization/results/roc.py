"""How well a score tells members from held-out texts: AUC, and the true positive rate at a low false positive rate."""

from collections.abc import Iterable
from math import ceil, floor, hypot

import numpy as np
from scipy import stats

from memorization.results.columns import Column
from memorization.results.statistics import Array, ValueAndEnds, bounded_mean, clopper_pearson, effective
from memorization.results.summary import Rate, Score

RATES = (0.01, 0.001)  # of false positives
TAIL = 0.0125  # four such errors make 5 %

Clusters = tuple[Array, Array]  # of the values of members and of those of held-out texts, int


def measure_scores(
    columns: Iterable[Column], values: Iterable[Array], member: Array, clusters: Array
) -> dict[str, Score]:
    """The Score of each column by name, but for columns that members or held-out texts lack.

    columns: of columns.score_columns. values: for each that of every sample, NaN where it has none. member: bool, of
    every sample. clusters: of the samples, int from 0.
    """
    scores = {}
    for column, of_probes in zip(columns, values, strict=True):
        members, held_out, of_sides = by_side(of_probes, member, clusters)
        if not len(members) or not len(held_out):
            continue
        tpr = {rate: true_positive_rate(members, held_out, rate, of_sides) for rate in RATES}
        scores[column.name] = Score(
            column.heading,
            column.meaning,
            (len(members), len(held_out)),
            _rate(*auc(members, held_out, of_sides)),
            {f"{rate:g}": share and _rate(*share) for rate, share in tpr.items()},
        )
    return scores


def by_side(values: Array, member: Array, clusters: Array) -> tuple[Array, Array, Clusters]:
    """The values of members and of held-out texts, without NaN, and their clusters."""
    of_members, of_held_out = member & ~np.isnan(values), ~member & ~np.isnan(values)
    return values[of_members], values[of_held_out], (clusters[of_members], clusters[of_held_out])


def auc(members: Array, held_out: Array, clusters: Clusters | None = None) -> ValueAndEnds:
    """The area under the ROC curve with its 95 % interval; ties count half.

    members, held_out: float arrays, infinities too; neither empty. clusters: None: each value is one. The area is a
    mean over either side, of the share of the other side that a value is over, or under (DeLong 1988; by clusters,
    Obuchowski 1997). Each of these means has an interval (statistics.bounded_mean), and the squares of their margins
    add up (Newcombe 1998). For a score of two values the interval is that of `statistics.difference`, halved: where
    most values are equal it is not too narrow.
    """
    of_members, of_held_out = (None, None) if clusters is None else clusters
    area, low_a, high_a = _share_below(members, held_out, of_members)
    _, low_b, high_b = _share_below(-held_out, -members, of_held_out)
    low, high = hypot(area - low_a, area - low_b), hypot(high_a - area, high_b - area)
    return area, max(area - low, 0.0), min(area + high, 1.0)


def _share_below(values: Array, others: Array, clusters: Array | None) -> ValueAndEnds:
    """The mean share of `others` that a value is over, and an interval of it that takes `others` as they are.

    A value adds no less than the least of all values would, and no more than the largest would. Where all are one
    value, others could be on either side of it.
    """
    others, clusters = np.sort(others), np.arange(len(values)) if clusters is None else clusters

    def share(of: Array | float) -> Array:
        return (np.searchsorted(others, of) + np.searchsorted(others, of, "right")) / (2 * len(others))

    least, most = (float(share(end)) for end in (min(values.min(), others[0]), max(values.max(), others[-1])))
    if least < most:
        return bounded_mean(share(values), clusters, least, most)
    half = bounded_mean(np.zeros(len(values)), clusters, 0.0, 1.0)[2] / 2
    return 0.5, 0.5 - half, 0.5 + half


def true_positive_rate(
    members: Array, held_out: Array, rate: float, clusters: Clusters | None = None
) -> tuple[float, float | None, float] | None:
    """The share of members over the threshold that at most `rate` of held-out texts pass, with its 95 % interval.

    Arguments as of `auc`. None where a single held-out text is more than `rate`: such a threshold is not resolvable.
    The threshold is an estimate too, so the interval is of the share over the true quantile of held-out texts: it lies
    between two of them in all but 2.5 % of cases (order statistics, whatever the distribution), and the share over
    either is bounded by Clopper and Pearson (1934) at the other 2.5 %. Where the held-out texts do not bound the
    quantile from above, as fewer than 437 do not at 1 %, low is None. Texts in clusters are as many as are independent
    (statistics.effective).
    """
    m, n = len(members), len(held_out)
    if n * rate < 1:
        return None
    of_members, of_held_out = (np.arange(m), np.arange(n)) if clusters is None else clusters
    descending = np.sort(held_out)[::-1]
    threshold = descending[int(n * rate + 1e-9)]
    independent = floor(effective((held_out > threshold).astype(float), of_held_out) + 1e-9)
    ends = stats.binom.ppf([TAIL / 2, 1 - TAIL / 2], independent, rate).astype(int)
    ranks = np.arange(max(ends[0] - 1, 0), ends[1] + 1)
    above = ranks[stats.binom.cdf(ranks, independent, rate) <= TAIL]  # the quantile is hardly over these
    lowest = ranks[np.argmax(stats.binom.sf(ranks, independent, rate) <= TAIL)]  # and hardly under this

    def passing(place: int) -> tuple[float, float]:
        """(count, total) of members over the held-out text at a place, of as many as are independent."""
        over = (members > descending[place]).astype(float)
        total = effective(over, of_members)
        return float(over.mean()) * total, total

    low, high = None, 1.0
    if len(above):
        low = clopper_pearson(*passing(floor((above[-1] + 1) * n / independent) - 1), TAIL)[0]
    if lowest < independent:
        high = clopper_pearson(*passing(ceil((lowest + 1) * n / independent) - 1), TAIL)[1]
    return float((members > threshold).mean()), low, high


def _rate(value: float, low: float | None, high: float) -> Rate:
    return Rate(rate=value, interval=(low, high))
