"""AUC and true positive rates against scikit-learn, their definitions and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from memorization.results.roc import auc, true_positive_rate
from memorization.results.statistics import rate_difference, wilson

values = st.lists(st.one_of(st.integers(-3, 3), st.floats(-9, 9)), min_size=1, max_size=30).map(np.array)


def labelled(members, held_out):
    return np.r_[np.ones(len(members)), np.zeros(len(held_out))], np.concatenate([members, held_out])


@given(values, values)
def test_the_area_is_scikit_learns(members, held_out):
    area, low, high = auc(members, held_out)
    assert area == pytest.approx(roc_auc_score(*labelled(members, held_out)))
    assert 0 <= low <= area + 1e-12 and area - 1e-12 <= high <= 1


@given(values, st.lists(st.integers(-3, 3), min_size=20, max_size=40).map(np.array))
def test_the_true_positive_rate_is_scikit_learns(members, held_out):
    for rate in (0.05, 0.1, 0.25):
        share, low, high = true_positive_rate(members, held_out, rate)
        passed, true_rates, _ = roc_curve(*labelled(members, held_out), drop_intermediate=False)
        assert share == pytest.approx(true_rates[passed <= rate + 1e-12].max())
        assert (low or 0) <= share <= high


@given(*[st.lists(st.booleans(), min_size=1, max_size=40).map(lambda side: np.array(side, float))] * 2)
def test_the_interval_of_a_score_of_two_values_is_newcombes(members, held_out):
    area, low, high = auc(members, held_out)
    change, least, most = rate_difference(members.sum(), len(members), held_out.sum(), len(held_out))
    assert area == pytest.approx(0.5 + change / 2)
    if len({*members, *held_out}) > 1:
        assert (low, high) == pytest.approx((0.5 + least / 2, 0.5 + most / 2))
    else:  # others could be on either side
        half = np.hypot(wilson(0, len(members))[1], wilson(0, len(held_out))[1]) / 2
        assert (low, high) == pytest.approx((max(0.5 - half, 0), min(0.5 + half, 1)))


@given(values, values)
def test_the_interval_turns_with_the_sides_and_does_not_depend_on_the_scale(members, held_out):
    _, low, high = auc(members, held_out)
    assert auc(held_out, members)[1:] == pytest.approx((1 - high, 1 - low))
    assert auc(4 * members, 4 * held_out)[1:] == pytest.approx((low, high))


def test_sides_that_do_not_overlap_leave_room_and_infinities_have_their_order():
    room = np.hypot((1 - 1 / 16) * (1 - wilson(21, 21)[0]), (1 - 1 / 42) * (1 - wilson(8, 8)[0]))
    assert auc(np.arange(9.0, 30), np.arange(8.0)) == pytest.approx((1, 1 - room, 1))
    assert auc(np.arange(8.0), np.arange(9.0, 30)) == pytest.approx((0, 0, room))
    assert auc(np.array([0.0, -np.inf]), np.array([-np.inf, -np.inf]))[0] == 0.75
    area, low, high = auc(np.array([1.0]), np.array([0.0, 2.0]))
    assert area == 0.5 and low < 0.1 and high > 0.9


def test_a_rate_that_so_few_texts_cannot_show_is_not_given():
    members = np.arange(50.0)
    assert true_positive_rate(members, np.zeros(99), 0.01) is None
    assert true_positive_rate(members, np.zeros(999), 0.001) is None
    assert true_positive_rate(members, np.zeros(100), 0.01) == (0.98, None, pytest.approx(1, abs=1e-3))
    share, low, high = true_positive_rate(members, np.arange(1000.0) / 25, 0.01)
    assert share == 0.2 and 0 < low < share < high  # over 39.56, of which ten are


@pytest.mark.parametrize("kind", ["shifted", "mixture", "far apart", "tied", "most are 0", "almost all are 0"])
@pytest.mark.parametrize("sides", [(60, 40), (30, 200)])
def test_the_intervals_of_areas_hold_them(kind, sides):
    """600 times; the truth is from 400,000 of each. Where almost all are 0, DeLong's misses in 25 to 30 %."""
    rng = np.random.default_rng(5)

    def draw(member, n):
        noise = rng.normal(size=n)
        if kind == "shifted":
            return noise + member
        if kind == "far apart":
            return noise + 3 * member
        if kind == "mixture":
            return noise + 5 * member * (rng.random(n) < 0.3)
        if kind == "tied":
            return np.floor(np.exp(noise + member))
        larger = 0.02 if kind == "almost all are 0" else 0.12 if member else 0.03
        return np.where(rng.random(n) < larger, 1 + rng.integers(0, 50, n), 0)

    truth = auc(draw(1, 400_000), draw(0, 400_000))[0]
    intervals = [auc(draw(1, sides[0]), draw(0, sides[1]))[1:] for _ in range(600)]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.93


@pytest.mark.parametrize("kind", ["shifted", "mixture", "tied"])
def test_the_intervals_of_true_positive_rates_hold_them(kind):
    """60 members beside 1,000 held-out texts, 300 times; in clusters of 5, which are alike, as often."""
    rng = np.random.default_rng(5)

    def draw(member, n, size=1):
        noise = np.repeat(rng.normal(size=n), size) * np.sqrt(0.6) + rng.normal(size=n * size) * np.sqrt(0.4)
        if kind == "shifted":
            return noise + member
        if kind == "mixture":
            return noise + 5 * member * (rng.random(n * size) < 0.3)
        return np.floor(np.exp(noise + member))

    share, held = true_positive_rate(draw(1, 400_000), draw(0, 400_000), 0.01)[0], np.zeros(2)
    for size in (1, 5):
        clusters = [np.repeat(np.arange(n), size) for n in (60, 1000)]
        for _ in range(300 // size):
            _, low, high = true_positive_rate(draw(1, 60, size), draw(0, 1000, size), 0.01, clusters)
            held[int(size > 1)] += (low or 0) <= share <= high
    assert (held >= [285, 57]).all()


@pytest.mark.parametrize("correlation", [0.1, 0.3, 0.6])
def test_the_intervals_of_areas_know_clusters(correlation):
    """24 clusters of 5 members beside 16 of held-out texts, 500 times; one by one they would miss in 9 to 28 %."""
    rng, truth = np.random.default_rng(5), stats.norm.cdf(1 / np.sqrt(2))

    def draw(member, n):
        alike, own = rng.normal(size=n).repeat(5), rng.normal(size=5 * n)
        return np.sqrt(correlation) * alike + np.sqrt(1 - correlation) * own + member

    clusters = [np.repeat(np.arange(n), 5) for n in (24, 16)]
    intervals = [auc(draw(1, 24), draw(0, 16), clusters)[1:] for _ in range(500)]
    assert np.mean([low <= truth <= high for low, high in intervals]) >= 0.93
