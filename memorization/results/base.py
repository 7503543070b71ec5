"""The same probes through the model before fine-tuning, and what fine-tuning added, probe by probe."""

import numpy as np

from memorization.results.counts import HELD_OUT, MEMBERS, cell, ends, paired
from memorization.results.layout import estimate, grid, paragraph, visible

SHOWN = ("exact_match", "near_copy", "own", "verbatim", "matched_tokens", "edit_similarity", "rouge_l")
SHOWN += ("extraction_strength", "loss", "within_100_50")


def compare(groups, columns, values, base, clusters):
    """What result.json holds of the base model: its groups, and the difference, tuned less base, by group.

    groups: dict name -> mask of probes. columns: those compared. values, base: for each column that of every probe, of
    either model, NaN where it says nothing. clusters: of the probes, int from 0. Only probes that a column says
    something of in both count. Cells are those of counts; a difference is paired (counts.paired).
    """
    of_base = {name: {"n": int(mask.sum())} for name, mask in groups.items()}
    difference = {name: {} for name in groups}
    for column, of_column, before in zip(columns, values, base, strict=True):
        known, of_all = ~np.isnan(of_column) & ~np.isnan(before), ends(column.kind, of_column, before)
        for name, mask in groups.items() if known.any() else ():
            here = mask & known
            of_base[name][column.name] = cell(before[here], clusters[here], column.kind, of_all)
            if here.any():
                difference[name][column.name] = paired(of_column[here], before[here], clusters[here], column.kind)
    return {"groups": of_base, "difference": difference}


def rows(summary, side, heading):
    """(heading of a column, base, tuned, difference) of a side, members or held out; none without a base model."""
    if (base := summary["base"]) is None:
        return []
    return [
        (
            heading(column),
            estimate(base["groups"][side][name]),
            estimate(summary["groups"][side][name]),
            estimate(base["difference"][side][name], True),
        )
        for column in summary["columns"]
        if (name := column["name"]) in SHOWN and name in base["difference"][side]
    ]


def lines(summary, heading):
    """What fine-tuning added, as lines of the table; none without a base model. heading: of a column."""
    if summary["base"] is None:
        return []
    found = []
    for side in (MEMBERS, HELD_OUT):
        body = rows(summary, side, heading)
        found += ["", *grid([[side, "base", "tuned", "paired difference"], *body])] if body else []
    said = f"What fine-tuning added, the same probes through the base model {visible(str(summary['facts']['base']))}:"
    return [*paragraph(said), *found, ""]
