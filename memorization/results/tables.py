"""Counting the columns over groups of detections: as JSON, and as tables in plain text of at most 80 columns."""

from collections import Counter

import numpy as np

from memorization.results import statistics
from memorization.results.columns import MAIN, VERDICT, columns, label_columns
from memorization.results.layout import estimate, grid, paragraph

COUNTERS = ("verbatim", "paraphrase", "paraphrase_low", "idea", "none")
MEMBERS, HELD_OUT = "members", "held out"


def summarize(rows, facts):
    """What result.json holds of detections: facts, columns, groups, difference (see `tally`) and verdict.

    facts: what made them, JSON-ready: span_length, direction, classifier (None without), and what the table is to name
    (profile, model, unchecked). Under without_scan and first_label, and under paper with direction both, stands the
    same tally of the labels without the span scan, by the published rule, and in direction paper. The verdict is
    statistics.verdict for members by copies and all, or None without members or held-out texts.
    """
    groups = grouped(rows)
    direction = "paper" if facts["direction"] == "paper" else "pan"
    summary = {
        "facts": facts,
        "generations": len(rows),
        "generations_a_probe": max((row.sample for row in rows), default=0) + 1,
        **tally(groups, columns(facts["span_length"], facts["classifier"], direction)),
    }
    pairs = {
        name: (group[VERDICT]["count"], group["n"]) for name, group in summary["groups"].items() if name != HELD_OUT
    }
    held_out = summary["groups"][HELD_OUT]
    summary["verdict"] = None
    if held_out["n"] and all(n for _, n in pairs.values()):
        summary["verdict"] = statistics.verdict(pairs, (held_out[VERDICT]["count"], held_out["n"]))
    labels = {
        "without_scan": (lambda row: row.labels.label_without_scan, direction),
        "first_label": (lambda row: row.labels.first_label, direction),
    }
    if any(row.paper for row in rows):
        labels["paper"] = (lambda row: row.paper.label, "paper")
    for name, (label, of) in labels.items():
        summary[name] = tally(groups, label_columns(label, facts["classifier"], of))
    return summary


def grouped(rows):
    """dict name -> rows: members by copies (1, 2-3, 4-7, ..., named by those they really hold), members, held out.

    Members who all have as many copies are one group.
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


def published_counts(rows):
    """The published counters: first labels of members, repeated prefixes counted once; in direction paper if asked."""
    first = {row.prefix: row for row in reversed(rows) if row.member}
    return Counter((row.paper or row.labels).first_label for row in first.values())


def published_line(counts):
    """The published five counters in a line; where no classifier was asked, the unverified ones are a sixth."""
    names = COUNTERS + (("unverified",) if counts["unverified"] else ())
    return " ".join(f"{name}: {counts[name]}" for name in names) + "\n"


def table(summary):
    """A summary as plain text: what was measured, every column, the main ones by group, the verdict, the meanings."""
    facts, groups, columns = summary["facts"], summary["groups"], summary["columns"]
    several = summary["generations_a_probe"] > 1
    lines = ["UNCHECKED: members and held-out texts may not be what the model was trained on"] * bool(
        facts.get("unchecked")
    )
    lines += ["Memorization: what a model repeats of its training texts, and of texts held out", ""]
    made = [f"{summary['generations']} generations ({summary['generations_a_probe']} a probe)"]
    made += [
        f"{name} {facts[name] or 'none'}" for name in ("model", "profile", "direction", "classifier") if name in facts
    ]
    lines += paragraph(", ".join(made))
    counted = "probes of which any generation does so" if several else "generations that do so"
    lines += ["", *paragraph(f"Share of {counted}, in %, with its 95 % interval:"), ""]
    sides = [groups[MEMBERS], groups[HELD_OUT]]
    body = [["", MEMBERS, HELD_OUT, "difference"], ["probes", *(str(side["n"]) for side in sides), ""]]
    for column in columns:
        name = column["name"]
        change = summary["difference"].get(name)
        cells = [*(estimate(side[name]) for side in sides), estimate(change, True) if change else "-"]
        body.append([heading(column), *cells])
    lines += grid(body)
    main = [column for column in columns if column["name"] in MAIN]
    if len(groups) > 2:
        body = [["", "probes", *map(heading, main)]]
        for name, group in groups.items():
            body.append([name, str(group["n"]), *(estimate(group[column["name"]]) for column in main)])
        lines += ["", *paragraph("The same by copies in the training set:"), "", *grid(body)]
    lines += ["", *verdict(summary), ""]
    headings = {}
    for column in columns:
        headings.setdefault(column["meaning"], []).append(column["heading"])
    for meaning, named in headings.items():
        lines += paragraph(f"{', '.join(named)}: {meaning}", 4)
    return "\n".join(lines)


def heading(column):
    """What a column is called in a table."""
    return column["heading"] + (", mean" if column["kind"] == "mean" else "")


def verdict(summary):
    """The verdict of a summary in words, as lines."""
    if summary["verdict"] is None:
        return paragraph("Verdict: none, for want of members and held-out texts to compare.")
    groups = summary["verdict"]
    yes = sum(group["evidence"] for group in groups.values())
    more = "members come out more often than held-out texts do, beyond chance"
    if yes:
        lines = paragraph(f"Verdict: yes, {more}{f', in {yes} of {len(groups)} groups' * (len(groups) > 1)}.")
    else:
        lines = paragraph(f"Verdict: no evidence at this sample size that {more}.")
    room = min(max(map(len, groups)), 24)
    for name, group in groups.items():
        p = f"p = {group['p']:.2g}" if group["p"] >= 0.0001 else "p < 0.0001"
        if group["evidence"]:
            said = f"yes ({p})"
        elif group["detectable_difference"] is None:
            said = f"no evidence ({p}); no difference, however large, would have been found with 80 % power"
        else:
            points = f"{100 * group['detectable_difference']:.1f} points"
            said = f"no evidence ({p}); a difference of {points} would have been found with 80 % power"
        lines += paragraph(f"  {name.ljust(room)}  {said}", room + 4)
    (column,) = (column for column in summary["columns"] if column["name"] == VERDICT)
    lines += paragraph(
        f"(By {column['heading']}, the column named in advance; Fisher's exact test, one-sided, corrected by Holm for "
        f"{len(groups)} {'groups' if len(groups) > 1 else 'group'}: any false yes has a chance of at most 5 %.)"
    )
    return lines


def _by_probe(rows, column):
    """The column's value for each probe of these detections that it says something of."""
    values = {}
    for row in rows:
        if (value := column.value(row)) is not None:
            values.setdefault(row.id, []).append(value)
    return [max(found) if column.kind == "share" else float(np.mean(found)) for found in values.values()]


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
