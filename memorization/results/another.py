"""Whether a model gives away another's text: a run, or personal data, of one other sample alone (design.md, Terms).

The chance level is the same rate against held-out samples, which no model was trained on. Both rates are against
equally many samples.
"""

from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import sparse

from memorization.results import statistics
from memorization.results.statistics import Array
from memorization.results.summary import HELD_OUT, MEMBERS, Another, AnotherGroup, Rate

SEED = 0  # of the permutation test
AT_ONCE = 1 << 22  # numbers in memory together


class AnotherCounter:
    """Collects the other clusters that alone hold a part of each generation, and tests how many are of members."""

    def __init__(self) -> None:
        self._probes, self._holders, self._members = array("q"), array("q"), array("b")

    def add(self, probe: int, items: Iterable[Any]) -> None:
        """Add the CopiedRuns or PersonalItems of a generation that one other cluster alone holds.

        probe: the id of its sample.
        """
        for item in items:
            self._probes.append(probe)
            self._holders.append(item.cluster)
            self._members.append(item.members)

    def measure(self, ids: Array, member: Array, clusters: Array, samples: tuple[int, int]) -> Another | None:
        """The rates and tests of members and of held-out texts, if there are any; None if a side has no other sample.

        ids, member, clusters (int from 0): of every sample asked. samples: how many clusters of members and of held-out
        samples there are.
        """
        size = min(samples) - 1  # of the side that its own sample is on, that one does not count
        if size < 1:
            return None
        pairs = np.unique(np.stack([self._probes, self._holders, self._members]), axis=1)
        probes, holders, trained = pairs[0], pairs[1], pairs[2].astype(bool)
        place = np.searchsorted(ids, probes)
        most = np.bincount(place).max(initial=0)  # other samples in the generations of one probe
        groups = {name: mask for name, mask in ((MEMBERS, member), (HELD_OUT, ~member)) if mask.any()}
        results = {}
        for name, mask in groups.items():
            rates, chances = [], []  # of each side. chances: that a choice contains one of so many samples
            for side, total in zip((True, False), samples, strict=True):
                others = total - (member[mask][0] == side)  # without its own sample
                number = np.arange(min(most, others))
                none = np.cumprod(np.maximum(others - size - number, 0) / (others - number))  # that it contains none
                chances.append(1 - np.pad(np.append(1.0, none), (0, most - len(number)), "edge"))
                counts = np.bincount(place[trained == side], minlength=len(ids))[mask]
                rates.append(_mean_rate(chances[-1][counts], clusters[mask]))
            p = permutation_p(place, holders, trained, mask, samples, chances)
            results[name] = AnotherGroup(int(mask.sum()), rates[0], rates[1], p, False)
        for group, p in zip(results.values(), statistics.holm([group.p for group in results.values()]), strict=True):
            group.p, group.evidence = float(p), bool(p <= statistics.LEVEL)
        return Another(size, results)


def _mean_rate(shares: Array, clusters: Array) -> Rate:
    share, number = float(shares.mean()), statistics.effective(shares, clusters)
    return Rate(rate=share, interval=statistics.wilson(share * number, number))


def permutation_p(
    probes: Array, holders: Array, trained: Array, mask: Array, samples: tuple[int, int], chances: list[Array]
) -> float:
    """p that a group's generations hold training samples no more often than others: exact permutation test, one-sided.

    probes, holders, trained: int64, int64 and bool arrays of the pairs of a probe (its place) and another sample that
    alone holds a part of its generation. mask: of the group's probes. chances: of training and of held-out samples, by
    how many a probe has, that one is among a choice of equally many; the statistic is the rate of another's less its
    chance level. Without memorization it does not matter on which side of the split a sample is: in each draw
    (statistics.permuted) all samples are split anew, (members, held-out ones) as `samples` says. A sample changes sides
    as a whole, however many probes it is in.
    """
    of_group = mask[probes]
    _, probe = np.unique(probes[of_group], return_inverse=True)
    distinct, first, holder = np.unique(holders[of_group], return_index=True, return_inverse=True)
    if not len(distinct):
        return 1.0
    pairs = sparse.csr_array((np.ones(len(probe), int), (holder, probe)))
    totals = np.bincount(probe)  # of each probe, the samples
    few = samples[0] < samples[1]  # whether the side with fewer samples, the one that is drawn, is that of members

    def gain(number: Array, probe: Array) -> Array:
        """What a probe adds to the statistic if `number` of its samples are on the side with fewer."""
        of_training = number if few else totals[probe] - number
        return chances[0][of_training] - chances[1][totals[probe] - of_training]

    none = gain(np.zeros(len(totals), int), np.arange(len(totals)))

    def excess(draws: list[Array]) -> Array:
        """The statistic for each list of holders, those on the side with fewer samples."""
        ends = np.cumsum([0, *map(len, draws)])
        chosen = sparse.csr_array((np.ones(ends[-1], int), np.concatenate(draws), ends), (len(draws), len(distinct)))
        numbers = chosen @ pairs  # of each draw, how many each probe has: most have none
        draw = np.repeat(np.arange(len(draws)), np.diff(numbers.indptr))
        more = gain(numbers.data, numbers.indices) - none[numbers.indices]
        return none.sum() + np.bincount(draw, more, len(draws))

    observed = excess([np.flatnonzero(trained[of_group][first] == few)])[0]
    rng, (fewer, more) = np.random.default_rng(SEED), sorted(samples)

    def as_extreme(draws: int) -> Array:
        numbers = rng.hypergeometric(fewer, more, len(distinct), draws)  # among these samples
        chosen = [rng.choice(len(distinct), number, replace=False, shuffle=False) for number in numbers]
        return excess(chosen) >= observed - 1e-9

    return statistics.permuted(as_extreme, max(1, AT_ONCE // max(len(probe), len(distinct))))
