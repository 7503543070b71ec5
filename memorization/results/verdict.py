"""Whether members come out more often than held-out texts: the tests behind the verdict (design.md, Terms: Verdict).

Under a random split it is chance which clusters of near-duplicates are held out. So clusters are exchanged between the
sides, whole, among those of as many copies: what stands often in the data is often known from elsewhere.
"""

import numpy as np
from scipy import special, stats

from memorization.results import statistics
from memorization.results.columns import VERDICT
from memorization.results.counts import HELD_OUT, MEMBERS, Probes, octaves
from memorization.results.statistics import LEVEL, detectable, effective, fisher, paired_detectable, wilson

FALLBACK = "exact_match"  # decides where most members can have no own run
LEAST_CEILING = 0.5
BASE = "base"
SEED = 0  # of the draws
AT_ONCE = 1 << 20  # numbers in memory together
NEGLIGIBLE = 1e-16  # of a distribution, at either end; p is so much larger, if anything


def verdict_column(ceilings: dict[str, float] | None) -> str:
    """The column that decides, by the ceilings of members (name -> share of them): no generation has a part in it.

    Where that of own runs is not known, it is own runs.
    """
    return FALLBACK if (ceilings or {}).get(VERDICT, 1.0) < LEAST_CEILING else VERDICT


def verdict(
    groups: dict[str, np.ndarray],
    probes: Probes,
    values: np.ndarray,
    base: np.ndarray | None = None,
    level: float = LEVEL,
) -> dict[str, dict]:
    """Whether each group of members comes out more often than held-out texts do, beyond chance.

    groups: dict name -> mask of probes, as of counts.grouped. probes: counts.Probes. values: 1.0 of a probe that comes
    out, else 0.0, NaN where that is not known. base: the same through the base model, or None.

    Members are compared with held-out samples of as many copies (Exchange). A group with so few of these that no
    outcome could be a yes is compared with the base model on the same probes, if there is one (Paired). All tests are
    corrected by Holm, equal ones counted once, so that the chance of any false yes is at most `level`, however the
    groups overlap. Returns dict name -> against (HELD_OUT, BASE, or None: not tested), members and held_out (how many
    are compared), p (corrected), evidence, and of a test without it detectable_difference (of rates; None if there is
    none): the least that would have been found with 80 % power, at the level at which Holm tested it, if the held-out
    rate (against the base model: that of samples which it alone says) is the upper end of its interval.
    """
    known, octave = ~np.isnan(values), octaves(probes.duplicates)
    strata = strata_of(probes)
    tests, paired = {}, {}
    for name, mask in groups.items():
        if name != HELD_OUT:
            alike = known if name == MEMBERS else known & (octave == octave[mask][0])
            tests[name] = Exchange(values, probes, strata, alike)
            if base is not None:
                paired[name] = Paired(values, base, probes, mask & known & ~np.isnan(base))
    tests = _possible(tests, level)
    tests |= _possible({name: test for name, test in paired.items() if name not in tests}, level)
    distinct = {test.key: test for test in tests.values()}
    corrected = statistics.holm([test.p() for test in distinct.values()]) if distinct else []
    p = dict(zip(distinct, corrected, strict=True))
    left = sum(value > level for value in p.values())
    results = {}
    for name in groups:
        if name == HELD_OUT:
            continue
        if name not in tests:
            results[name] = dict.fromkeys(("against", "members", "held_out", "p", "evidence", "detectable_difference"))
            continue
        test, evidence = tests[name], bool(p[tests[name].key] <= level)
        results[name] = {
            "against": test.against,
            "members": test.members,
            "held_out": test.held_out,
            "p": float(p[test.key]),
            "evidence": evidence,
            "detectable_difference": None if evidence else test.detectable(level / left),
        }
    return results


def strata_of(probes: Probes) -> np.ndarray:
    """Of each probe the stratum of its cluster, int64: clusters of as many copies, and about as many samples.

    Copies are those of the cluster's most frequent sample; samples are counted in octaves, as a cluster of more than
    are to be held out cannot be, and one of many is told often too. Both as far as they are probes.
    """
    _, cluster, size = np.unique(probes.clusters, return_inverse=True, return_counts=True)
    most = np.zeros(len(size), np.int64)
    np.maximum.at(most, cluster, probes.duplicates)
    return np.unique(np.stack([most, octaves(size)]), axis=1, return_inverse=True)[1][cluster]


class Exchange:
    """The test of members against held-out samples, by exchanging clusters within strata (strata_of).

    The statistic is the sum over members of how much more often they come out than all samples of as many copies (as of
    Cochran, Mantel and Haenszel), over its standard error. Where each cluster has one sample, all exchanges count: it
    is Fisher's exact test, and over several strata the sum of what that counts in each. Else they are drawn. The error
    is of the residuals of clusters (Chung and Romano 2013, Exact and asymptotically robust permutation tests): sides
    that were not drawn, whose clusters are of other sizes, do no harm in large samples then.
    """

    against = HELD_OUT

    def __init__(self, values, probes, strata, mask):
        index = np.flatnonzero(mask)
        sides = [np.isin(strata[index], strata[index[probes.member[index] == side]]) for side in (True, False)]
        index = index[sides[0] & sides[1]]  # strata of one side say nothing
        _, unit = np.unique(2 * probes.clusters[index] + probes.member[index], return_inverse=True)
        strata, stratum = np.unique(strata[index], return_inverse=True)
        cells, cell = np.unique(np.stack([stratum, probes.duplicates[index]]), axis=1, return_inverse=True)
        self._values, self._member, self._unit = values[index], probes.member[index], unit
        self._probes = np.bincount(unit)
        self._side, self._stratum = np.zeros((2, len(self._probes)), np.int64)
        self._side[unit], self._stratum[unit] = self._member, stratum
        self._hits = np.bincount(unit, self._values)
        expected = np.bincount(cell, self._values) / np.bincount(cell)
        self._excess = self._hits - np.bincount(unit, expected[cell])
        self._exact = (self._probes == 1).all() and cells.shape[1] == len(strata)
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

    def _drawn(self):
        rng, kinds = np.random.default_rng(SEED), []
        for stratum in range(self._stratum.max() + 1):
            here = self._stratum == stratum
            rows = np.stack([self._probes[here], self._excess[here].round(9)])
            kind, of_unit, units = np.unique(rows, axis=1, return_inverse=True, return_counts=True)
            kinds.append((*kind, units, np.bincount(of_unit, 1 - self._side[here], len(units)).astype(int)))

        def excess(drawn):
            """The statistic for each row of how many units of each kind are held out, by stratum."""
            total = error = 0
            for (probes, excess, units, _), held_out in zip(kinds, drawn, strict=True):
                share = held_out @ probes / (units @ probes)
                squares, of_held_out = units @ excess**2, held_out @ excess**2
                total -= held_out @ excess
                error += share**2 * (squares - of_held_out) + (1 - share) ** 2 * of_held_out
            return total / np.sqrt(np.maximum(error, 1e-12))

        observed = excess([held_out[None] for *_, held_out in kinds])[0]

        def as_extreme(number):
            drawn = [
                rng.multivariate_hypergeometric(units, held_out.sum(), number, method="marginals")
                for _, _, units, held_out in kinds
            ]
            return excess(drawn) >= observed - 1e-9

        return statistics.permuted(as_extreme, max(1, AT_ONCE // sum(len(units) for _, _, units, _ in kinds)))

    def detectable(self, level: float) -> float | None:
        """The least difference that is found with 80 % power at a level; None if there is none.

        As of two samples without strata that say as much: with as many effective probes on the side of members, and of
        held-out ones what gives the same variance of the difference (with weights as of Cochran, Mantel and Haenszel).
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
    """The test of the tuned model against the base model on the same probes: McNemar's exact test, by clusters.

    Which of the two says more of a cluster is by chance if fine-tuning changed nothing: the models are exchanged, for
    whole clusters, in all ways.
    """

    against = BASE

    def __init__(self, values, base, probes, mask):
        index = np.flatnonzero(mask)
        _, self._unit = np.unique(probes.clusters[index], return_inverse=True)
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
        """The least difference that is found with 80 % power at a level; None if there is none."""
        lost = self._change < 0
        pairs = min(effective(self._change > 0, self._unit), effective(lost, self._unit))
        return paired_detectable(int(pairs + 1e-9), wilson(float(lost.mean()) * pairs, pairs)[1], level)


def at_least(observed: int, parts: list) -> float:
    """The chance that a sum is `observed` or more, of independent counts, each times a size.

    parts: for each the size, its distribution (of scipy.stats) and the arguments of that.
    """
    weight, least, beyond = np.ones(1), 0, 0.0
    for size, count, arguments in parts:
        low, high = count.ppf([NEGLIGIBLE, 1 - NEGLIGIBLE], *arguments).astype(int)
        beyond += count.cdf(low - 1, *arguments) + count.sf(high, *arguments)
        of_part = np.zeros(size * (high - low) + 1)
        of_part[::size] = count.pmf(np.arange(low, high + 1), *arguments)
        weight, least = np.convolve(weight, of_part), least + size * low
    return float(min(weight[max(observed - least, 0) :].sum() + beyond, 1.0))


def _possible(tests, level):
    """Those tests of which some outcome would be a yes at a level, corrected for how many there are."""
    tests = dict(tests)
    while tests:
        name = max(tests, key=lambda name: tests[name].log_least_p())
        if tests[name].log_least_p() <= np.log(level / len({test.key for test in tests.values()})) + 1e-9:
            break
        del tests[name]
    return tests
