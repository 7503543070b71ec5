"""Whether members come out more often than held-out texts: the tests behind the verdict (design.md, Terms: Verdict).

Under a random split it is chance which clusters of near-duplicates are held out. So whole clusters are exchanged
between the sides, among those of as many copies: what occurs often in the data often occurs elsewhere too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special, stats

from memorization.encoding.probe_sample import octaves
from memorization.results import statistics
from memorization.results.columns import VERDICT
from memorization.results.counts import Groups, SampleValues
from memorization.results.statistics import LEVEL, Array, detectable, effective, fisher, paired_detectable, wilson
from memorization.results.summary import HELD_OUT, MEMBERS, GroupTest

FALLBACK = "exact_match"  # decides where most members can have no own run
LEAST_CEILING = 0.5
BASE = "base"
SEED = 0  # of the draws
AT_ONCE = 1 << 20  # numbers in memory together
NEGLIGIBLE = 1e-16  # of a distribution, at either end; p is so much larger, if anything


def verdict_column(ceiling: float | None) -> str:
    """The column that decides, by the ceiling of own runs for members, None if unknown: no generation has a part in it.

    Where the ceiling is not known, it is own runs.
    """
    return FALLBACK if ceiling is not None and ceiling < LEAST_CEILING else VERDICT


def compare_groups(
    groups: Groups, samples: SampleValues, values: Array, base: Array | None = None, level: float = LEVEL
) -> dict[str, GroupTest]:
    """Whether each group of members comes out more often than held-out texts do, beyond chance.

    groups: as of counts.group_samples. values: 1.0 of a sample that comes out, else 0.0, NaN where that is not known.
    base: the same through the base model, or None.

    Members are compared with held-out samples of as many copies (Exchange). A group with so few of these that no
    outcome could be significant is compared with the base model on the same samples, if there is one (Paired). All
    tests are corrected by Holm, equal ones counted once, so that the chance of any false yes is at most `level`,
    however the groups overlap. A detectable difference is at the level at which Holm tested the group, if the held-out
    rate (against the base model: that of samples which it alone reproduces) is the upper end of its interval.
    """
    valid, octave = ~np.isnan(values), octaves(samples.duplicates)
    strata = strata_of(samples)
    exchanges: dict[str, Exchange | Paired] = {}
    paired: dict[str, Exchange | Paired] = {}
    for name, mask in groups.items():
        if name != HELD_OUT:
            alike = valid if name == MEMBERS else valid & (octave == octave[mask][0])
            exchanges[name] = Exchange(values, samples, strata, alike)
            if base is not None:
                paired[name] = Paired(values, base, samples, mask & valid & ~np.isnan(base))
    tests = _possible(exchanges, level)
    tests |= _possible({name: test for name, test in paired.items() if name not in tests}, level)
    distinct = {test.key: test for test in tests.values()}
    corrected = statistics.holm([test.p() for test in distinct.values()]).tolist() if distinct else []
    p: dict[bytes, float] = dict(zip(distinct, corrected, strict=True))
    left = sum(value > level for value in p.values())
    results = {name: GroupTest() for name in groups if name != HELD_OUT}
    for name, test in tests.items():
        evidence = p[test.key] <= level
        results[name] = GroupTest(
            against=test.against,
            members=test.members,
            held_out=test.held_out,
            p=p[test.key],
            evidence=evidence,
            detectable_difference=None if evidence else test.detectable(level / left),
        )
    return results


def strata_of(samples: SampleValues) -> Array:
    """Of each sample the stratum of its cluster, int64: clusters of as many copies, and about as many samples.

    Copies are those of the cluster's most frequent sample. Samples are counted in octaves: a cluster with more samples
    than are to be held out cannot be held out, and one with many samples is learned well too. Only those with a probe
    are counted.
    """
    _, cluster, size = np.unique(samples.clusters, return_inverse=True, return_counts=True)
    most = np.zeros(len(size), np.int64)
    np.maximum.at(most, cluster, samples.duplicates)
    return np.unique(np.stack([most, octaves(size)]), axis=1, return_inverse=True)[1][cluster]


class Exchange:
    """The test of members against held-out samples, by exchanging clusters within strata (strata_of).

    The statistic is the sum over members of how much more often they come out than all samples of as many copies (after
    Cochran, Mantel and Haenszel), over its standard error. Where each cluster has one sample, all exchanges count: this
    is Fisher's exact test, and over several strata the sum of the counts in each. Else exchanges are drawn. The error
    is of the residuals of clusters (Chung and Romano 2013, Exact and asymptotically robust permutation tests): so sides
    that no random split made, whose clusters differ in size, do no harm in large samples.
    """

    against = HELD_OUT

    def __init__(self, values: Array, samples: SampleValues, strata: Array, mask: Array) -> None:
        index = np.flatnonzero(mask)
        sides = [np.isin(strata[index], strata[index[samples.member[index] == side]]) for side in (True, False)]
        index = index[sides[0] & sides[1]]  # strata without members or held-out samples say nothing
        _, unit = np.unique(2 * samples.clusters[index] + samples.member[index], return_inverse=True)
        strata, stratum = np.unique(strata[index], return_inverse=True)
        cells, cell = np.unique(np.stack([stratum, samples.duplicates[index]]), axis=1, return_inverse=True)
        self._values, self._member, self._unit = values[index], samples.member[index], unit
        self._samples = np.bincount(unit)
        self._side, self._stratum = np.zeros((2, len(self._samples)), np.int64)
        self._side[unit], self._stratum[unit] = self._member, stratum
        self._hits = np.bincount(unit, self._values)
        expected = np.bincount(cell, self._values) / np.bincount(cell)
        self._excess = self._hits - np.bincount(unit, expected[cell])
        self._exact = (self._samples == 1).all() and cells.shape[1] == len(strata)
        self.members, self.held_out = int(self._member.sum()), int((~self._member).sum())
        self.key = index.tobytes()

    def log_least_p(self) -> float:
        """The logarithm of the least p there can be: of one exchange among all."""
        units, members = np.bincount(self._stratum), np.bincount(self._stratum, self._side)
        log_factorials = [special.gammaln(number + 1) for number in (units, members, units - members)]
        return float((log_factorials[1] + log_factorials[2] - log_factorials[0]).sum())

    def p(self) -> float:
        """One-sided."""
        if not self._excess.any():
            return 1.0
        if not self._exact:
            return self._drawn()
        of_strata = (
            np.bincount(self._stratum, weights).astype(int)
            for weights in (None, self._side, self._hits, self._hits * self._side)
        )
        tables = list(zip(*of_strata, strict=True))
        if len(tables) == 1:
            units, members, hits, observed = tables[0]
            return float(fisher(observed, members, hits - observed, units - members))
        parts = [(1, stats.hypergeom, (units, hits, members)) for units, members, hits, _ in tables]
        return at_least(sum(table[-1] for table in tables), parts)

    def _drawn(self) -> float:
        rng, kinds = np.random.default_rng(SEED), []
        for stratum in range(self._stratum.max() + 1):
            here = self._stratum == stratum
            rows = np.stack([self._samples[here], self._excess[here].round(9)])
            kind, of_unit, units = np.unique(rows, axis=1, return_inverse=True, return_counts=True)
            kinds.append((*kind, units, np.bincount(of_unit, 1 - self._side[here], len(units)).astype(int)))

        def excess(drawn: Sequence[Array]) -> Array:
            """The statistic for each row of how many units of each kind are held out, by stratum."""
            total = error = 0
            for (samples, excess, units, _), held_out in zip(kinds, drawn, strict=True):
                share = held_out @ samples / (units @ samples)
                squares, of_held_out = units @ excess**2, held_out @ excess**2
                total -= held_out @ excess
                error += share**2 * (squares - of_held_out) + (1 - share) ** 2 * of_held_out
            return total / np.sqrt(np.maximum(error, 1e-12))

        observed = excess([held_out[None] for *_, held_out in kinds])[0]

        def as_extreme(number: int) -> Array:
            drawn = [
                rng.multivariate_hypergeometric(units, held_out.sum(), number, method="marginals")
                for _, _, units, held_out in kinds
            ]
            return excess(drawn) >= observed - 1e-9

        return statistics.permuted(as_extreme, max(1, AT_ONCE // sum(len(units) for _, _, units, _ in kinds)))

    def detectable(self, level: float) -> float | None:
        """The least difference that is found with 80 % power at a level; None if there is none.

        As of two samples without strata that say as much: with as many effective members, and as many held-out samples
        as give the same variance of the difference (with weights after Cochran, Mantel and Haenszel).
        """
        stratum, sizes = self._stratum[self._unit], []
        for side in (self._member, ~self._member):
            worth = effective(self._values[side], self._unit[side]) / side.sum()
            sizes.append(worth * np.bincount(stratum[side]))
        weights = sizes[0] * sizes[1] / (sizes[0] + sizes[1])
        members, weight, out = sizes[0].sum(), weights.sum(), ~self._member
        rates = np.bincount(stratum[out], self._values[out]) / np.bincount(stratum[out])
        rate = float(min(weights @ rates / weight, 1.0))
        members, held_out = (int(size + 1e-9) for size in (members, members * weight / (members - weight)))
        return detectable(members, wilson(held_out * rate, held_out)[1], held_out, level)


class Paired:
    """The test of the tuned model against the base model on the same samples: McNemar's exact test, by clusters.

    If fine-tuning changed nothing, it is chance which model reproduces more of a cluster: the models are exchanged, for
    whole clusters, in all ways.
    """

    against = BASE

    def __init__(self, values: Array, base: Array, samples: SampleValues, mask: Array) -> None:
        index = np.flatnonzero(mask)
        _, self._unit = np.unique(samples.clusters[index], return_inverse=True)
        self._change = (values[index] - base[index]).astype(int)
        self.members, self.held_out = len(index), 0
        self.key = b"base" + index.tobytes()

    def log_least_p(self) -> float:
        """The logarithm of the least p there can be, if all clusters changed."""
        return float(-np.log(2) * len(np.unique(self._unit)))

    def p(self) -> float:
        """One-sided."""
        more = np.bincount(self._unit, self._change).astype(int)
        sizes, counts = np.unique(np.abs(more[more != 0]), return_counts=True)
        parts = [(int(size), stats.binom, (count, 0.5)) for size, count in zip(sizes, counts, strict=True)]
        return at_least(int(more[more > 0].sum()), parts)

    def detectable(self, level: float) -> float | None:
        """As of Exchange."""
        fewer = self._change < 0
        pairs = min(effective(self._change > 0, self._unit), effective(fewer, self._unit))
        return paired_detectable(int(pairs + 1e-9), wilson(float(fewer.mean()) * pairs, pairs)[1], level)


def at_least(observed: int, parts: Sequence[tuple[int, Any, tuple]]) -> float:
    """The chance that a sum of independent counts, each times a size, is `observed` or more.

    parts: for each count the size, its distribution (of scipy.stats) and the arguments of that.
    """
    weight, least, beyond = np.ones(1), 0, 0.0
    for size, count, arguments in parts:
        low, high = count.ppf([NEGLIGIBLE, 1 - NEGLIGIBLE], *arguments).astype(int)
        beyond += count.cdf(low - 1, *arguments) + count.sf(high, *arguments)
        of_part = np.zeros(size * (high - low) + 1)
        of_part[::size] = count.pmf(np.arange(low, high + 1), *arguments)
        weight, least = np.convolve(weight, of_part), least + size * low
    return float(min(weight[max(observed - least, 0) :].sum() + beyond, 1.0))


def _possible(tests: Mapping[str, Exchange | Paired], level: float) -> dict[str, Exchange | Paired]:
    """The tests of which some outcome would be significant at a level, corrected for their number."""
    tests = dict(tests)
    while tests:
        name = max(tests, key=lambda name: tests[name].log_least_p())
        if tests[name].log_least_p() <= np.log(level / len({test.key for test in tests.values()})) + 1e-9:
            break
        del tests[name]
    return tests
