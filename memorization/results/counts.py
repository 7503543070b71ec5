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
        generation = row.generation
        for key, name in zip(keys, ("id", "sample", "member", "duplicates", "cluster"), strict=True):
            key.append(getattr(generation, name))
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


def octaves(copies):
    """The bits of numbers of copies, int: equal for those of a group."""
    return np.frexp(copies)[1]


def grouped(probes):
    """dict name -> mask of probes: members by copies (1, 2-3, 4-7, ..., named by those they hold), members, held out.

    Where the members are one such group it is not named apart.
    """
    scale = np.where(probes.member, octaves(probes.duplicates), -1)
    groups = {}
    for bits in np.unique(scale[probes.member]):
        group = scale == bits
        least, most = probes.duplicates[group].min(), probes.duplicates[group].max()
        groups[f"{least} {'copy' if most == 1 else 'copies'}" if least == most else f"{least}-{most} copies"] = group
    return (groups if len(groups) > 1 else {}) | {MEMBERS: probes.member, HELD_OUT: ~probes.member}


def tally(groups, measured, clusters):
    """Columns counted over groups (dict name -> mask of probes), JSON-ready. measured: list of (column, its values).

    clusters: of the probes, int from 0. Returns columns (name, heading, kind, meaning), groups (name -> n and, for each
    column, its cell) and difference (column -> cell, members less held out, where both have any). A cell holds n and
    interval (95 %, by clusters), and count and rate of a share, rate of a fraction, mean of a mean. A column that says
    nothing of any probe is left out; without probes all stay.
    """
    measured = [(column, values) for column, values in measured if not len(values) or not np.isnan(values).all()]
    cells = {name: {"n": int(mask.sum())} for name, mask in groups.items()}
    differences = {}
    for column, values in measured:
        known, of_all = ~np.isnan(values), ends(column.kind, values)
        of_groups = {name: (values[mask & known], clusters[mask & known]) for name, mask in groups.items()}
        for name, of_group in of_groups.items():
            cells[name][column.name] = cell(*of_group, column.kind, of_all)
        members, held_out = of_groups[MEMBERS], of_groups[HELD_OUT]
        if len(members[0]) and len(held_out[0]):
            differences[column.name] = _difference(members, held_out, column.kind, of_all)
    shown = ("name", "heading", "kind", "meaning", "block")
    return {
        "columns": [{name: getattr(column, name) for name in shown} for column, _ in measured],
        "groups": cells,
        "difference": differences,
    }


def ends(kind, *several):
    """(least, most) that a value of a column can be: 0 and 1, but of a mean those of all known values there are."""
    if kind != "mean":
        return 0.0, 1.0
    known = np.concatenate([values[~np.isnan(values)] for values in several])
    return (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)


def cell(values, clusters, kind, ends):
    """The cell of a column's known values in a group. ends: of the column."""
    cell = {"n": len(values)}
    if kind == "share":
        count = int(values.sum())
        low, high = statistics.wilson(*_count(values, clusters)) if len(values) else (0.0, 1.0)
        return cell | {"count": count, "rate": count / len(values) if len(values) else None, "interval": [low, high]}
    value, low, high = _mean(values, clusters, ends) if len(values) else (None, None, None)
    return cell | {_name(kind): value, "interval": None if low is None else [low, high]}


def paired(values, base, clusters, kind):
    """The cell of what the values of a group's probes have over their values of another kind, paired."""
    if kind == "share":
        pairs = min(statistics.effective(of_model, clusters) for of_model in (values, base))
        value, *interval = statistics.paired_difference(values > 0, base > 0, pairs)
    else:
        most = float(np.abs(values - base).max())
        value, *interval = _mean(values - base, clusters, (-most, most))
    return {"n": len(values), _name(kind): value, "interval": None if None in interval else interval}


def _difference(a, b, kind, ends):
    """The cell of a column's values less others, each with their clusters."""
    if kind == "share":
        value, *interval = statistics.difference(*_count(*a), *_count(*b))
        return {"rate": value, "interval": interval}
    sides = _mean(*a, ends), _mean(*b, ends)
    if any(side[1] is None for side in sides):
        return {_name(kind): sides[0][0] - sides[1][0], "interval": None}
    value, *interval = statistics.apart(*sides)
    return {_name(kind): value, "interval": interval}


def _count(values, clusters):
    """(count, total) of values of 0 or 1, of as many as are independent (statistics.effective)."""
    total = statistics.effective(values, clusters)
    return float(values.sum()) * (total / len(values)), total


def _mean(values, clusters, ends):
    """The mean with an interval that is no narrower than Student's t and statistics.bounded_mean are, as (mean, low,
    high): where few values are all, their ends are not known, and where few are large, t is too narrow. (mean, None,
    None) of a single cluster."""
    (centre, *of_t), (_, *bounded) = statistics.mean(values, clusters), statistics.bounded_mean(values, clusters, *ends)
    return (centre, None, None) if None in of_t else (centre, min(of_t[0], bounded[0]), max(of_t[1], bounded[1]))


def _name(kind):
    return "mean" if kind == "mean" else "rate"
