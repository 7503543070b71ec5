"""Attacks on membership that need the base model, against plain definitions and cases by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.extraction.engine import TokenScores
from memorization.extraction.reference_scores import WINDOWS, reference_scores
from memorization.extraction.scores import scores

eighths = st.integers(-80, 0).map(lambda number: number / 8)  # their sums are exact
texts = st.lists(st.lists(st.tuples(eighths, eighths, st.booleans()), min_size=1, max_size=60), min_size=1, max_size=5)


def scored(log_probs, greedy=None):
    greedy = None if greedy is None else np.array(greedy, bool)
    return scores(TokenScores(np.array(log_probs, np.float32), greedy), "text")


def error_zone(tuned, base, greedy):
    gains = losses = 0
    for a, b, is_greedy in zip(tuned, base, greedy, strict=True):
        if not is_greedy and a > b:
            gains += a - b
        elif not is_greedy:
            losses += b - a
    return gains / (gains + losses) if losses else 1.0, gains + losses


def window_votes(tuned, base):
    shares = []
    for window in WINDOWS:
        size = min(window, len(tuned))
        votes = [
            -sum(base[begin : begin + size]) > -sum(tuned[begin : begin + size])
            for begin in range(len(tuned) - size + 1)
        ]
        shares.append(sum(votes) / len(votes))
    return sum(shares) / len(shares)


def test_a_text_by_hand():
    tuned, base = [-1, -2, -3, -4], [-2, -1, -5, -1]  # shifts 1, -1, 2, -3
    measured = reference_scores([scored(tuned, [1, 0, 0, 0])], [scored(base)])
    assert measured.error_zone == 2 / (2 + 4) and measured.weight == 6
    # windows of 2: 0, 1, -1; of 3: 2, -2; of 4 and, as the text has no more, of all longer ones: -1
    assert measured.windows == pytest.approx((1 / 3 + 1 / 2) / 10)


@given(texts)
def test_scores_are_as_their_definitions(texts):
    sides = [[list(side) for side in zip(*text, strict=True)] for text in texts]
    measured = reference_scores([scored(a, greedy) for a, _, greedy in sides], [scored(b) for _, b, _ in sides])
    slow = [error_zone(*side) for side in sides]
    assert measured.error_zone == pytest.approx([score for score, _ in slow])
    assert measured.weight == pytest.approx([weight for _, weight in slow])
    assert measured.windows == pytest.approx([window_votes(a, b) for a, b, _ in sides])


def test_a_text_of_which_no_token_in_error_got_worse_is_the_surest():
    """All tokens are greedy, or the others got better, or did not move; a text with one that got worse is under it."""
    tuned = [scored([-1, -1], [1, 1]), scored([-1, -1], [0, 1]), scored([-3, -3], [0, 0]), scored([-1, -3.5], [0, 0])]
    measured = reference_scores(tuned, [scored([-3, -3])] * 4)
    assert measured.error_zone[:3].tolist() == [1, 1, 1] and measured.error_zone[3] == 0.8


def test_what_is_missing_has_no_score():
    """A generation without scores, an engine that does not tell greedy tokens, a probability of 0 under both models."""
    tuned = [None, scored([-1, -2]), scored([-np.inf, -1], [0, 0]), scored([-1, -1], [0, 0])]
    measured = reference_scores(tuned, [scored([-2, -2]), scored([-2, -2]), scored([-np.inf, -2]), None])
    assert np.isnan(measured.error_zone).tolist() == [True, True, False, True] and measured.error_zone[2] == 1
    assert np.isnan(measured.windows).tolist() == [True, False, False, True]
    with pytest.raises(ValueError, match="other tokens"):
        reference_scores([scored([-1])], [scored([-1, -1])])
    assert reference_scores([], []).windows.shape == (0,)
