"""How well a score tells members from held-out texts: AUC, and the true positive rate at a low false positive rate."""

from math import exp, log

import numpy as np
from scipy import stats

from memorization.results.statistics import Z, clopper_pearson, wilson

RATES = (0.01, 0.001)  # of false positives
TAIL = 0.0125  # four such errors make 5 %


def auc(members, held_out):
    """The area under the ROC curve with its 95 % interval, as (auc, low, high); ties count half.

    members, held_out: float arrays, infinities too; neither empty. The interval is DeLong's (1988), on the logit scale,
    so that it stays within 0 and 1. Where the variance so estimated is 0, because the sides do not overlap or all is
    one value, it is Wilson's for the largest variance there can be, auc (1 - auc) / the smaller side (van Dantzig
    1951). (auc, 0, 1) for a side of a single text.
    """
    m, n = len(members), len(held_out)
    ranks = stats.rankdata(np.concatenate([members, held_out]))
    below = (ranks[:m] - stats.rankdata(members)) / n  # of each member the share of held-out texts below it
    above = 1 - (ranks[m:] - stats.rankdata(held_out)) / m
    area = float(below.mean())
    if min(m, n) < 2:
        return area, 0.0, 1.0
    variance = np.var(below, ddof=1) / m + np.var(above, ddof=1) / n
    if variance < 1e-12 or not 0 < area < 1:
        return area, *wilson(area * min(m, n), min(m, n))
    middle, half = log(area / (1 - area)), Z * variance**0.5 / (area * (1 - area))
    return area, *(1 / (1 + exp(-min(max(end, -700), 700))) for end in (middle - half, middle + half))


def true_positive_rate(members, held_out, rate):
    """The share of members over the threshold that at most `rate` of held-out texts pass, with its 95 % interval.

    Arguments as of `auc`. Returns (share, low, high), or None where a single held-out text is more than `rate`: such a
    threshold is not resolvable. The threshold is an estimate too, so that the interval is of the share over the true
    quantile of held-out texts: it lies between two of them in all but 2.5 % of cases (order statistics, whatever the
    distribution), and the share over either is bounded by Clopper and Pearson (1934) at the other 2.5 %. Where the
    held-out texts do not bound the quantile from above, as less than 436 do not at 1 %, the share may be 0.
    """
    m, n = len(members), len(held_out)
    if n * rate < 1:
        return None
    descending = np.sort(held_out)[::-1]
    ranks = np.arange(n)
    certain = np.flatnonzero(stats.binom.cdf(ranks, n, rate) <= TAIL)  # the quantile is hardly over these
    fewest = int((members > descending[certain[-1]]).sum()) if len(certain) else 0
    lowest = int(np.argmax(stats.binom.sf(ranks, n, rate) <= TAIL))  # and hardly under this
    most = int((members > descending[lowest]).sum())
    low, high = clopper_pearson(fewest, m, TAIL)[0], clopper_pearson(most, m, TAIL)[1]
    return float((members > descending[int(n * rate + 1e-9)]).mean()), low, high
