"""Statistics of canaries: the published bounds on epsilon, how often it is over the true one, groups, tables."""

import csv
import io
from math import log

import msgspec
import numpy as np
import pytest
from scipy import stats

from memorization.extraction.exposures import Exposure
from memorization.results.canaries import (
    epsilon_bound,
    largest_rejected,
    p_value,
    summarize_canaries,
    unknown_exposure,
)
from memorization.results.comparison import as_csv
from memorization.results.result import Result
from memorization.results.statistics import clopper_pearson
from memorization.results.summarize import summarize
from memorization.results.summary import CanarySummary, Rate
from memorization.results.tables import canary_lines
from support.detection_rows import FACTS

MADE_OF = {"digits": 4, "unchecked": False}


@pytest.mark.parametrize(
    ("m", "guesses", "correct", "delta", "published"),
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.675)],  # appendix D and section 7 of Steinke et al.
)
def test_the_published_bounds(m, guesses, correct, delta, published):
    assert p_value(m, guesses, correct, published - 1e-3, delta) < 0.05
    assert p_value(m, guesses, correct, published + 2e-3, delta) > 0.05
    assert p_value(100, 100, 75, log(3), 0) == pytest.approx(0.553, abs=1e-3)


def test_without_delta_the_p_value_is_the_binomial_tail():
    for correct in range(13):
        tail = stats.binomtest(correct, 12, 1 / (1 + np.exp(-0.7)), alternative="greater").pvalue
        assert p_value(12, 12, correct, 0.7, 0) == pytest.approx(tail, rel=1e-9)
        assert p_value(12, 12, correct, 0.7, 1e-3) > tail or correct == 0


def responses(true_epsilon, pairs, trials):
    """Differences of scores under randomized response, its answers of random strength."""
    rng = np.random.default_rng((pairs, int(10 * true_epsilon)))
    right = rng.random((trials, pairs)) < 1 / (1 + np.exp(-true_epsilon))
    return np.where(right, 1, -1) * rng.exponential(size=(trials, pairs))


@pytest.mark.parametrize("true_epsilon", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("pairs", [7, 60])
def test_the_bound_is_below_the_epsilon_of_randomized_response(true_epsilon, pairs):
    bounds = np.array([epsilon_bound(one).bound for one in responses(true_epsilon, pairs, 2000)])
    assert (bounds <= true_epsilon).mean() >= 0.95
    if pairs == 60 and true_epsilon >= 1:
        assert np.median(bounds) > true_epsilon / 4


@pytest.mark.parametrize("pairs", [1, 5, 33, 100])
def test_the_bound_is_most_where_all_guesses_are_right(pairs):
    epsilon = epsilon_bound(np.linspace(1, 2, pairs))
    assert epsilon.bound == epsilon.most and epsilon.guesses == epsilon.correct == pairs
    # all right, and no delta: (e^epsilon / (1 + e^epsilon))^pairs = a third of 5 %
    rate = (0.05 / 3) ** (1 / pairs)
    assert epsilon.bound == pytest.approx(max(0, log(rate / (1 - rate))), abs=0.02)


def test_scores_that_are_useless_or_equal_or_wrong_give_no_bound():
    for differences in (np.zeros(50), -np.ones(50), np.resize([1.0, -1.0], 50)):
        assert epsilon_bound(differences).bound == 0
    assert largest_rejected(50, 50, 0) == 0


def test_the_surest_pairs_are_guessed_alone_where_that_tells_more():
    few = np.concatenate([np.full(25, 5.0), np.resize([0.1, -0.1], 75)])
    epsilon = epsilon_bound(few)
    assert (epsilon.guesses, epsilon.correct) == (25, 25)
    assert epsilon.bound > largest_rejected(100, 100, 63)


@pytest.mark.parametrize("total", [1, 9, 40])
def test_clopper_pearson_is_what_scipy_gives(total):
    for count in range(total + 1):
        wanted = stats.binomtest(count, total).proportion_ci(0.95, "exact")
        assert clopper_pearson(count, total) == pytest.approx(tuple(wanted), abs=1e-12)
    assert clopper_pearson(0, 0) == (0, 1)


def test_what_is_not_known_has_an_exposure_of_a_bit_and_a_half():
    assert unknown_exposure(1) == pytest.approx(np.mean([np.log2(10 / rank) for rank in range(1, 11)]))
    assert unknown_exposure(5) == pytest.approx(np.log2(np.e), abs=1e-3)
    assert unknown_exposure(18) == pytest.approx(np.log2(np.e), abs=1e-4)


def rows(exposures, copies):
    """Rows of pairs, planted and control in turn; extracted are exposures over 13."""
    exposures = np.ravel(exposures)
    return [
        Exposure(
            id=100 + i,
            turn=0,
            sample=0,
            pair=i // 2,
            copies=copies[i // 2],
            planted=i % 2 == 0,
            log_likelihood=-3.0,
            exposure=float(bits),
            error=0.25 if bits < 0.5 else None,
            extracted=bool(bits > 13),
        )
        for i, bits in enumerate(exposures)
    ]


def test_groups_count_their_own_pairs_whatever_the_order_of_the_rows():
    exposures = [(13.2, 1.0), (3.0, 2.0), (13.1, 0.25), (1.0, 3.0)]
    of = rows(exposures, [16, 1, 16, 1])
    summary = summarize_canaries(of[::-1], MADE_OF)
    assert [*summary.groups] == ["1 copy", "16 copies", "all"]
    once, often, both = summary.groups.values()
    assert (once.pairs, often.pairs, both.pairs) == (2, 2, 4)
    assert once.planted.exposure.mean == 2 and once.control.exposure.mean == 2.5
    assert often.planted.extracted == Rate(n=2, count=2, rate=1, interval=clopper_pearson(2, 2))
    assert both.control.estimated == 1 and both.epsilon.correct == 3
    assert msgspec.json.decode(msgspec.json.encode(summary), type=CanarySummary) == summary
    assert summary == summarize_canaries(of, MADE_OF)
    assert [*summarize_canaries(rows(exposures, [4] * 4), MADE_OF).groups] == ["4 copies"]


def test_the_table_has_80_columns_at_the_most_and_the_report_every_number():
    rng = np.random.default_rng(1)
    exposures = np.stack([rng.uniform(0, 59.79, 3000), rng.uniform(0, 5, 3000)], 1)
    canaries = summarize_canaries(rows(exposures, [1000, 4, 16] * 1000), {"digits": 18, "unchecked": True})
    lines = canary_lines(canaries)
    assert max(map(len, lines)) <= 80 and "UNCHECKED" in lines[0]
    assert sum(" copies" in line for line in lines) >= 3 and canary_lines(None) == []
    summary = summarize([], FACTS, canaries=canaries)
    records = csv.DictReader(io.StringIO(as_csv([Result("a", "a", "a", summary, [], None, None, None, None)])))
    records = {(row["group"], row["metric"]): row for row in records if "canaries" in row["group"]}
    assert len(records) == 4 * 5
    bound = records["canaries, all", "epsilon_lower_bound"]
    assert float(bound["estimate"]) == float(bound["low"]) == canaries.groups["all"].epsilon.bound
    assert records["planted canaries, 4 copies", "extracted"]["n"] == "1000"
