"""What canaries tell: how exposed they are, how many come out, and a lower bound on epsilon."""

from collections.abc import Iterable, Mapping
from functools import cache
from math import ceil, e, log2
from typing import Any

import numpy as np
from scipy import stats

from memorization.extraction.exposures import Exposure
from memorization.results import statistics
from memorization.results.statistics import Array
from memorization.results.summary import CanaryGroup, CanarySide, CanarySummary, Epsilon, Mean, Rate

DELTA = 1e-5
CONFIDENCE = 0.95
SHARES = (1, 1 / 2, 1 / 4)  # of the pairs, the surest, that are guessed


def summarize_canaries(rows: Iterable[Exposure], made_of: Mapping[str, Any]) -> CanarySummary:
    """The canaries in figures, by copies and all. made_of: of the manifest of the rows."""
    planted: dict[int, Exposure] = {}
    control: dict[int, Exposure] = {}
    for row in rows:
        (planted if row.planted else control)[row.pair] = row
    pairs = sorted(planted)
    copies = np.array([planted[pair].copies for pair in pairs])
    exposures = np.array([[side[pair].exposure for pair in pairs] for side in (planted, control)])
    masks = {f"{n} {'copy' if n == 1 else 'copies'}": copies == n for n in np.unique(copies).tolist()}
    masks |= {"all": np.ones(len(pairs), bool)} if len(masks) > 1 else {}
    groups = {}
    for name, mask in masks.items():
        chosen = [pair for pair, of_group in zip(pairs, mask, strict=True) if of_group]
        groups[name] = CanaryGroup(
            len(chosen),
            _side([planted[pair] for pair in chosen]),
            _side([control[pair] for pair in chosen]),
            epsilon_bound(exposures[0, mask] - exposures[1, mask]),
        )
    digits = made_of["digits"]
    return CanarySummary(digits, unknown_exposure(digits), made_of["unchecked"], DELTA, CONFIDENCE, groups)


def unknown_exposure(digits: int) -> float:
    """The mean exposure, in bits, of a secret of so many digits that is not known: all its ranks are equally likely."""
    ranks = np.arange(1, 10 ** min(digits, 6) + 1)
    return float(log2(ranks[-1]) - np.log2(ranks).mean())


def _side(rows: list[Exposure]) -> CanarySide:
    value, low, high = statistics.mean([row.exposure for row in rows])
    count, n = sum(row.extracted for row in rows), len(rows)
    return CanarySide(
        n,
        Mean(mean=value, interval=None if low is None or high is None else (low, high)),
        sum(row.error is not None for row in rows),
        Rate(n=n, count=count, rate=count / n, interval=statistics.clopper_pearson(count, n)),
    )


def epsilon_bound(differences: Array) -> Epsilon:
    """A lower bound on the epsilon of the training, from one run of it.

    differences: float array, of each pair the score of the planted canary less that of its control. The planted canary
    is guessed to be the one with the higher score, in all pairs, and in the surest half and quarter by the absolute
    difference; a tie is a wrong guess. If the training is (epsilon, DELTA)-differentially private, so many correct
    guesses have a chance of at most p_value. The bound is the largest epsilon that is rejected in one of the three
    ways, each at a third of 5 %, with `correct` of `guesses`.

    Steinke, Nasr and Jagielski 2023, Theorem 5.2: there each of m examples is in the data or not, by a fair coin of its
    own; here each of m pairs has one or the other of two canaries in it. The proof holds as it is: all it needs of the
    training is that turning one coin changes an outcome's chance by e^epsilon at most (but for delta). So epsilon is
    that of putting one canary, with all of its copies, in the place of another; twice the epsilon of adding or removing
    a canary is not less (but for delta). Guesses may depend on the model and on both canaries of each pair, but not on
    the coins: they depend on scores alone, and which pairs are surest on absolute differences.
    """
    order, m = np.argsort(-np.abs(differences), kind="stable"), len(differences)
    epsilon = Epsilon(bound=0.0, most=0.0, guesses=m, correct=int((differences > 0).sum()))
    for share in SHARES:
        guesses = ceil(m * share)
        correct = int((differences[order[:guesses]] > 0).sum())
        bound = largest_rejected(m, guesses, correct)
        if bound > epsilon.bound:
            epsilon.bound, epsilon.guesses, epsilon.correct = bound, guesses, correct
        epsilon.most = max(epsilon.most, largest_rejected(m, guesses, guesses))
    return epsilon


@cache
def largest_rejected(m: int, guesses: int, correct: int) -> float:
    """The largest epsilon, 0 if there is none, whose p_value is under its part of 5 %, found to 1e-6 from below."""
    level = (1 - CONFIDENCE) / len(SHARES)
    if p_value(m, guesses, correct, 0.0) >= level:
        return 0.0
    least, most = 0.0, 1.0
    while p_value(m, guesses, correct, most) < level:
        least, most = most, 2 * most
    while most - least > 1e-6:
        middle = (least + most) / 2
        least, most = (middle, most) if p_value(m, guesses, correct, middle) < level else (least, middle)
    return least


def p_value(m: int, guesses: int, correct: int, epsilon: float, delta: float = DELTA) -> float:
    """The largest chance of so many correct guesses, of m coins under (epsilon, delta)-differential privacy.

    P[W >= correct] + 2 m delta max over i of P[correct > W >= correct - i] / i, W being binomial: of `guesses` with the
    chance e^epsilon / (1 + e^epsilon) each (Steinke et al. 2023, Theorem 5.2 and appendix D).
    """
    chance = 1 / (1 + e**-epsilon)
    beta = stats.binom.sf(correct - 1, guesses, chance)
    fewer = stats.binom.pmf(np.arange(correct - 1, -1, -1), guesses, chance).cumsum()
    alpha = (fewer / np.arange(1, correct + 1)).max(initial=0.0)
    return float(min(beta + 2 * m * delta * alpha, 1.0))
