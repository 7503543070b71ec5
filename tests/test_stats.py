"""Intervals against published worked examples and their own definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.results.statistics import Z, difference, wilson

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


@given(counts, counts)
def test_difference_turns_its_sign_with_its_sides(a, b):
    value, low, high = difference(*a, *b)
    assert difference(*b, *a) == pytest.approx((-value, -high, -low))
    assert low <= value <= high
