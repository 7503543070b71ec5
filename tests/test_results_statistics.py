"""Intervals and tests against published worked examples, exact arithmetic, their own definition and simulation."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from memorization.results.statistics import (
    LEVEL,
    POWER,
    Z,
    detectable,
    difference,
    fisher,
    holm,
    mean,
    mean_difference,
    paired_difference,
    verdict,
    wilson,
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
    assert difference(a, m, b, n) == pytest.approx((a / m - b / n, low, high), abs=5e-5)


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
        _, low_b, high_b = difference(both + only_a, 80, both + only_b, 80)
        held += low <= 0.15 <= high
        narrower += high - low < high_b - low_b
    assert 0.94 <= held / 4_000 <= 0.97 and narrower / 4_000 > 0.99


@given(counts, counts)
def test_difference_turns_its_sign_with_its_sides(a, b):
    value, low, high = difference(*a, *b)
    assert difference(*b, *a) == pytest.approx((-value, -high, -low))
    assert low <= value <= high


def test_means_and_their_difference_have_students_and_welchs_intervals():
    a, b = [1, 4, 9, 100, 3.5], [2, 2, 7]
    student = stats.ttest_1samp(a, 0).confidence_interval()
    assert mean(a) == pytest.approx((23.5, *student))
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert mean_difference(a, b) == pytest.approx((23.5 - 11 / 3, *welch))


def test_a_single_value_has_no_interval_and_equal_values_one_of_no_width():
    assert mean([7]) == (7, None, None)
    assert mean_difference([7], [1, 2]) == (5.5, None, None)
    assert mean_difference([7, 7], [2, 2, 2]) == (5, 5, 5)


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
    found = fisher(a, total_a, b, total_b) <= level

    def power(change):
        return float(
            stats.binom.pmf(np.arange(total_a + 1), total_a, rate_b + change)
            @ found
            @ stats.binom.pmf(np.arange(total_b + 1), total_b, rate_b)
        )

    least = detectable(total_a, rate_b, total_b, level)
    assert power(least) == pytest.approx(POWER, abs=1e-4)
    assert power(least - 0.01) < POWER - 1e-3


def test_some_samples_are_too_small_for_any_difference():
    assert detectable(1, 0.0, 10, 0.05) is None  # 1 of 1 against 0 of 10: p = 1/11
    assert detectable(1, 0.0, 19, 0.05) == pytest.approx(0.8, abs=1e-5)  # p = 1/20, when that one is counted
    assert detectable(10, 1.0, 10, 0.05) is None


SIZES = [([122, 34, 12], 56), ([400, 60, 20, 5], 194), ([8, 8], 300), ([50], 50)]


@pytest.mark.parametrize("rate", [0.005, 0.03, 0.2, 0.5, 0.9])
@pytest.mark.parametrize(("sizes", "held_out"), SIZES)
def test_where_nothing_is_memorized_any_yes_is_rare(sizes, held_out, rate):
    """At most 5 % over all groups: 20,000 experiments in which members and held-out texts have the same rate."""
    random = np.random.default_rng(5)
    members = random.binomial(sizes, rate, (20_000, len(sizes)))
    totals = np.array(sizes)
    if len(sizes) > 1:
        members = np.hstack([members, members.sum(1, keepdims=True)])
        totals = np.append(totals, totals.sum())
    control = random.binomial(held_out, rate, (20_000, 1))
    p = holm(fisher(members, totals, control, held_out))
    assert (p <= LEVEL).any(1).mean() <= LEVEL


def test_a_difference_as_large_as_named_is_found_four_times_in_five():
    """One group has the difference that `verdict` named for it, the others have none: 20,000 experiments."""
    sizes, held_out, rate = {"1 copy": 120, "16 copies": 20, "members": 140}, 60, 0.05
    quiet = verdict({name: (round(rate * n), n) for name, n in sizes.items()}, (3, held_out))
    assert not any(group["evidence"] for group in quiet.values())
    random = np.random.default_rng(5)
    once = random.binomial(120, rate, 20_000)
    often = random.binomial(20, rate + quiet["16 copies"]["detectable_difference"], 20_000)
    members = np.stack([once, often, once + often], -1)
    control = random.binomial(held_out, rate, (20_000, 1))
    p = holm(fisher(members, np.array(list(sizes.values())), control, held_out))
    assert POWER - 0.01 < (p[:, 1] <= LEVEL).mean() < POWER + 0.03  # a little over: Holm may stop later


def test_memorized_copies_are_seen_where_all_members_together_show_nothing():
    found = verdict({"1 copy": (48, 1200), "16 copies": (15, 16), "members": (63, 1216)}, (8, 200))
    assert [name for name, group in found.items() if group["evidence"]] == ["16 copies"]
    assert found["16 copies"]["detectable_difference"] is None
    assert found["members"]["detectable_difference"] == detectable(1216, 0.04, 200, LEVEL / 2)
    assert found["members"]["p"] == pytest.approx(2 * fisher(63, 1216, 8, 200))
