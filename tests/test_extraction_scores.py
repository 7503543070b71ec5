"""Scores of one pass and near-verbatim measures, against plain definitions, closed forms and hand-computed cases."""

import math
import zlib
from fractions import Fraction
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.extraction.matches import longest_common_token_run, near
from memorization.extraction.scores import Scores, discoverable, least, least_log_p_z, scores

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=14)


def passed(log_prob, greedy, scheme=None, mean=-2.0, std=1.0):
    """TokenScores of a suffix."""
    log_prob = np.array(log_prob, np.float32)
    scheme = log_prob if scheme is None else np.array(scheme, np.float32)
    mean, std = (np.broadcast_to(np.float32(x), log_prob.shape) for x in (mean, std))
    return SimpleNamespace(log_prob=log_prob, greedy=np.array(greedy, bool), scheme=scheme, mean=mean, std=std)


def test_scores_of_a_suffix_by_hand():
    log_prob = [-1.0, -0.5, -4.0, -0.25, -8.0, -0.5, -0.5, -1.0, -2.0, -0.25]
    given = passed(log_prob, [1, 1, 0, 1, 0, 1, 1, 1, 1, 1], [-0.5] * 10, [-2.0] * 9 + [-1.0], [2.0] * 4 + [4.0] * 6)
    measured = scores(given, "aaaa")
    assert (measured.tokens, measured.log_likelihood, measured.log_p_z) == (10, -18.0, -5.0)
    assert measured.matched_tokens == 2 and measured.extraction_strength == 0.5  # greedy from the sixth token on
    assert measured.min_k == -6.0  # of -8 and -4
    assert measured.min_k_plus == (-1.5 - 1.0) / 2  # of -8 at (-8 + 2) / 4 and -4 at (-4 + 2) / 2
    assert measured.zlib_bytes == len(zlib.compress(b"aaaa")) and measured.log_probs.tolist() == log_prob
    assert measured.greedy.tolist() == given.greedy.tolist()


@pytest.mark.parametrize(
    ("greedy", "strength", "matched"),
    [
        ([1, 1, 1, 1], 1, 4),
        ([1, 1, 1, 0], 0, 3),
        ([0, 1, 1, 1], 0.75, 0),
        ([0, 0, 0, 0], 0, 0),
        ([1], 1, 1),
        ([0], 0, 0),
    ],
)
def test_extraction_strength_counts_from_the_last_token_that_greedy_decoding_gets_wrong(greedy, strength, matched):
    measured = scores(passed([-1.0] * len(greedy), greedy), "x")
    assert (measured.extraction_strength, measured.matched_tokens) == (strength, matched)


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_extraction_strength_is_the_shortest_sufficient_prefix(greedy):
    shortest = next(n for n in range(len(greedy) + 1) if all(greedy[n:]))
    assert scores(passed([-1.0] * len(greedy), greedy), "x").extraction_strength == 1 - shortest / len(greedy)


def test_probability_zero_survives_json():
    measured = scores(passed([-1.0, -np.inf], [1, 0], [-1.0, -np.inf]), "x")
    again = msgspec.json.decode(msgspec.json.encode(measured), type=Scores)
    assert again == measured
    assert again.log_likelihood == again.log_p_z == again.min_k == "-inf"
    assert again.log_probs.tolist() == [-1.0, -math.inf]


def test_what_an_engine_does_not_give_is_missing():
    alone = passed([-1.0, -2.0], [1, 0])
    alone.greedy = alone.scheme = alone.mean = alone.std = None
    row = msgspec.json.encode(scores(alone, "x"))
    missing = {"log_p_z", "matched_tokens", "extraction_strength", "min_k_plus", "token_greedy", "token_lengths"}
    assert msgspec.json.decode(row).keys() == {*Scores.__struct_fields__} - missing
    again = msgspec.json.decode(row, type=Scores)
    assert (again.log_likelihood, again.min_k) == (-3.0, -2.0)
    assert all(getattr(again, name) is msgspec.UNSET for name in missing)


def test_a_sure_token_has_no_spread_and_rounding_gives_no_probability_over_1():
    measured = scores(passed([1e-7, 0.0], [1, 1], mean=0.0, std=0.0), "x")
    assert (measured.log_likelihood, measured.log_p_z, measured.min_k_plus) == (0, 0, 0)


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=30))
def test_the_least_fifth_is_of_the_sorted_values(values):
    number = max(1, len(values) // 5)
    assert least(np.array(values)) == pytest.approx(sum(sorted(values)[:number]) / number)


# ---- (n, p)-discoverable


@pytest.mark.parametrize("chance", [0.5, 0.9])
@pytest.mark.parametrize("denominator", [2, 3, 10, 1000, 14427])
def test_discoverable_is_the_closed_form_in_exact_arithmetic(chance, denominator):
    missed = 1 - Fraction(1, denominator)
    for n in (1, 10, 100, 1_000, 10_000):
        assert discoverable(math.log(1 / denominator), n, chance) == (1 - missed**n >= Fraction(chance))


def test_what_is_reached_exactly_is_reached_and_the_ends_are_right():
    assert discoverable(math.log(0.5), 1, 0.5) and discoverable(math.log(0.9), 1, 0.9)
    assert discoverable(0.0, 1, 0.9) and not discoverable(-np.inf, 10**9, 0.5)


@pytest.mark.parametrize("chance", [0.5, 0.9, 1e-6])
def test_the_least_probability_solves_the_equation(chance):
    """p_z = -ln(1 - p) / n, to first order."""
    for n in (1, 2, 7, 1000):
        assert 1 - (1 - math.exp(least_log_p_z(n, chance))) ** n == pytest.approx(chance, rel=1e-6)
    for n in (10**9, 10**300):
        assert least_log_p_z(n, chance) == pytest.approx(math.log(-math.log1p(-chance)) - math.log(n), abs=1e-6)


@given(st.floats(-5000, 0), st.floats(-5000, 0), st.integers(1, 10**6), st.integers(1, 10**6), st.booleans())
def test_more_queries_a_lower_chance_and_a_likelier_suffix_never_hurt(one, other, few, more, sure):
    (one, other), (few, more) = sorted((one, other)), sorted((few, more))
    chance = 0.9 if sure else 0.5
    for harder, easier in (
        ((one, few, chance), (other, few, chance)),
        ((one, few, chance), (one, more, chance)),
        ((one, few, 0.9), (one, few, 0.5)),
    ):
        assert not discoverable(*harder) or discoverable(*easier)


def test_the_closed_form_agrees_with_what_is_observed():
    """10,000 times 20 queries, each of which draws the three tokens of a suffix."""
    rng = np.random.default_rng(5)
    p = np.array([0.5, 0.6, 0.4])
    observed = (rng.random((10_000, 20, 3)) < p).all(2).any(1).mean()
    chance = 1 - (1 - p.prod()) ** 20
    assert abs(observed - chance) < 4 * math.sqrt(chance * (1 - chance) / 10_000)
    assert discoverable(np.log(p).sum(), 20, chance - 1e-6) and not discoverable(np.log(p).sum(), 20, chance + 1e-6)


# ---- near-verbatim


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[:], i
        for j, y in enumerate(b, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
    return row[-1]


def subsequence(a, b):
    row = [0] * (len(b) + 1)
    for x in a:
        above = row[:]
        for j, y in enumerate(b, 1):
            row[j] = above[j - 1] + 1 if x == y else max(above[j], row[j - 1])
    return row[-1]


@given(st.lists(st.integers(0, 3), max_size=14), tokens, st.integers(1, 16))
def test_near_verbatim_is_what_plain_dynamic_programming_gives(generation, suffix, limit):
    measured = near(generation[:limit], suffix, limit)
    target = suffix[:limit]
    compared = generation[: len(target)]
    assert measured.edit_similarity == pytest.approx(1 - levenshtein(compared, target) / len(target))
    assert measured.near_copy == (10 * levenshtein(compared, target) <= len(target))
    assert measured.rouge_l == pytest.approx(2 * subsequence(compared, target) / (len(compared) + len(target)))
    runs = [(i, j, n) for n in range(1, 15) for i in range(len(compared)) for j in range(len(target))]
    longest = max(
        (n for i, j, n in runs if compared[i : i + n] == target[j : j + n] and i + n <= len(compared)), default=0
    )
    assert measured.common_run == longest == longest_common_token_run(target, compared)


def test_near_verbatim_by_hand():
    """One word of ten lost: every later one is one place early, and the last falls out of the cut."""
    suffix = list(range(10)) + [99]
    generation = [0, 1, 2, 3, 5, 6, 7, 8, 9]
    measured = near(generation, suffix, 10)
    assert (measured.edit_similarity, measured.common_run, measured.near_copy) == (0.9, 5, True)
    assert measured.rouge_l == 18 / 19
    assert not near([50, 51, *generation[2:]], suffix, 10).near_copy
    nothing = near([], suffix, 10)
    assert (nothing.edit_similarity, nothing.rouge_l, nothing.common_run, nothing.near_copy) == (0, 0, 0, False)


def test_a_generation_that_goes_on_behind_a_short_suffix_is_cut_as_for_an_exact_match():
    assert near([1, 2, 3, 7, 7, 7], [1, 2, 3], 100).edit_similarity == 1
