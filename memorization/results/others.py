"""Whether a model says another's text: a run that one other sample alone holds (design.md, Terms: Another's).

Its chance level is the same against held-out samples, which no model has seen, each time against equally many samples.
"""

from array import array

import numpy as np
from scipy import stats

from memorization.results import statistics
from memorization.results.counts import HELD_OUT, MEMBERS

DRAWS, SEED = 9999, 0  # of the permutation test
AT_ONCE = 1 << 22  # numbers in memory together


class Others:
    """Of each generation, the other samples that alone hold one of its runs. Rows are watched as they pass by."""

    def __init__(self):
        self._probes, self._holders, self._members = array("q"), array("q"), array("b")

    def watch(self, rows):
        for row in rows:
            for run in row.copied:
                if run.holders == 1 and run.sample != row.id:
                    self._probes.append(row.id)
                    self._holders.append(run.sample)
                    self._members.append(run.members)
            yield row

    def measure(self, ids, member, samples):
        """What result.json holds of another's: dict of samples, and groups: members and held out, those that there are.

        ids, member: of every probe. samples: (members, held-out ones), how many distinct ones there are. Of each group:
        n; another and chance, each the rate, with its 95 % interval, of probes that say a run which only one of
        `samples` training or held-out samples holds (the mean over all choices of so many); p and evidence of `test`,
        corrected by Holm. Returns None where a side has no other sample.
        """
        size = min(samples) - 1  # of the side that its own sample is on, that one does not count
        if size < 1:
            return None
        pairs = np.unique(np.stack([self._probes, self._holders, self._members]), axis=1)
        probes, holders, trained = pairs[0], pairs[1], pairs[2].astype(bool)
        place = np.searchsorted(ids, probes)
        groups = {name: mask for name, mask in ((MEMBERS, member), (HELD_OUT, ~member)) if mask.any()}
        found = {}
        for name, mask in groups.items():
            cell = found[name] = {"n": int(mask.sum())}
            for side, total in zip((True, False), samples, strict=True):
                others = total - (member[mask] == side)  # without its own sample
                held = np.bincount(place[trained == side], minlength=len(ids))[mask]
                share = float((1 - stats.hypergeom.pmf(0, others, held, size)).sum())
                rate = {"rate": share / cell["n"], "interval": [*statistics.wilson(share, cell["n"])]}
                cell["another" if side else "chance"] = rate
        p = statistics.holm([test(place, holders, trained, mask, samples) for mask in groups.values()])
        for cell, value in zip(found.values(), p, strict=True):
            cell |= {"p": float(value), "evidence": bool(value <= statistics.LEVEL)}
        return {"samples": size, "groups": found}


def test(probes, holders, trained, mask, samples):
    """p that the probes of a group say training samples no more than others: an exact permutation test, one-sided.

    probes, holders, trained: int64, int64 and bool arrays of the pairs of a probe (its place) and another sample that
    alone holds a run of its generation. Without memorization it does not matter on which side of the split a sample is:
    each of DRAWS times all samples are split anew, (members, held-out ones) as `samples` says, and the probes that say
    a training sample are counted. However often one sample is said, it changes sides as a whole.
    """
    of_group = mask[probes]
    _, probe = np.unique(probes[of_group], return_inverse=True)
    known, holder = np.unique(holders[of_group], return_inverse=True)
    if not len(known):
        return 1.0
    order = np.argsort(probe, kind="stable")
    probe, holder = probe[order], holder[order]
    first = np.searchsorted(probe, np.arange(probe[-1] + 1))

    def count(sides):
        """Probes that say a training sample; sides: bool, (draws, holders)."""
        return np.logical_or.reduceat(sides[:, holder], first, axis=1).sum(1)

    actual = np.zeros(len(known), bool)
    actual[holder] = trained[of_group][order]
    observed = count(actual[None])[0]
    rng, as_many = np.random.default_rng(SEED), 1
    step = max(1, AT_ONCE // max(len(probe), len(known)))
    for start in range(0, DRAWS, step):
        draws = min(step, DRAWS - start)
        members = rng.hypergeometric(*samples, len(known), draws)  # among the samples that are said
        ranks = rng.random((draws, len(known))).argsort(1).argsort(1)
        as_many += int((count(ranks < members[:, None]) >= observed).sum())
    return as_many / (1 + DRAWS)
