"""Attacks on membership that compare the tokens of a suffix under the tuned model and under its base model."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memorization.extraction.scores import Scores

WINDOWS = (2, 3, 4, 6, 9, 13, 18, 25, 32, 40)  # tokens; as in the configuration that the authors of WBC published
LEAST = -1e4  # a log probability under it counts as this


class ReferenceScores(NamedTuple):
    """Of suffixes: float64, NaN where they cannot be computed. All from 0 to 1, higher for likelier members.

    With the shift of a token, its log probability under the tuned model less that under the base model:

    error_zone: gains / (gains + losses), of the tokens that the tuned model does not predict greedily the sums of the
    shifts over 0 and, without their sign, of those under 0. It orders texts as gains / losses does, the score EZ of
    Ilić et al. 2026 (arXiv 2601.12104, 3.4). 1 where no such token got worse: the surest, as their appendix says; their
    code gives 0 there. weight: gains + losses; by it the mean of several texts is the score of all their tokens.

    windows: of all runs of w tokens the share whose shifts add up to more than 0, averaged over WINDOWS: WBC of Chen et
    al. 2026 (arXiv 2601.02751, 4.1). A text of fewer than w tokens is one window, as in their code. Their formula of
    the sizes, a geometric series from 2 to 40, rounds to others than their configuration has; here are the latter.
    """

    error_zone: np.ndarray
    weight: np.ndarray
    windows: np.ndarray


def reference_scores(tuned: Sequence[Scores | None], base: Sequence[Scores | None]) -> ReferenceScores:
    """The ReferenceScores of suffixes. tuned, base: the Scores of each through either model, None where it has none.

    Raises ValueError for scores of other numbers of tokens.
    """
    results = ReferenceScores(*(np.full(len(tuned), np.nan) for _ in ReferenceScores._fields))
    pairs = [(i, a, b) for i, (a, b) in enumerate(zip(tuned, base, strict=True)) if a and b]
    pairs = [(i, a, b) for i, a, b in pairs if len(a.log_probs) and len(b.log_probs)]
    if any(a.tokens != b.tokens for _, a, b in pairs):
        raise ValueError("the base model's scores are of other tokens")
    if not pairs:
        return results
    places, lengths = np.array([i for i, *_ in pairs]), np.array([a.tokens for _, a, _ in pairs])
    is_token = np.arange(lengths.max()) < lengths[:, None]
    shifts = np.zeros(is_token.shape)
    of_tuned, of_base = (
        np.concatenate([one.log_probs for one in of_model]).astype(np.float64).clip(LEAST)
        for of_model in ([a for _, a, _ in pairs], [b for *_, b in pairs])
    )
    shifts[is_token] = of_tuned - of_base
    results.windows[places] = _windows(shifts, lengths)
    has_greedy = np.array([len(a.greedy) > 0 for _, a, _ in pairs])
    if has_greedy.any():
        places, is_token, misses = places[has_greedy], is_token[has_greedy], np.zeros(shifts[has_greedy].shape)
        misses[is_token] = ~np.concatenate([a.greedy for _, a, _ in pairs if len(a.greedy)])
        gains, losses = ((sign * shifts[has_greedy]).clip(0) * misses for sign in (1, -1))
        gains, total = gains.sum(1), gains.sum(1) + losses.sum(1)
        results.error_zone[places] = np.divide(gains, total, out=np.ones(len(total)), where=total > 0)
        results.weight[places] = total
    return results


def _windows(shifts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The scores of WBC. shifts: of the tokens, [texts, tokens], 0 behind the ends of the texts."""
    texts, width = shifts.shape
    sums = np.concatenate([np.zeros((texts, 1)), np.cumsum(shifts, axis=1)], axis=1)
    total = np.zeros(texts)
    for window in WINDOWS:
        number = lengths - window + 1
        over = sums[:, window:] > sums[:, : max(width + 1 - window, 0)]
        is_window = np.arange(over.shape[1]) < number[:, None]
        total += np.where(number > 0, (over & is_window).sum(1) / number.clip(1), sums[:, -1] > 0)
    return total / len(WINDOWS)
