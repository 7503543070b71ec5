"""Counting the columns over groups of probes, from one pass over the detections."""

from array import array
from typing import NamedTuple

import numpy as np

from memorization.results import statistics

MEMBERS, HELD_OUT = "members", "held out"


class Probes(NamedTuple):
    """Probes in the order of their ids. clusters: of their samples, int64.

    values: for each column float64, NaN where it says nothing of a probe.
    """

    ids: np.ndarray
    member: np.ndarray
    duplicates: np.ndarray
    clusters: np.ndarray
    values: list[np.ndarray]
    generations: int
    generations_a_probe: int


def collect(rows, columns):
    """The Probes of detections, which may be any iterable: no row is kept.

    A probe of several generations has a share if any of them has it, a score as the best of them, and of a mean or a
    fraction their mean.
    """
    keys = [array("q") for _ in range(5)]
    values = [array("d") for _ in columns]
    for row in rows:
        for column, value in zip(keys, (row.id, row.sample, row.member, row.duplicates, row.cluster), strict=True):
            column.append(value)
        for column, into in zip(columns, values, strict=True):
            into.append(np.nan if (value := column.value(row)) is None else value)
    ids, samples, member, duplicates, clusters = (np.asarray(key) for key in keys)
    distinct, first, probe = np.unique(ids, return_index=True, return_inverse=True)
    folded = []
    for column, of_rows in zip(columns, map(np.asarray, values), strict=True):
        if column.kind in ("share", "score"):
            folded.append(np.full(len(first), np.nan))
            np.fmax.at(folded[-1], probe, of_rows)
        else:
            known = ~np.isnan(of_rows)
            count = np.bincount(probe[known], minlength=len(first))
            total = np.bincount(probe[known], of_rows[known], len(first))
            folded.append(np.divide(total, count, out=np.full(len(first), np.nan), where=count > 0))
    most = int(samples.max()) + 1 if len(samples) else 1
    of_probes = (member[first].astype(bool), duplicates[first], clusters[first])
    return Probes(distinct, *of_probes, folded, len(ids), most)


def grouped(probes):
    """dict name -> mask of probes: members by copies (1, 2-3, 4-7, ..., named by those they hold), members, held out.

    Where the members are one such group it is not named apart.
    """
    scale = np.where(probes.member, np.frexp(probes.duplicates)[1], -1)  # the bits of the number of copies
    groups = {}
    for bits in np.unique(scale[probes.member]):
        group = scale == bits
        least, most = probes.duplicates[group].min(), probes.duplicates[group].max()
        groups[f"{least} {'copy' if most == 1 else 'copies'}" if least == most else f"{least}-{most} copies"] = group
    return (groups if len(groups) > 1 else {}) | {MEMBERS: probes.member, HELD_OUT: ~probes.member}


def tally(groups, measured):
    """Columns counted over groups (dict name -> mask of probes), JSON-ready. measured: list of (column, its values).

    Returns columns (name, heading, kind, meaning), groups (name -> n and, for each column, its cell) and difference
    (column -> cell, members less held out, where both have any). A cell holds n and interval (95 %), and count and rate
    of a share, rate of a fraction, mean of a mean. A column that says nothing of any probe is left out; without probes
    all stay.
    """
    measured = [(column, values) for column, values in measured if not len(values) or not np.isnan(values).all()]
    cells = {name: {"n": int(mask.sum())} for name, mask in groups.items()}
    differences = {}
    for column, values in measured:
        found = {name: values[mask & ~np.isnan(values)] for name, mask in groups.items()}
        for name, of_group in found.items():
            cells[name][column.name] = cell(of_group, column.kind)
        if len(found[MEMBERS]) and len(found[HELD_OUT]):
            differences[column.name] = _difference(found[MEMBERS], found[HELD_OUT], column.kind)
    shown = ("name", "heading", "kind", "meaning", "block")
    return {
        "columns": [{name: getattr(column, name) for name in shown} for column, _ in measured],
        "groups": cells,
        "difference": differences,
    }


def cell(values, kind):
    """The cell of a column's known values in a group."""
    cell = {"n": len(values)}
    if kind == "share":
        count = int(values.sum())
        low, high = statistics.wilson(count, len(values))
        return cell | {"count": count, "rate": count / len(values) if len(values) else None, "interval": [low, high]}
    value, low, high = statistics.mean(values) if len(values) else (None, None, None)
    return cell | {_name(kind): value, "interval": None if low is None else [low, high]}


def paired(values, base, kind):
    """The cell of what the values of a group's probes have over their values of another kind, paired."""
    if kind == "share":
        value, *interval = statistics.paired_difference(values > 0, base > 0)
    else:
        value, *interval = statistics.mean(values - base)
    return {"n": len(values), _name(kind): value, "interval": None if None in interval else interval}


def _difference(a, b, kind):
    if kind == "share":
        value, *interval = statistics.difference(int(a.sum()), len(a), int(b.sum()), len(b))
        return {"rate": value, "interval": interval}
    value, *interval = statistics.mean_difference(a, b)
    return {_name(kind): value, "interval": None if None in interval else interval}


def _name(kind):
    return "mean" if kind == "mean" else "rate"
