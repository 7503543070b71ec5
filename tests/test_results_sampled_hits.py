"""(n, p)-discoverable extraction where an engine gives generations alone: a bound that holds."""

import numpy as np
import pytest

from memorization.results.sampled_hits import HitCounter, discovered
from memorization.results.summarize import summarize
from memorization.results.tables import summary_text
from support.detection_rows import detection, facts

TEXTS = {"scores": "an endpoint without log probabilities"}


def rows_of(hits, samples=20, **fields):
    """Generations of each id, of which so many are exact."""
    return [
        detection(id, sample=sample, exact_match=bool(sample < number), **fields)
        for id, number in hits.items()
        for sample in range(samples)
    ]


def test_the_bound_is_that_of_clopper_and_pearson_of_the_likeliest_turn():
    counter = HitCounter()
    for row in [*rows_of({1: 20, 3: 1, 9: 0}), *rows_of({3: 20}, turn=1), detection(4, exact_match=None)]:
        counter.add(row)
    bounds = counter.bounds(np.array([1, 3, 4, 9]))
    np.testing.assert_allclose(bounds[[0, 1]], np.log(0.05) / 20)  # p^20 = 0.05
    assert np.isnan(bounds[2]) and bounds[3] == -np.inf
    np.testing.assert_array_equal(discovered(bounds, 1, 0.5), [1, 1, np.nan, 0])


def test_the_table_has_the_bound_and_says_so():
    summary = summarize(rows_of({1: 20, 2: 20, 3: 1, 1000: 0}), facts(not_computed=TEXTS))
    rates = {name: summary.counts.figures[name].groups["members"].count for name in ("within_1_50", "within_1_90")}
    assert rates == {"within_1_50": 2, "within_1_90": 0}
    assert summary.counts.figures["within_1000_90"].groups["members"].count == 3  # 1 of 20: at least 0.26 %
    assert summary.counts.figures["within_10000_50"].groups["held out"].count == 0
    text = " ".join(summary_text(summary).split())
    assert "n 1,000, p 0.9" in text and "lower end of its one-sided 95 % interval" in text
    assert "n 1,000, p 0.9" not in " ".join(summary.not_computed[TEXTS["scores"]])


@pytest.mark.parametrize("reasons", [{}, TEXTS])
def test_one_generation_a_probe_bounds_nothing(reasons):
    summary = summarize(rows_of({1: 1, 1000: 0}, samples=1), facts(not_computed=reasons))
    assert not [name for name in summary.counts.figures if name.startswith("within")]


@pytest.mark.parametrize(("p", "samples"), [(0.02, 20), (0.3, 10), (0.9, 30)])
def test_the_bound_is_over_the_truth_once_in_twenty_at_most(p, samples):
    random, counter, probes = np.random.default_rng(3), HitCounter(), 2000
    for row in rows_of(dict(enumerate(random.binomial(samples, p, probes))), samples):
        counter.add(row)
    over = np.mean(counter.bounds(np.arange(probes)) > np.log(p))
    assert over <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / probes)
