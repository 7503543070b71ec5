"""AUC and true positive rates against scikit-learn, their definitions and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from memorization.results.roc import auc, true_positive_rate
from memorization.results.statistics import wilson

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
        passed, found, _ = roc_curve(*labelled(members, held_out), drop_intermediate=False)
        assert share == pytest.approx(found[passed <= rate + 1e-12].max())
        assert low <= share <= high


def test_delongs_variance_by_hand():
    """Members 1 and 3 against 0, 2 and 4: shares below 1/3 and 2/3, shares above 1, 1/2 and 0."""
    area, low, high = auc(np.array([1, 3]), np.array([0, 2, 4]))
    half = 1.959964 * np.sqrt((1 / 18) / 2 + 0.25 / 3) / 0.25
    assert (area, low, high) == pytest.approx((0.5, 1 / (1 + np.exp(half)), 1 / (1 + np.exp(-half))))


def test_sides_that_do_not_overlap_leave_room_and_infinities_have_their_order():
    assert auc(np.arange(9, 30), np.arange(8)) == (1.0, *wilson(8, 8))
    assert auc(np.arange(8), np.arange(9, 30)) == (0.0, *wilson(0, 8))
    assert auc(np.ones(8), np.ones(9)) == (0.5, *wilson(4, 8))
    assert auc(np.array([0.0, -np.inf]), np.array([-np.inf, -np.inf]))[0] == 0.75
    assert auc(np.array([1.0]), np.array([0.0, 2.0])) == (0.5, 0, 1)


def test_a_rate_that_so_few_texts_cannot_show_is_not_given():
    members = np.arange(50.0)
    assert true_positive_rate(members, np.zeros(99), 0.01) is None
    assert true_positive_rate(members, np.zeros(999), 0.001) is None
    assert true_positive_rate(members, np.zeros(100), 0.01) == (0.98, 0, pytest.approx(1, abs=1e-3))
    share, low, high = true_positive_rate(members, np.arange(1000.0) / 25, 0.01)
    assert share == 0.2 and 0 < low < share < high  # over 39.56, of which ten are


@pytest.mark.parametrize("kind", ["shifted", "mixture", "tied"])
def test_the_intervals_hold_what_they_promise(kind):
    """60 members: 2,000 times beside 40 held-out texts, 500 times beside 1,000; the truth from 400,000 of each."""
    rng = np.random.default_rng(5)

    def draw(member, n):
        noise = rng.normal(size=n)
        if kind == "shifted":
            return noise + member
        if kind == "mixture":
            return noise + 5 * member * (rng.random(n) < 0.3)
        return np.floor(np.exp(noise + member))

    members, held_out = draw(1, 400_000), draw(0, 400_000)
    area, share = auc(members, held_out)[0], true_positive_rate(members, held_out, 0.01)[0]
    areas = shares = 0
    for _ in range(2_000):
        members = draw(1, 60)
        _, low, high = auc(members, draw(0, 40))
        areas += low <= area <= high
    for _ in range(500):
        _, low, high = true_positive_rate(draw(1, 60), draw(0, 1_000), 0.01)
        shares += low <= share <= high
    assert areas / 2_000 >= 0.935 and shares / 500 >= 0.95
