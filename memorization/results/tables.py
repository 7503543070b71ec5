"""Counting labels: rates with intervals for members (by number of copies) and non-members, as JSON and as a table."""

from collections import Counter

from memorization.detection.labels import LABELS, MEANINGS
from memorization.results.statistics import difference, wilson

COUNTERS = ("verbatim", "paraphrase", "paraphrase_low", "idea", "none")


def summarize(rows, label="label"):
    """Counts and rates of a label column over detection rows: dict group -> label -> count, rate, interval.

    Groups: members, non_members, and members by copies in the training set. "any" counts every label but none.
    Beside them `difference`: each rate in members less that in non-members, with its interval.
    """
    groups = {"members": [row for row in rows if row["member"]]}
    groups["non_members"] = [row for row in rows if not row["member"]]
    summary = {name: _rates(group, label) for name, group in groups.items()}
    summary["members_by_copies"] = {name: _rates(group, label) for name, group in _by_copies(groups["members"]).items()}
    a, b = summary["members"], summary["non_members"]
    if a["generations"] and b["generations"]:
        summary["difference"] = {}
        for name in (*LABELS, "any"):
            value, low, high = difference(a[name]["count"], a["generations"], b[name]["count"], b["generations"])
            summary["difference"][name] = {"rate": value, "interval": [low, high]}
    return summary


def published_counts(rows):
    """The published counters: first labels of members, repeated prefixes counted once."""
    first = {row["prefix"]: row for row in reversed(rows) if row["member"]}
    return Counter(row["first_label"] for row in first.values())


def published_line(counts):
    """The published five counters in a line; where no classifier was asked, the unverified ones are a sixth."""
    names = COUNTERS + (("unverified",) if counts["unverified"] else ())
    return " ".join(f"{name}: {counts[name]}" for name in names) + "\n"


def table(summary):
    """The rates of a summary as a table in plain text, with what its columns mean."""
    columns = [
        name
        for name in LABELS
        if name == "verbatim" or any(summary[group][name]["count"] for group in ("members", "non_members"))
    ]
    copies = summary["members_by_copies"]
    lines = [(f"members, {name}", group) for name, group in copies.items()] if len(copies) > 1 else []
    lines += [("members, all", summary["members"]), ("non-members (held out)", summary["non_members"])]
    names = [*columns, "any"]
    body = [["", "generations", *columns, "any of these"]]
    body += [[name, str(group["generations"]), *(_cell(group, label) for label in names)] for name, group in lines]
    more = []
    if "difference" in summary:
        differences = summary["difference"]
        body.append(["members - non-members", "", *(_signed(differences[label]) for label in names)])
        more = [label for label in columns if differences[label]["interval"][0] > 0]
    widths = [max(map(len, column)) for column in zip(*body, strict=True)]
    text = ["Memorization rate: share of generations so labelled (95 % interval)", ""]
    for first, *cells in body:
        cells = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        text.append("  ".join([first.ljust(widths[0]), *cells]))
    if "difference" in summary:
        beyond = f"yes ({', '.join(more)})" if more else "not shown by this many generations"
        text += ["", f"Are members reproduced more often than held-out texts, beyond chance? {beyond}"]
    return "\n".join([*text, "", *(f"{name}: {MEANINGS[name]}" for name in columns)])


def _cell(group, label):
    if not group["generations"]:
        return "-"
    rate, (low, high) = group[label]["rate"], group[label]["interval"]
    return f"{100 * rate:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _signed(change):
    low, high = change["interval"]
    return f"{100 * change['rate']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def _rates(rows, label):
    counts, total = Counter(row[label] for row in rows), len(rows)
    counts = {**{label: counts[label] for label in LABELS}, "any": total - counts["none"]}
    return {"generations": total} | {
        name: {"count": count, "rate": count / total if total else None, "interval": list(wilson(count, total))}
        for name, count in counts.items()
    }


def _by_copies(members):
    """Members in groups of 1, 2-3, 4-7, ... copies, each named by the copies that it really holds."""
    groups = {}
    for row in sorted(members, key=lambda row: row["duplicates"]):
        groups.setdefault(row["duplicates"].bit_length(), []).append(row)
    named = {}
    for group in groups.values():
        least, most = group[0]["duplicates"], group[-1]["duplicates"]
        named[f"{least} {'copy' if most == 1 else 'copies'}" if least == most else f"{least}-{most} copies"] = group
    return named
