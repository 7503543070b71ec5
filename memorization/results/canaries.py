"""What canaries tell: how exposed they are, how many come out, and a lower bound on epsilon."""

from functools import cache
from math import ceil, e, log2

import numpy as np
from scipy import stats

from memorization.results import statistics
from memorization.results.layout import estimate, grid, paragraph

DELTA = 1e-5
CONFIDENCE = 0.95
SHARES = (1, 1 / 2, 1 / 4)  # of the pairs, the surest, that are guessed


def summarize(rows, made_of):
    """What result.json holds of canaries: digits, chance, delta, confidence, unchecked, and groups by copies and all.

    rows: Exposures. made_of: of their manifest. chance: the exposure in bits of what is not known, on average. Of each
    group: pairs; planted and control, each n, exposure (mean and interval), estimated (how many of these are) and
    extracted (count, rate and Clopper-Pearson interval); epsilon of `epsilon`.
    """
    planted, control = ({row.pair: row for row in rows if row.planted == side} for side in (True, False))
    pairs = sorted(planted)
    copies = np.array([planted[pair].copies for pair in pairs])
    exposures = np.array([[side[pair].exposure for pair in pairs] for side in (planted, control)])
    groups = {f"{n} {'copy' if n == 1 else 'copies'}": copies == n for n in np.unique(copies).tolist()}
    groups |= {"all": np.ones(len(pairs), bool)} if len(groups) > 1 else {}
    found = {}
    for name, mask in groups.items():
        chosen = [pair for pair, of_group in zip(pairs, mask, strict=True) if of_group]
        found[name] = {
            "pairs": len(chosen),
            "planted": _side([planted[pair] for pair in chosen]),
            "control": _side([control[pair] for pair in chosen]),
            "epsilon": epsilon(exposures[0, mask] - exposures[1, mask]),
        }
    facts = {"digits": made_of["digits"], "chance": chance(made_of["digits"]), "unchecked": made_of["unchecked"]}
    return facts | {"delta": DELTA, "confidence": CONFIDENCE, "groups": found}


def chance(digits):
    """The mean exposure, in bits, of a secret of so many digits that is not known: all of its ranks are as likely."""
    ranks = np.arange(1, 10 ** min(digits, 6) + 1)
    return float(log2(ranks[-1]) - np.log2(ranks).mean())


def _side(rows):
    value, low, high = statistics.mean([row.exposure for row in rows])
    count = sum(row.extracted for row in rows)
    return {
        "n": len(rows),
        "exposure": {"mean": value, "interval": None if low is None else [low, high]},
        "estimated": sum(row.error is not None for row in rows),
        "extracted": {
            "n": len(rows),
            "count": count,
            "rate": count / len(rows),
            "interval": [*statistics.clopper_pearson(count, len(rows))],
        },
    }


def epsilon(differences):
    """A lower bound on the epsilon of the training, from one run of it: dict of bound, most, guesses and correct.

    differences: float array, of each pair the score of the planted canary less its control's. That the planted one is
    the one with the higher score is guessed of all pairs, and of the surest half and quarter by the absolute
    difference; a tie is a wrong guess. If the training is (epsilon, DELTA)-differentially private, as many right ones
    as there are have a chance of at most p_value; the bound is the largest epsilon that is rejected so in one of the
    three ways, each at a third of 5 %, with `correct` of `guesses`. most: it, had all guesses been right.

    Steinke, Nasr and Jagielski 2023, Theorem 5.2: there each of m examples is in the data or not by a fair coin of its
    own; here each of m pairs has one or the other of two canaries in it. The proof holds as it is, for what it takes of
    the training is that an outcome's chance changes by e^epsilon at most (but for delta) as one coin is turned. So
    epsilon is that of putting one canary, with all of its copies, in the place of another; twice the epsilon of adding
    or removing a canary is not less (but for delta). Guesses may depend on the model and on both canaries of each pair,
    but not on the coins: they do on scores alone, and which pairs are surest on absolute differences.
    """
    order, m = np.argsort(-np.abs(differences), kind="stable"), len(differences)
    bound = {"bound": 0.0, "most": 0.0, "guesses": m, "correct": int((differences > 0).sum())}
    for share in SHARES:
        guesses = ceil(m * share)
        correct = int((differences[order[:guesses]] > 0).sum())
        least = largest_rejected(m, guesses, correct)
        if least > bound["bound"]:
            bound |= {"bound": least, "guesses": guesses, "correct": correct}
        bound["most"] = max(bound["most"], largest_rejected(m, guesses, guesses))
    return bound


@cache
def largest_rejected(m, guesses, correct):
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


def p_value(m, guesses, correct, epsilon, delta=DELTA):
    """The chance of so many right guesses, at the most, of m coins under (epsilon, delta)-differential privacy.

    P[W >= correct] + 2 m delta max over i of P[correct > W >= correct - i] / i, W being binomial: of `guesses` with the
    chance e^epsilon / (1 + e^epsilon) each (Steinke et al. 2023, Theorem 5.2 and appendix D).
    """
    chance = 1 / (1 + e**-epsilon)
    beta = stats.binom.sf(correct - 1, guesses, chance)
    fewer = stats.binom.pmf(np.arange(correct - 1, -1, -1), guesses, chance).cumsum()
    alpha = (fewer / np.arange(1, correct + 1)).max(initial=0.0)
    return float(min(beta + 2 * m * delta * alpha, 1.0))


def lines(summary):
    """What `summarize` gave as lines of at most 80 columns; none for None."""
    if summary is None:
        return []
    digits, sides, groups = summary["digits"], ("planted", "control"), summary["groups"]
    body = [["", "pairs", "exposure, bits", "extracted, %", "epsilon", "at most"]]
    for name, group in groups.items():
        planted, control = ([estimate(group[side][cell]) for cell in ("exposure", "extracted")] for side in sides)
        bound = group["epsilon"]
        body.append([name, str(group["pairs"]), *planted, f">= {bound['bound']:.2f}", f"{bound['most']:.2f}"])
        body.append(["- controls", "", *control, "", ""])
    estimated = sum([*groups.values()][-1][side]["estimated"] for side in sides)  # the last group is of all
    said = f"Exposure: {digits * log2(10):.1f} bits at most, {summary['chance']:.2f} on average of what is not known"
    said += f"; {estimated} estimated. " if estimated else ". "
    said += (
        f"Extracted: greedy decoding gives the secret, by chance 1 in {10**digits:,}. Epsilon: a lower bound, delta "
    )
    said += (
        f"{summary['delta']:g}, with {100 * summary['confidence']:g} % confidence in each line, of putting one canary "
    )
    said += "with its copies in the place of another; at most: what so many pairs could show."
    unchecked = ["UNCHECKED: the model was not trained with these canaries"] if summary["unchecked"] else []
    title = "Canaries: random secrets planted in the training set, and controls kept out of it:"
    return [*unchecked, *paragraph(title), "", *grid(body), *paragraph(f"({said})"), ""]


def records(summary):
    """What `summarize` gave as dicts of a number each, as reports.comma_separated has them."""
    for name, group in (summary or {"groups": {}})["groups"].items():
        for side in ("planted", "control"):
            for metric, kind in (("exposure", "mean"), ("extracted", "share")):
                cell = group[side][metric]
                low, high = cell["interval"] or (None, None)
                row = {"group": f"{side} canaries, {name}", "metric": metric, "kind": kind, "n": group[side]["n"]}
                value = cell.get("rate", cell.get("mean"))
                yield row | {"count": cell.get("count"), "estimate": value, "low": low, "high": high}
        bound = group["epsilon"]
        row = {"group": f"canaries, {name}", "metric": "epsilon_lower_bound", "kind": "bound", "n": bound["guesses"]}
        yield row | {"count": bound["correct"], "estimate": bound["bound"], "low": bound["bound"]}
