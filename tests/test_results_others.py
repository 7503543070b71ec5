"""Another's against its chance level: by drawing samples, and by experiments in which nothing was memorized."""

from types import SimpleNamespace

import numpy as np
import pytest

from memorization.results import statistics
from memorization.results.another import AnotherCounter
from memorization.results.summary import HELD_OUT, MEMBERS


def measure(repeated, members):
    """`measure` where every sample is a probe. said: of each the other samples that alone hold a run of it."""
    counter, ids = AnotherCounter(), np.arange(len(repeated))
    for probe, of_probe in enumerate(repeated):
        counter.add(probe, [SimpleNamespace(cluster=sample, members=int(members[sample])) for sample in of_probe])
    return counter.measure(ids, members[: len(repeated)], ids, (int(members.sum()), int((~members).sum())))


def test_rates_are_the_mean_over_draws_of_equally_many_samples():
    rng = np.random.default_rng(1)
    members = np.arange(60) % 4 != 3
    repeated = [rng.choice(60, rng.integers(0, 4), replace=False) for _ in range(60)]
    repeated = [[s for s in of_probe.tolist() if s != i] for i, of_probe in enumerate(repeated)]
    result = measure(repeated, members)
    assert result.samples == 14
    drawn = {name: {True: [], False: []} for name in (MEMBERS, HELD_OUT)}
    for _ in range(3000):
        for side in (True, False):
            hits = np.zeros(60, bool)
            order = rng.permutation(np.flatnonzero(members == side))
            for i, of_probe in enumerate(repeated):
                sample = order[order != i][:14]
                hits[i] = any(other in sample for other in of_probe)
            drawn[MEMBERS][side].append(hits[members].mean())
            drawn[HELD_OUT][side].append(hits[~members].mean())
    for name, cell in result.groups.items():
        assert cell.another.rate == pytest.approx(np.mean(drawn[name][True]), abs=0.01)
        assert cell.chance.rate == pytest.approx(np.mean(drawn[name][False]), abs=0.01)
        assert cell.another.interval[0] < cell.another.rate < cell.another.interval[1]


def test_false_alarms_are_at_most_one_in_twenty(monkeypatch):
    """Also where all probes say the same few samples, which a test that takes probes for independent would not bear."""
    monkeypatch.setattr(statistics, "DRAWS", 199)
    rng, alarms, experiments = np.random.default_rng(2), 0, 600
    for _ in range(experiments):
        members = rng.permutation(80) < 50
        popular = rng.choice(80, 3, replace=False).tolist()
        repeated = [[s for s in popular if s != i and rng.random() < 0.5] for i in range(80)]
        result = measure(repeated, members)
        alarms += any(cell.evidence for cell in result.groups.values())
    assert alarms <= 0.05 * experiments + 2.33 * np.sqrt(experiments * 0.05 * 0.95)  # 99 % of such experiments


def test_training_samples_said_by_strangers_are_seen():
    members = np.arange(80) % 4 != 3
    repeated = [
        [4 * (i // 4)] if i % 4 == 3 and i < 40 else [] for i in range(80)
    ]  # ten held-out probes say a member each
    cells = measure(repeated, members).groups
    assert cells[HELD_OUT].evidence is False  # of 10 samples, all 10 are members by chance at (3/4) ** 10 = 0.056
    assert cells[HELD_OUT].p == pytest.approx(2 * 0.75**10, rel=0.4)  # corrected for two groups
    assert cells[HELD_OUT].chance.rate == 0
    repeated = [[4 * (i // 4)] if i % 4 == 3 else [] for i in range(80)]
    cells = measure(repeated, members).groups
    assert cells[HELD_OUT].evidence is True and cells[MEMBERS].p == 1


def test_one_sample_that_everybody_says_is_no_evidence():
    members = np.arange(80) % 2 == 0
    cells = measure([[0] if i else [] for i in range(80)], members).groups
    assert cells[HELD_OUT].p == pytest.approx(1, abs=0.05) and not cells[HELD_OUT].evidence


def test_a_probe_that_says_more_samples_than_there_are_held_out():
    members = np.arange(40) % 8 != 7
    repeated = [[s for s in range(40) if s != i and (members[s] or s % 3 == 0)] for i in range(40)]
    cells = measure(repeated, members).groups
    assert cells[HELD_OUT].another.rate == 1 and cells[HELD_OUT].chance.rate <= 1


def test_nothing_said_and_no_others():
    members = np.array([True, True, True, False, False])
    cells = measure([[]] * 5, members).groups
    assert all(cell.p == 1 and cell.another.rate == 0 for cell in cells.values())
    assert measure([[]] * 3, np.array([True, True, False])) is None
