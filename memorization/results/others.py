"""Whether a model says another's text: a run that one other sample alone holds (design.md, Terms: Another's).

Its chance level is the same against held-out samples, which no model has seen, each time against equally many samples.
"""

from array import array

import numpy as np
from scipy import sparse

from memorization.results import statistics
from memorization.results.counts import HELD_OUT, MEMBERS
from memorization.results.layout import estimate, grid

SEED = 0  # of the permutation test
AT_ONCE = 1 << 22  # numbers in memory together


def runs(row):
    """The runs of a Detection that one other cluster alone holds."""
    return (run for run in row.copied if run.whose(row.generation.cluster) in ("another", "other"))


def items(row):
    """The items of personal data in a Detection that one other cluster alone holds."""
    return (item for item in row.personal if item.whose in ("another", "other"))


class Others:
    """Of each generation, the other clusters that alone hold something that it says. Rows are watched as they pass by.

    said: of a row, what it says: `runs` or `items`.
    """

    def __init__(self, said=runs):
        self._said = said
        self._probes, self._holders, self._members = array("q"), array("q"), array("b")

    def watch(self, rows):
        for row in rows:
            for one in self._said(row):
                self._probes.append(row.generation.id)
                self._holders.append(one.cluster)
                self._members.append(one.members)
            yield row

    def measure(self, ids, member, clusters, samples):
        """What result.json holds of another's: dict of samples, and groups: members and held out, those that there are.

        ids, member, clusters (int from 0): of every probe. samples: (members, held-out ones), how many clusters there
        are. Of each group: n; another and chance, each the rate, with its 95 % interval, of probes that say a run which
        only one of `samples` training or held-out samples holds (the mean over all choices of so many); p and evidence
        of `test`, corrected by Holm. Returns None where a side has no other sample.
        """
        size = min(samples) - 1  # of the side that its own sample is on, that one does not count
        if size < 1:
            return None
        pairs = np.unique(np.stack([self._probes, self._holders, self._members]), axis=1)
        probes, holders, trained = pairs[0], pairs[1], pairs[2].astype(bool)
        place = np.searchsorted(ids, probes)
        most = np.bincount(place).max(initial=0)  # that one probe says
        groups = {name: mask for name, mask in ((MEMBERS, member), (HELD_OUT, ~member)) if mask.any()}
        found, p = {}, []
        for name, mask in groups.items():
            cell = found[name] = {"n": int(mask.sum())}
            chances = []  # of each side: that a choice holds one of so many
            for side, total in zip((True, False), samples, strict=True):
                others = total - (member[mask][0] == side)  # without its own sample
                said = np.arange(min(most, others))
                none = np.cumprod(np.maximum(others - size - said, 0) / (others - said))  # of 1, 2, ... that it says
                chances.append(1 - np.pad(np.append(1.0, none), (0, most - len(said)), "edge"))
                held = np.bincount(place[trained == side], minlength=len(ids))[mask]
                shares = chances[-1][held]
                share, number = float(shares.mean()), statistics.effective(shares, clusters[mask])
                rate = {"rate": share, "interval": [*statistics.wilson(share * number, number)]}
                cell["another" if side else "chance"] = rate
            p.append(test(place, holders, trained, mask, samples, chances))
        for cell, value in zip(found.values(), statistics.holm(p), strict=True):
            cell |= {"p": float(value), "evidence": bool(value <= statistics.LEVEL)}
        return {"samples": size, "groups": found}


def beside_chance(measured):
    """What Others.measure gives, as the lines of a table."""
    number = measured["samples"]
    body = [["probes", f"of {number} members", f"of {number} held out", "p"]]
    for name, group in measured["groups"].items():
        p = f"{group['p']:.2g}" if group["p"] >= 0.0001 else "< 0.0001"
        body.append([name, estimate(group["another"]), estimate(group["chance"]), p])
    return grid(body)


def test(probes, holders, trained, mask, samples, chances):
    """p that the probes of a group say training samples no more than others: an exact permutation test, one-sided.

    probes, holders, trained: int64, int64 and bool arrays of the pairs of a probe (its place) and another sample that
    alone holds a run of its generation. chances: of training and of held-out samples, by how many a probe says, that
    one is among a choice of equally many; the statistic is the rate of another's less its chance level. Without
    memorization it does not matter on which side of the split a sample is: in each draw (statistics.permuted) all
    samples are split anew, (members, held-out ones) as `samples` says. However often a sample is said, it changes sides
    as a whole.
    """
    of_group = mask[probes]
    _, probe = np.unique(probes[of_group], return_inverse=True)
    known, first, holder = np.unique(holders[of_group], return_index=True, return_inverse=True)
    if not len(known):
        return 1.0
    pairs = sparse.csr_array((np.ones(len(probe), int), (holder, probe)))
    said = np.bincount(probe)
    few = samples[0] < samples[1]  # whether the side with fewer samples, the one that is drawn, is that of members

    def gain(number, probe):
        """What a probe adds to the statistic of whose samples `number` are on the side with fewer."""
        of_training = number if few else said[probe] - number
        return chances[0][of_training] - chances[1][said[probe] - of_training]

    none = gain(np.zeros(len(said), int), np.arange(len(said)))

    def excess(chosen):
        """The statistic for each list of holders, those on the side with fewer samples."""
        ends = np.cumsum([0, *map(len, chosen)])
        chosen = sparse.csr_array((np.ones(ends[-1], int), np.concatenate(chosen), ends), (len(chosen), len(known)))
        numbers = chosen @ pairs  # of each draw, how many each probe says: most say none
        draw = np.repeat(np.arange(len(ends) - 1), np.diff(numbers.indptr))
        more = gain(numbers.data, numbers.indices) - none[numbers.indices]
        return none.sum() + np.bincount(draw, more, len(ends) - 1)

    observed = excess([np.flatnonzero(trained[of_group][first] == few)])[0]
    rng, (fewer, more) = np.random.default_rng(SEED), sorted(samples)

    def as_extreme(draws):
        numbers = rng.hypergeometric(fewer, more, len(known), draws)  # among the samples said
        chosen = [rng.choice(len(known), number, replace=False, shuffle=False) for number in numbers]
        return excess(chosen) >= observed - 1e-9

    return statistics.permuted(as_extreme, max(1, AT_ONCE // max(len(probe), len(known))))
