"""Intervals and tests against published worked examples, exact arithmetic, their own definition and simulation."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memorization.results.statistics import (
    POWER,
    Z,
    bounded_mean,
    detectable,
    effective,
    fisher,
    holm,
    mean,
    paired_detectable,
    paired_difference,
    rate_difference,
    wilson,
    worth,
)

counts = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_newcombes_published_examples(count, total, low, high):
    """Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, method 3."""
    assert wilson(count, total) == pytest.approx((low, high), abs=5e-5)


@given(counts)
def test_wilsons_bounds_are_where_the_score_test_turns(pair):
    count, total = pair
    for bound in wilson(count, total):
        if 0 < bound < 1:
            assert abs(count / total - bound) == pytest.approx(Z * np.sqrt(bound * (1 - bound) / total), abs=1e-9)


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [(56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090), (10, 10, 0, 10, 0.6075, 1.0)],
)
def test_difference_gives_newcombes_published_examples(a, m, b, n, low, high):
    """Newcombe 1998, Interval estimation for the difference between independent proportions, table II, method 10."""
    assert rate_difference(a, m, b, n) == pytest.approx((a / m - b / n, low, high), abs=5e-5)


def pairs(both, only_a, only_b, neither):
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    return a, np.repeat([True, False, True, False], [both, only_a, only_b, neither])


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [((36, 12, 2, 0), 0.0569, 0.3404), ((1, 1, 7, 12), -0.5069, -0.0256)],
)
def test_paired_differences_are_the_published_examples(cells, low, high):
    """Newcombe 1998, Improved confidence intervals for the difference of paired proportions, table II; Fagerland et al.

    2014, Recommended tests and confidence intervals for paired binomial proportions, airway hyper-responsiveness.
    """
    change = (cells[1] - cells[2]) / sum(cells)
    assert paired_difference(*pairs(*cells)) == pytest.approx((change, low, high), abs=5e-5)


@given(st.tuples(*[st.integers(0, 60)] * 4).filter(any))
def test_paired_differences_turn_with_their_sides_and_hold_the_value(cells):
    a, b = pairs(*cells)
    value, low, high = paired_difference(a, b)
    assert paired_difference(b, a) == pytest.approx((-value, -high, -low))
    assert -1 <= low <= value <= high <= 1 and value == pytest.approx(a.mean() - b.mean())


def test_the_paired_interval_holds_the_true_difference():
    """19 times in 20, and narrower than the unpaired one: 4,000 experiments of 80 probes."""
    random = np.random.default_rng(5)
    held = narrower = 0
    for both, only_a, only_b, neither in random.multinomial(80, [0.3, 0.2, 0.05, 0.45], 4_000):
        _, low, high = paired_difference(*pairs(both, only_a, only_b, neither))
        _, low_b, high_b = rate_difference(both + only_a, 80, both + only_b, 80)
        held += low <= 0.15 <= high
        narrower += high - low < high_b - low_b
    assert 0.94 <= held / 4_000 <= 0.97 and narrower / 4_000 > 0.99


@given(counts, counts)
def test_difference_turns_its_sign_with_its_sides(a, b):
    value, low, high = rate_difference(*a, *b)
    assert rate_difference(*b, *a) == pytest.approx((-value, -high, -low))
    assert low <= value <= high


def test_a_mean_has_students_interval_and_a_single_value_none():
    a = [1, 4, 9, 100, 3.5]
    assert mean(a) == pytest.approx((23.5, *stats.ttest_1samp(a, 0).confidence_interval()))
    assert mean([7]) == (7, None, None)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=50).map(np.array))
def test_the_bounded_mean_of_two_values_is_a_rate(values):
    """Each is worth one, and so the interval is Wilson's."""
    alone = np.arange(len(values))
    assert worth(values, alone, 0.5) == pytest.approx(len(values)) and effective(values, alone) == len(values)
    expected = values.mean(), *wilson(values.sum(), len(values))
    assert np.array(bounded_mean(5 * values - 2, alone, -2.0, 3.0)) == pytest.approx(5 * np.array(expected) - 2)


def test_a_cluster_of_equals_is_one_value():
    values, clusters = np.repeat([1.0, 0.0, 0.0, 1.0, 0.0], 7), np.repeat([4, 2, 0, 1, 3], 7)
    assert effective(values, clusters) == pytest.approx(5)
    assert bounded_mean(np.full(9, 3.0), np.arange(9), 3.0, 3.0) == (3, 3, 3)


def latent(random, experiments, clusters, size, correlation):
    """Normal values in clusters, of shape (experiments, values)."""
    own = random.normal(size=(experiments, clusters, size))
    shared = random.normal(size=(experiments, clusters, 1))
    return (np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own).reshape(experiments, -1)


@pytest.mark.parametrize("correlation", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_the_intervals_of_clustered_rates_hold_them(correlation, rate):
    """Rates of 30 and of 20 clusters of 5, their difference, and the paired difference, 1,000 times; counted one by one
    as if they were independent they would miss in up to a third."""
    random, threshold = np.random.default_rng(5), stats.norm.ppf(rate)
    held = np.zeros(3)
    of_a, of_b = np.repeat(np.arange(30), 5), np.repeat(np.arange(20), 5)
    for a, b, c in zip(*(latent(random, 1000, n, 5, correlation) < threshold for n in (30, 20, 30)), strict=True):
        total_a, total_b, total_c = effective(a * 1.0, of_a), effective(b * 1.0, of_b), effective(c * 1.0, of_a)
        low, high = wilson(a.mean() * total_a, total_a)
        held[0] += low <= rate <= high
        _, low, high = rate_difference(a.mean() * total_a, total_a, b.mean() * total_b, total_b)
        held[1] += low <= 0 <= high
        _, low, high = paired_difference(a, c, min(total_a, total_c))
        held[2] += low <= 0 <= high
    assert (held >= 935).all()


@pytest.mark.parametrize("kind", ["most are 0", "most are 0, in clusters", "all or nothing", "none alike"])
@pytest.mark.parametrize("number", [15, 60])
def test_the_interval_of_a_mean_holds_it(kind, number):
    """Of 1,000 samples. Student's t misses the first kind in 40 % and in 14 % of them."""
    random = np.random.default_rng(6)

    def draw(samples, number):
        if kind == "none alike":
            return np.minimum(random.exponential(9, (samples, number)), 100)
        if kind == "all or nothing":
            return 100 * (random.random((samples, number)) < 0.35)
        large = np.where(random.random((samples, number)) < 0.5, 100, 1 + random.integers(0, 9, (samples, number)))
        return np.where(random.random((samples, number)) < 0.1, large, 0)

    times = 3 if "clusters" in kind else 1
    truth, clusters = draw(1, 400_000).mean(), np.repeat(np.arange(number), times)
    intervals = [bounded_mean(np.repeat(of, times), clusters, 0.0, 100.0)[1:] for of in draw(1000, number)]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.93


@given(counts, counts)
def test_fisher_is_the_exact_share_of_the_tables_at_least_as_extreme(a, b):
    (count_a, total_a), (count_b, total_b) = a, b
    together = count_a + count_b
    extreme = sum(comb(total_a, k) * comb(total_b, together - k) for k in range(count_a, min(total_a, together) + 1))
    assert fisher(count_a, total_a, count_b, total_b) == pytest.approx(extreme / comb(total_a + total_b, together))


def test_holm_gives_its_definition_row_by_row():
    p = np.array([[0.01, 0.04, 0.03, 0.005], [0.5, 0.01, 0.6, 0.9]])
    expected = [[0.03, 0.06, 0.06, 0.02], [1, 0.04, 1, 1]]
    assert holm(p) == pytest.approx(np.array(expected))
    assert holm([0.2]) == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("total_a", "rate_b", "total_b", "level"),
    [(12, 0.0, 56, 0.0125), (168, 0.05, 56, 0.05), (40, 0.6, 30, 0.025), (300, 0.02, 200, 0.01)],
)
def test_the_detectable_difference_has_the_power_it_claims(total_a, rate_b, total_b, level):
    """The power summed over every table, and smaller a little below."""
    a, b = np.mgrid[: total_a + 1, : total_b + 1]
    significant = fisher(a, total_a, b, total_b) <= level

    def power(change):
        return float(
            stats.binom.pmf(np.arange(total_a + 1), total_a, rate_b + change)
            @ significant
            @ stats.binom.pmf(np.arange(total_b + 1), total_b, rate_b)
        )

    least = detectable(total_a, rate_b, total_b, level)
    assert power(least) == pytest.approx(POWER, abs=1e-4)
    assert power(least - 0.01) < POWER - 1e-3


def test_some_samples_are_too_small_for_any_difference():
    assert detectable(1, 0.0, 10, 0.05) is None  # 1 of 1 against 0 of 10: p = 1/11
    assert detectable(1, 0.0, 19, 0.05) == pytest.approx(0.8, abs=1e-5)  # p = 1/20, when that one is counted
    assert detectable(10, 1.0, 10, 0.05) is None


def test_of_many_counts_the_detectable_difference_is_as_good_as_exact(monkeypatch):
    exact = detectable(3000, 0.3, 2000, 0.02)
    monkeypatch.setattr("memorization.results.statistics.FINE", 40)
    assert detectable(3000, 0.3, 2000, 0.02) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(("total", "rate", "level"), [(12, 0.0, 0.025), (80, 0.05, 0.05), (300, 0.01, 0.01)])
def test_the_detectable_paired_difference_has_the_power_it_claims(total, rate, level):
    random, change = np.random.default_rng(5), paired_detectable(total, rate, level)
    only_a, only_b, _ = random.multinomial(total, [rate + change, rate, 1 - 2 * rate - change], 20_000).T
    p = stats.binom.sf(only_a - 1, only_a + only_b, 0.5)
    assert (p <= level).mean() == pytest.approx(POWER, abs=0.012)
    assert paired_detectable(3, 0.0, 0.05) is None  # 3 of 3: p = 1/8
