"""Counting the columns over groups of detections."""

from memorization.results import statistics

MEMBERS, HELD_OUT = "members", "held out"


def grouped(rows):
    """dict name -> rows: members by copies (1, 2-3, 4-7, ..., named by those they really hold), members, held out.

    Where the members are one such group it is not named apart.
    """
    members = [row for row in rows if row.member]
    by_copies = {}
    for row in sorted(members, key=lambda row: row.duplicates):
        by_copies.setdefault(row.duplicates.bit_length(), []).append(row)
    groups = {}
    for group in by_copies.values() if len(by_copies) > 1 else ():
        least, most = group[0].duplicates, group[-1].duplicates
        groups[f"{least} {'copy' if most == 1 else 'copies'}" if least == most else f"{least}-{most} copies"] = group
    return groups | {MEMBERS: members, HELD_OUT: [row for row in rows if not row.member]}


def tally(groups, columns):
    """The columns counted over groups (dict name -> detections), JSON-ready.

    Returns columns (name, heading, kind, meaning), groups (name -> n and, for each column, its cell) and difference
    (column -> cell, members less held out, where both have any). A cell holds n and interval (95 %), and count and rate
    of a share, mean of a mean. What is counted is probes: one counts for a share if any of its generations does, and
    for a mean with the mean of its generations.
    """
    values = {column.name: {name: _by_probe(rows, column) for name, rows in groups.items()} for column in columns}
    columns = [column for column in columns if any(len(found) for found in values[column.name].values())]
    differences = {}
    for column in columns:
        a, b = (values[column.name].get(name, ()) for name in (MEMBERS, HELD_OUT))
        if len(a) and len(b):
            differences[column.name] = _difference(a, b, column.kind)
    return {
        "columns": [
            {name: getattr(column, name) for name in ("name", "heading", "kind", "meaning")} for column in columns
        ],
        "groups": {
            name: {
                "n": len({row.id for row in rows}),
                **{column.name: _cell(values[column.name][name], column.kind) for column in columns},
            }
            for name, rows in groups.items()
        },
        "difference": differences,
    }


def _by_probe(rows, column):
    """The column's value for each probe of these detections that it says something of."""
    values = {}
    for row in rows:
        if (value := column.value(row)) is not None:
            values.setdefault(row.id, []).append(value)
    return [max(found) if column.kind == "share" else sum(found) / len(found) for found in values.values()]


def _cell(values, kind):
    cell = {"n": len(values)}
    if kind == "share":
        count = sum(values)
        low, high = statistics.wilson(count, len(values))
        return cell | {"count": count, "rate": count / len(values) if values else None, "interval": [low, high]}
    value, low, high = statistics.mean(values) if values else (None, None, None)
    return cell | {"mean": value, "interval": None if low is None else [low, high]}


def _difference(a, b, kind):
    if kind == "share":
        value, *interval = statistics.difference(sum(a), len(a), sum(b), len(b))
        return {"rate": value, "interval": interval}
    value, *interval = statistics.mean_difference(a, b)
    return {"mean": value, "interval": None if None in interval else interval}
