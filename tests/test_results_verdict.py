"""The verdict: its tests against enumeration, and its promises by simulation."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from memorization.encoding.split import draw_members
from memorization.results import statistics
from memorization.results.counts import SampleValues, group_samples
from memorization.results.statistics import LEVEL, POWER, effective, fisher, holm, wilson
from memorization.results.summary import HELD_OUT, GroupTest
from memorization.results.verdict import Exchange, at_least, compare_groups, strata_of, verdict_column


def probes(member, copies=1, clusters=None):
    number = len(member)
    clusters = np.arange(number) if clusters is None else clusters
    return SampleValues(
        np.arange(number), member, np.broadcast_to(copies, number), clusters, np.ones(number, int), [], number, 1
    )


def judge(values, of, base=None):
    return compare_groups(group_samples(of), of, values, base)


def counted(*groups):
    """(values, probes) of (member, copies, hits, total)."""
    rows = [(member, copies, i < hits) for member, copies, hits, total in groups for i in range(total)]
    member, copies, values = map(np.array, zip(*rows, strict=True))
    return values.astype(float), probes(member, copies)


def test_members_are_compared_with_held_out_samples_of_as_many_copies():
    """Texts that stand 16 times in the data are known to any model: held-out ones too."""
    values, of = counted((True, 1, 3, 300), (False, 1, 1, 100), (True, 16, 27, 30), (False, 16, 9, 10))
    tests = judge(values, of)
    assert [(test.against, test.members, test.held_out) for test in tests.values()] == [
        (HELD_OUT, 300, 100),
        (HELD_OUT, 30, 10),
        (HELD_OUT, 330, 110),
    ]
    a, b = fisher(3, 300, 1, 100), fisher(27, 30, 9, 10)
    rows = np.arange(331)
    either = np.convolve(stats.hypergeom(400, 4, 300).pmf(rows), stats.hypergeom(40, 36, 30).pmf(rows))[30:].sum()
    assert [test.p for test in tests.values()] == pytest.approx(holm([a, b, either]))
    assert not any(test.evidence for test in tests.values())


def test_memorized_copies_are_seen_where_all_members_together_show_nothing():
    values, of = counted((True, 1, 48, 1200), (False, 1, 8, 200), (True, 16, 15, 16), (False, 16, 0, 4))
    tests = judge(values, of)
    assert tests["16 copies"].evidence and tests["16 copies"].detectable_difference is None
    assert not tests["1 copy"].evidence and 0.03 < tests["1 copy"].detectable_difference < 0.09


def test_what_has_no_control_is_not_tested_and_all_members_are_of_what_has():
    """1 of 16: p could not be under 1/16. The other group is then all there is, and tested once."""
    values, of = counted((True, 1, 60, 100), (False, 1, 5, 50), (True, 16, 15, 15), (False, 16, 0, 1))
    tests = judge(values, of)
    assert tests["16 copies"] == GroupTest()
    assert (tests["members"].members, tests["members"].held_out) == (115, 51)
    values, of = counted((True, 1, 60, 100), (False, 1, 5, 50), (True, 16, 15, 15))
    tests = judge(values, of)
    assert tests["16 copies"] == GroupTest() and tests["1 copy"] == tests["members"]
    assert tests["members"].p == pytest.approx(fisher(60, 100, 5, 50)) and tests["members"].members == 100
    values, of = counted((True, 2, 3, 3), (False, 1, 0, 9))
    assert judge(values, of) == {"members": GroupTest()}


def test_a_group_without_a_control_is_tested_against_the_base_model():
    values, of = counted((True, 1, 2, 100), (False, 1, 1, 50), (True, 16, 12, 12))
    base = np.where(np.arange(len(values)) % 4 == 0, values, 0)
    tests = judge(values, of, base)
    assert [test.against for test in tests.values()] == [HELD_OUT, "base", HELD_OUT]
    gained = int((values - base)[of.duplicates == 16].sum())
    assert tests["16 copies"].p == pytest.approx(2 * 0.5**gained) and tests["16 copies"].evidence
    as_before = judge(values, of, values)["16 copies"]
    assert as_before.p == 1 and not as_before.evidence and 0.5 < as_before.detectable_difference < 1
    assert judge(base, of, values)["16 copies"].detectable_difference >= as_before.detectable_difference
    few = counted((True, 1, 2, 100), (False, 1, 1, 50), (True, 16, 4, 4))
    assert judge(*few, np.zeros(154))["16 copies"] == GroupTest()  # p could not be under 1/16


def test_against_the_base_model_whole_clusters_change_sides():
    """By all 2^8 exchanges of the models, of clusters of 1 to 3 samples."""
    random = np.random.default_rng(2)
    clusters = np.array([0, 1, 1, 2, 2, 2, 3, 4, 5, 5, 6, 6, 6, 7])
    of = probes(np.ones(15, bool), 1, np.append(clusters, 8))
    of.member[14] = False
    for _ in range(10):
        tuned, base = (random.random((2, 15)) < [[0.7], [0.3]]).astype(float)
        more = np.bincount(clusters, (tuned - base)[:14])
        sums = [np.dot(signs, more) for signs in product([1, -1], repeat=8)]
        (test,) = judge(tuned, of, base).values()
        assert test.against == "base" and test.p == pytest.approx(np.mean(np.array(sums) >= more.sum()))


def test_at_least_is_the_tail_of_a_sum():
    parts = [(1, stats.hypergeom, (30, 12, 9)), (3, stats.binom, (5, 0.5)), (2, stats.binom, (4, 0.5))]
    sums = np.zeros(60)
    for a, b, c in product(range(10), range(6), range(5)):
        chances = [count.pmf(k, *arguments) for (_, count, arguments), k in zip(parts, (a, b, c), strict=True)]
        sums[a + 3 * b + 2 * c] += np.prod(chances)
    for observed in range(33):
        assert at_least(observed, parts) == pytest.approx(sums[observed:].sum(), abs=1e-12)


@pytest.mark.parametrize("shape", ["one size", "several sizes", "several copies"])
def test_the_drawn_exchanges_are_those_of_all(shape):
    """Beside all exchanges of clusters within strata, counted in loops."""
    random = np.random.default_rng(3)
    sizes = [2] * 9 if shape == "one size" else [2, 3, 2, 3, 3, 2, 1, 1, 1, 1]
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    copies = np.ones(len(clusters), int)
    if shape == "several copies":
        copies[[0, 2, 5, 9, 12]] = 3
    for held_out in ([0, 3, 5], [1, 2, 8]):
        of = probes(~np.isin(clusters, held_out), copies, clusters)
        values = (random.random(len(clusters)) < 0.4 + 0.4 * of.member).astype(float)
        strata = strata_of(of)
        test = Exchange(values, of, strata, np.ones(len(values), bool))
        expected = by_all_exchanges(values, of, strata)
        assert test.p() == pytest.approx(expected, abs=0.03)


def by_all_exchanges(values, of, strata):
    both = np.isin(strata, strata[of.member]) & np.isin(strata, strata[~of.member])
    excess = np.zeros(len(values))
    for key in set(zip(strata[both], of.duplicates[both], strict=True)):
        cell = both & (strata == key[0]) & (of.duplicates == key[1])
        excess[cell] = values[cell] - values[cell].mean()
    ways = []
    for stratum in np.unique(strata[both]):
        units = np.unique(of.clusters[strata == stratum])
        held_out = {*of.clusters[(strata == stratum) & ~of.member]}
        ways.append([[*chosen] for chosen in combinations(units, len(held_out))])

    def statistic(held_out):
        total = error = 0
        for stratum in np.unique(strata[both]):
            out = [np.isin(of.clusters, held_out) & (strata == stratum)]
            out.append((strata == stratum) & ~out[0])
            share = out[0].sum() / (out[0].sum() + out[1].sum())
            total += excess[out[1]].sum()
            for weight, side in ((1 - share, out[0]), (share, out[1])):
                error += weight**2 * sum(excess[side & (of.clusters == k)].sum() ** 2 for k in {*of.clusters[side]})
        return total / np.sqrt(max(error, 1e-12))

    drawn = np.array([statistic(np.concatenate(chosen)) for chosen in product(*ways)])
    return np.mean(drawn >= statistic(of.clusters[~of.member]) - 1e-9)


def test_strata_are_of_copies_and_about_as_many_samples():
    of = probes(np.ones(9, bool), np.array([1, 1, 16, 1, 1, 1, 1, 1, 16]), np.array([0, 1, 1, 3, 4, 4, 4, 7, 8]))
    strata = strata_of(of)
    assert len({*strata}) == 4 and strata[0] == strata[3] == strata[7] and strata[1] == strata[2]
    assert strata[1] != strata[8] != strata[0] and strata[4] == strata[5] == strata[6]


def test_the_column_is_chosen_by_the_ceiling_of_members_before_a_model_is_asked():
    assert verdict_column(None) == verdict_column(0.5) == "own"
    assert verdict_column(0.499) == "exact_match"


@pytest.fixture
def quick(monkeypatch):
    """As many draws as a simulation can pay for; a p of few draws is no smaller than of many, on average."""
    monkeypatch.setattr(statistics, "DRAWS", 399)
    monkeypatch.setattr(statistics, "ENOUGH", 60)
    monkeypatch.setattr(Exchange, "detectable", lambda *_: None)


def false_alarms(draw, experiments=200):
    """The number of experiments with any yes; draw: rng -> (values, probes)."""
    random = np.random.default_rng(5)
    return sum(any(test.evidence for test in judge(*draw(random)).values()) for _ in range(experiments))


def rare(experiments=200):
    """So many alarms are not exceeded in 99.9 % of cases, if the chance of one is 5 %."""
    return stats.binom.ppf(0.999, experiments, LEVEL)


def divided(random, clusters, share):
    """Whether each sample is a member, as stage 1 draws it. clusters: from 0, in order."""
    first = np.searchsorted(clusters, clusters)
    return draw_members(np.arange(len(clusters)), first, share, int(random.integers(1 << 31)))


@pytest.mark.parametrize(
    ("easy", "hard", "often", "samples", "share"),
    [(0.9, 0.02, 60, 300, 0.3), (0.5, 0.05, 100, 600, 0.1), (0.99, 0.3, 40, 200, 0.5)]
    + [(0.2, 0.0, 100, 1000, 0.2), (0.7, 0.1, 30, 150, 0.25)],
)
def test_easy_texts_that_stand_often_in_the_data_are_no_evidence(quick, easy, hard, often, samples, share):
    """Those that stand in it 16 times are known to any model."""
    copies = np.where(np.arange(samples) < often, 16, 1)

    def draw(random):
        member = divided(random, np.arange(samples), share)
        return (random.random(samples) < np.where(copies > 1, easy, hard)).astype(float), probes(member, copies)

    assert false_alarms(draw) <= rare()


@pytest.mark.parametrize("correlation", [0.1, 0.3, 0.6])
@pytest.mark.parametrize(("rate", "clusters", "share"), [(0.1, 60, 0.3), (0.3, 40, 0.25)])
def test_clusters_are_no_evidence(quick, correlation, rate, clusters, share):
    """Clusters of 5, of which all samples share a rate."""
    of_cluster = np.repeat(np.arange(clusters), 5)
    spread = 1 / correlation - 1

    def draw(random):
        own = random.beta(rate * spread, (1 - rate) * spread, clusters)[of_cluster]
        member = divided(random, of_cluster, share)
        return (random.random(len(own)) < own).astype(float), probes(member, 1, of_cluster)

    assert false_alarms(draw) <= rare()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.4])
def test_neither_copies_nor_large_clusters_are_evidence_where_labels_are_by_chance(quick, share):
    """Rows as real ones are: copies in all numbers, clusters of 1 to 20 samples in which they differ; what stands often
    in the data, in copies or in versions, comes out often. The largest clusters do not fit into 2 % of the samples."""
    random = np.random.default_rng(1)
    sizes = random.choice([1, 2, 5, 20], 150, p=[0.75, 0.15, 0.06, 0.04])
    clusters = np.repeat(np.arange(150), sizes)
    copies = np.minimum(1 + random.geometric(0.6, len(clusters)) ** 2 - 1, 30)
    rates = np.minimum(0.03 * copies * np.sqrt(sizes[clusters]), 0.95)
    values = np.where(random.random(len(rates)) < 0.5, random.random(150)[clusters], random.random(len(rates))) < rates

    def draw(random):
        return values.astype(float), probes(divided(random, clusters, share), copies, clusters)

    assert false_alarms(draw) <= rare()


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("out_of_100", [0, 10])
def test_a_difference_as_large_as_named_is_found_four_times_in_five(monkeypatch, size, out_of_100):
    """Where the held-out rate is at the upper end of its interval. In clusters it is found more often: how alike they
    are is an estimate, and where nothing comes out taken to be entirely."""
    member, clusters = np.arange(300) < 200, np.arange(300) // size
    of, values = probes(member, 1, clusters), np.zeros(300)
    values[200 : 200 + out_of_100] = 1
    values[: 2 * out_of_100] = 1
    (test,) = judge(values, of).values()
    total = effective(values[200:], clusters[200:])
    rate = wilson(values[200:].mean() * total, total)[1]
    monkeypatch.setattr(statistics, "DRAWS", 399)
    random = np.random.default_rng(5)
    rates = rate + np.where(member, test.detectable_difference, 0)
    values = (random.random((400, 300 // size)).repeat(size, 1) < rates).astype(float)
    power = np.mean([Exchange(of_values, of, strata_of(of), of.ids >= 0).p() <= LEVEL for of_values in values])
    assert POWER - 0.06 < power < POWER + (0.06 if size == 1 else 0.2)


def test_it_is_fast_and_as_strong_as_fishers_test_for_many_probes():
    """100,000 probes, copies in 40 numbers, and some of them in clusters."""
    random = np.random.default_rng(4)
    clusters = np.arange(100_000) - np.where(np.arange(100_000) % 10 == 1, 1, 0)
    member = random.random(100_000)[clusters] > 0.1
    copies = 1 + (random.pareto(1.5, 100_000)).astype(int).clip(0, 39)
    values = (random.random(100_000) < np.where(member, 0.03, 0.02)).astype(float)
    tests = judge(values, probes(member, copies, clusters))
    assert tests["members"].evidence and tests["members"].p <= 0.001 and tests["1 copy"].evidence
