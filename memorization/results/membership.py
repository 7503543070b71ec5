"""How well each score tells members from held-out texts: the area under its ROC curve, and the share it would catch."""

from math import ceil, log, log1p

import numpy as np

from memorization.results.layout import estimate, grid, paragraph
from memorization.results.roc import RATES, TAIL, auc, true_positive_rate


def measure(columns, values, member, clusters):
    """What result.json holds of the scores: dict name -> heading, meaning, n, auc, tpr by rate of false positives.

    columns: of evidence.scores. values: for each column that of every probe, NaN where it has none. member: bool, of
    every probe. clusters: of them, int from 0. n: of members and held-out texts. auc and each tpr: rate and interval
    (95 %; roc), a tpr None where it is not resolvable; the interval of a tpr begins with None where there is no lower
    bound. A score that a side lacks is left out.
    """
    found = {}
    for column, of_probes in zip(columns, values, strict=True):
        sides = [side & ~np.isnan(of_probes) for side in (member, ~member)]
        (members, held_out), of_sides = ([array[side] for side in sides] for array in (of_probes, clusters))
        if not len(members) or not len(held_out):
            continue
        rates = {f"{rate:g}": true_positive_rate(members, held_out, rate, of_sides) for rate in RATES}
        found[column.name] = {
            "heading": column.heading,
            "meaning": column.meaning,
            "n": [len(members), len(held_out)],
            "auc": _cell(auc(members, held_out, of_sides)),
            "tpr": {rate: share and _cell(share) for rate, share in rates.items()},
        }
    return found


def lines(found):
    """The scores as lines of the table; none where there are none."""
    if not found:
        return []
    shown = resolved([found])
    body = [headings(shown), *([score["heading"], *cells(score, shown)] for score in found.values())]
    said = "How well a score tells members from held-out texts, with 95 % intervals:"
    return [*paragraph(said), "", *grid(body), *explained([found]), ""]


def resolved(several):
    """The rates of false positives that any score of several such results resolves."""
    scores = [score for found in several for score in found.values()]
    return [rate for rate in map("{:g}".format, RATES) if any(score["tpr"][rate] for score in scores)]


def headings(rates):
    return ["", "AUC", *(f"TPR at {100 * float(rate):g} % FPR" for rate in rates)]


def cells(score, rates):
    """The area and the shares of a score, in %, as text."""
    low, high = score["auc"]["interval"]
    area = f"{score['auc']['rate']:.2f} [{low:.2f}, {high:.2f}]"
    return [area, *(_share(score["tpr"][rate]) for rate in rates)]


def _share(cell):
    if cell is None:
        return "not resolvable"
    low, high = cell["interval"]
    if low is not None:
        return estimate(cell)
    return f"{estimate(cell | {'interval': None})} [-, {estimate({'rate': high, 'interval': None})}]"


def explained(several):
    """How the scores of several such results are to be read, as lines."""
    least = min((score["n"][1] for found in several for score in found.values()), default=0)
    if not least:
        return []
    short = [rate for rate in RATES if least * rate < 1]
    missing = ", ".join(f"{100 * rate:g} % takes {1 / rate:,.0f}" for rate in short)
    missing = f" Not resolvable with {least} held-out texts: {missing}." if short else ""
    unbounded = {
        rate: score["n"][1]
        for found in several
        for score in found.values()
        for rate, cell in score["tpr"].items()
        if cell and cell["interval"][0] is None
    }
    for rate, held_out in unbounded.items():
        missing += f" [-, ...]: no lower bound at {100 * float(rate):g} % from {held_out} held-out samples"
        missing += f", it takes {ceil(log(TAIL) / log1p(-float(rate)))} that are no near-duplicates."
    return paragraph(
        "(AUC: how often a member scores higher than a held-out text; 0.5 is chance. TPR at 1 % FPR: the share of "
        f"members over the 99th percentile of held-out texts.{missing} An AUC near 0.5 says that this score does not "
        "see who was a member, not that nothing is memorized.)"
    )


def _cell(found):
    value, *interval = found
    return {"rate": value, "interval": interval}
