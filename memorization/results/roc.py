"""How well a score tells members from held-out texts: AUC, and the true positive rate at a low false positive rate."""

from math import ceil, floor, hypot

import numpy as np
from scipy import stats

from memorization.results.statistics import bounded_mean, clopper_pearson, effective

RATES = (0.01, 0.001)  # of false positives
TAIL = 0.0125  # four such errors make 5 %


def auc(members, held_out, clusters=None):
    """The area under the ROC curve with its 95 % interval, as (auc, low, high); ties count half.

    members, held_out: float arrays, infinities too; neither empty. clusters: of the values of members and of those of
    held-out texts, int, equal where they are of one cluster; None: each is one. The area is a mean over either side, of
    the share of the other one that a value is over, or under (DeLong 1988; by clusters, Obuchowski 1997). Each of these
    means has an interval (statistics.bounded_mean), and of both the squares of the margins add up (Newcombe 1998). Of a
    score of two values it is that of `statistics.difference`, halved: where most are equal it is not too narrow.
    """
    of_members, of_held_out = (None, None) if clusters is None else clusters
    (area, low_a, high_a), (_, low_b, high_b) = (
        _over(members, held_out, of_members),
        _over(-held_out, -members, of_held_out),
    )
    return (
        area,
        max(area - hypot(area - low_a, area - low_b), 0.0),
        min(area + hypot(high_a - area, high_b - area), 1.0),
    )


def _over(values, others, clusters):
    """The share of `others` that a value is over, on average, and an interval of it that takes `others` as they are.

    A value adds at the least what the least of all values would, and at the most what the largest would. Where all are
    one value, others could be on either side of it.
    """
    others, clusters = np.sort(others), np.arange(len(values)) if clusters is None else clusters

    def share(of):
        return (np.searchsorted(others, of) + np.searchsorted(others, of, "right")) / (2 * len(others))

    least, most = (float(share(end)) for end in (min(values.min(), others[0]), max(values.max(), others[-1])))
    if least < most:
        return bounded_mean(share(values), clusters, least, most)
    half = bounded_mean(np.zeros(len(values)), clusters, 0.0, 1.0)[2] / 2
    return 0.5, 0.5 - half, 0.5 + half


def true_positive_rate(members, held_out, rate, clusters=None):
    """The share of members over the threshold that at most `rate` of held-out texts pass, with its 95 % interval.

    Arguments as of `auc`. Returns (share, low, high), or None where a single held-out text is more than `rate`: such a
    threshold is not resolvable. The threshold is an estimate too, so that the interval is of the share over the true
    quantile of held-out texts: it lies between two of them in all but 2.5 % of cases (order statistics, whatever the
    distribution), and the share over either is bounded by Clopper and Pearson (1934) at the other 2.5 %. Where the
    held-out texts do not bound the quantile from above, as less than 437 do not at 1 %, low is None. Texts in clusters
    are as many as are independent (statistics.effective).
    """
    m, n = len(members), len(held_out)
    if n * rate < 1:
        return None
    of_members, of_held_out = (np.arange(m), np.arange(n)) if clusters is None else clusters
    descending = np.sort(held_out)[::-1]
    threshold = descending[int(n * rate + 1e-9)]
    independent = floor(effective((held_out > threshold).astype(float), of_held_out) + 1e-9)
    ranks = np.arange(independent)
    certain = np.flatnonzero(stats.binom.cdf(ranks, independent, rate) <= TAIL)  # the quantile is hardly over these
    lowest = int(np.argmax(stats.binom.sf(ranks, independent, rate) <= TAIL))  # and hardly under this

    def passing(at):
        """(count, total) of members over the held-out text at a place, of as many as are independent."""
        over = (members > descending[at]).astype(float)
        total = effective(over, of_members)
        return over.mean() * total, total

    low = None
    if len(certain):
        low = clopper_pearson(*passing(floor((certain[-1] + 1) * n / independent) - 1), TAIL)[0]
    high = clopper_pearson(*passing(ceil((lowest + 1) * n / independent) - 1), TAIL)[1]
    return float((members > threshold).mean()), low, high
