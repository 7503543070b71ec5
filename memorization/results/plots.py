"""What each plot of a report shows, as data: points with their 95 % intervals, in the units of the tables."""

import csv
import io
from typing import NamedTuple

import numpy as np

from memorization.extraction.scores import CHANCES, discoverable
from memorization.results import evidence
from memorization.results.columns import VERDICT, Column
from memorization.results.counts import HELD_OUT, MEMBERS, cell, collect
from memorization.results.differences import setting
from memorization.results.layout import visible
from memorization.results.roc import RATES, true_positive_rate

MATCHED = range(10, 101)  # tokens
QUERIES = np.unique(np.round(np.logspace(0, 6, 61)))  # n of (n, p)
STEPS = 60  # points of a curve over characters, or over rates of false positives
RATE = "share of texts (%)"
FIELDS = ("series", "x", "y", "low", "high", "n")


class Series(NamedTuple):
    """A line of a plot. y, low, high: from 0 to 1, x and n of each point. colour: its number. style: 0 is drawn solid,
    others dashed, as held-out texts are.
    """

    label: str
    x: list
    y: list
    low: list
    high: list
    n: list
    colour: int
    style: int


class Plot(NamedTuple):
    """name: of its files. scale: of x, "linear", "log" or "category" (x are then names). intervals: "bars", "band" or
    "none", where the labels have them. chance: whether y = x, what a guess gives, is drawn.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: list[Series]
    scale: str = "linear"
    intervals: str = "band"
    chance: bool = False


def plots(runs):
    """The Plots of any number of reports.Run that have data: nothing is drawn empty."""
    found = [*_by_copies(runs), *_curves(runs), *_roc(runs), *_by_setting(runs)]
    return [plot for plot in found if plot.series]


def comma_separated(plot):
    """The points of a plot as rows of FIELDS; shares as they are, not in %."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(FIELDS)
    for one in plot.series:
        writer.writerows((one.label, *point) for point in zip(one.x, one.y, one.low, one.high, one.n, strict=True))
    return file.getvalue()


def _by_copies(runs):
    for column in ("exact_match", VERDICT):
        series = []
        for number, run in enumerate(runs):
            groups = [(name, cells[column]) for name, cells in run.summary["groups"].items() if column in cells]
            if len(groups) > 2:  # members by copies, and not only all of them
                label = run.label if len(runs) > 1 else MEMBERS
                series.append(_cells(label, [one for one in groups if one[0] != MEMBERS], number, 0))
        what = _heading(runs, column)
        yield Plot(
            f"copies_{column}", f"{what} by copies in the training set", "", RATE, [s for s in series if s], "category",
            "bars",
        )  # fmt: skip


def _curves(runs):
    """Shares of probes over a threshold, members and held-out texts of each run."""
    own = Column("own", "", "score", _longest("own"), "")
    other = Column("other", "", "score", _longest("another"), "")
    matched = Column("matched", "", "score", lambda row: row.generation.matched_tokens, "")
    [log_p_z] = (column for column in evidence.scores(None) if column.name == "log_p_z")
    series = {"matched": [], "own": [], "other": []} | {chance: [] for chance in CHANCES}
    for number, run in enumerate(runs):
        probes = collect(run.rows, [matched, own, other, log_p_z])
        tokens, own_runs, other_runs, log_p = probes.values
        _, clusters = np.unique(probes.clusters, return_inverse=True)
        tokens_most = (run.manifest.facts["generations"] or {}).get("max_new_tokens") or MATCHED[-1]
        ks = [k for k in MATCHED if k <= tokens_most]
        least = run.summary["facts"]["span_length"]
        longest = max((one.length for row in run.rows for one in row.copied), default=0)
        lengths = np.unique(np.linspace(least, longest, STEPS).round()) if longest > least else np.array([])
        for style, (side, name) in enumerate(((probes.member, MEMBERS), (~probes.member, HELD_OUT))):
            label = f"{run.label}, {name}" if len(runs) > 1 else name

            def add(key, xs, values, over, label=label, number=number, style=style, side=side, clusters=clusters):
                here = side & ~np.isnan(values)
                if here.any() and len(xs):
                    cells = [cell(over(values[here], x) * 1.0, clusters[here], "share", (0, 1)) for x in xs]
                    points = zip(map(int, xs), cells, strict=True)
                    series[key].append(_cells(label, points, number, style))

            add("matched", ks, tokens, np.greater_equal)
            add("own", lengths, own_runs, np.greater)
            add("other", lengths, other_runs, np.greater)
            for chance in CHANCES:
                add(chance, QUERIES, log_p, lambda known, n, chance=chance: discoverable(known, n, chance))
    yield Plot("matched_tokens", "Texts continued word for word for k tokens or more", "k (tokens)", RATE,
               series["matched"])  # fmt: skip
    for key, title in (
        ("own", "Texts of which a run comes out that only their own sample holds"),
        ("other", "Texts that bring out a run of exactly one other training sample"),
    ):
        yield Plot(f"run_{key}", title, "run of more than x characters", RATE, series[key])
    for chance in CHANCES:
        title = f"Texts that n queries give at least once with a chance of {chance:g} or more"
        yield Plot(f"queries_{100 * chance:g}", title, "n (queries)", RATE, series[chance], "log")


def _roc(runs):
    """For each run a curve a score; the share of members at each rate of held-out texts, as roc has it."""
    for number, run in enumerate(runs, 1):
        columns = evidence.scores(run.summary["facts"]["classifier"])
        probes, series = collect(run.rows, columns), []
        _, clusters = np.unique(probes.clusters, return_inverse=True)
        for colour, (column, values) in enumerate(zip(columns, probes.values, strict=True)):
            if not (score := run.summary["scores"].get(column.name)):
                continue
            sides = [side & ~np.isnan(values) for side in (probes.member, ~probes.member)]
            (members, held_out), of_sides = ([array[side] for side in sides] for array in (values, clusters))
            total = len(held_out)
            passed = np.unique(np.geomspace(1, total - 1, STEPS).round()) if total > 1 else np.array([])
            rates = sorted({*(passed / total).tolist(), *(rate for rate in RATES if rate * total >= 1)})
            found = ((rate, *true_positive_rate(members, held_out, rate, of_sides)) for rate in rates)
            points = [(rate, share, low or 0.0, high, len(members)) for rate, share, low, high in found]
            points.append((1.0, 1.0, 1.0, 1.0, len(members)))
            (low, high), area = score["auc"]["interval"], score["auc"]["rate"]
            label = f"{column.heading}: AUC {area:.2f} [{low:.2f}, {high:.2f}]"
            series.append(_series(label, points, colour, colour // 7))
        name, title = ("roc", "") if len(runs) == 1 else (f"roc_{number}", f": {run.label}")
        yield Plot(
            name, f"Telling members from held-out texts by a score{title}", "held-out texts that pass (%)",
            "members that pass (%)", series, "log", "none", True,
        )  # fmt: skip


def _by_setting(runs):
    if len(runs) < 2:
        return
    name, values = setting([run.manifest for run in runs])
    if not name:  # then only by what each is called
        name, values = "run", [run.label for run in runs]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if numbers:
        at, order = values, sorted(range(len(runs)), key=values.__getitem__)
    else:
        at, order = ["none" if value is None else visible(str(value)) for value in values], range(len(runs))
    for column in ("exact_match", VERDICT):
        series = []
        for style, side in enumerate((MEMBERS, HELD_OUT)):
            cells = [(at[i], runs[i].summary["groups"][side].get(column)) for i in order]
            series.append(_cells(side, [(x, cell) for x, cell in cells if cell], style, style))
        said = name.replace("_", " ")
        yield Plot(
            f"setting_{column}", f"{_heading(runs, column)} by {said}", said, RATE, [one for one in series if one],
            "linear" if numbers else "category", "bars",
        )  # fmt: skip


def _longest(whose):
    """Row -> the length of its longest run of that holder (Copied.whose), 0 without."""
    return lambda row: max((run.length for run in row.copied if run.whose(row.generation.cluster) == whose), default=0)


def _cells(label, cells, colour, style):
    points = [(x, cell["rate"], *cell["interval"], cell["n"]) for x, cell in cells if cell["n"]]
    return _series(label, points, colour, style) if points else None


def _series(label, points, colour, style):
    return Series(label, *map(list, zip(*points, strict=True)), colour, style)


def _heading(runs, column):
    found = (c["heading"] for run in runs for c in run.summary["columns"] if c["name"] == column)
    return next(found, column).capitalize()
