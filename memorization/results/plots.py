"""The plots of a report as data: what each shows of runs beside each other, with Wilson's 95 % intervals."""

import csv
import io
from typing import NamedTuple

import numpy as np

from memorization.extraction.scores import CHANCES, queries_needed
from memorization.results import evidence
from memorization.results.columns import VERDICT, Column
from memorization.results.counts import HELD_OUT, MEMBERS, collect
from memorization.results.reports import differing
from memorization.results.statistics import wilson

MATCHED = range(10, 101)  # tokens
QUERIES = np.logspace(0, 6, 121)
RATES = ("exact_match", VERDICT)
FIELDS = ("series", "x", "y", "low", "high", "n")


class Series(NamedTuple):
    """Points of a plot: x, and y from low to high, fractions of n texts. run: its place among the runs of the report.

    x: numbers, or names of categories.
    """

    label: str
    run: int
    held_out: bool
    x: list
    y: list
    low: list
    high: list
    n: list


class Plot(NamedTuple):
    """name: of its files. kind: "points", whose intervals are bars, or "line", whose intervals are bands. log: of x.

    chance: whether the line y = x is one that guessing gives.
    """

    name: str
    title: str
    x: str
    y: str
    kind: str
    series: list[Series]
    log: bool = False
    chance: bool = False


def plots(runs):
    """All Plots of reports.Runs for which there are data, in order."""
    found = [*by_copies(runs), *matched_tokens(runs), *copied_runs(runs), *queries(runs), *roc(runs), *by_setting(runs)]
    return [plot for plot in found if plot.series]


def comma_separated(plot):
    """The data of a plot, a row a point."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(FIELDS)
    for series in plot.series:
        for point in zip(series.x, series.y, series.low, series.high, series.n, strict=True):
            writer.writerow([series.label, *point])
    return file.getvalue()


def by_copies(runs):
    """The rates of members by copies, and of held-out texts."""
    for name in RATES:
        series = []
        for place, run in enumerate(runs):
            groups = run.summary["groups"]
            named = [HELD_OUT, *(group for group in groups if group not in (MEMBERS, HELD_OUT))]
            cells = [(group, groups[group].get(name)) for group in (named if len(named) > 1 else [HELD_OUT, MEMBERS])]
            series += _of_cells(run.label, place, False, cells)
        yield Plot(
            f"copies-{name}",
            f"{_heading(runs, name)}, by copies in the training set",
            "",
            "share of texts",
            "points",
            series,
        )


def matched_tokens(runs):
    """The share of texts of which at least k tokens match, of those that have as many."""

    def values(run):
        known = {row.id: row.scores.tokens for row in run.rows if row.scores}
        probes = collect(run.rows, [_best("matched_tokens", lambda row: row.matched_tokens)])
        matched = probes.values[0]
        length = np.array([known.get(id, max(MATCHED)) for id in probes.ids.tolist()])
        for k in MATCHED:
            yield k, probes.member, np.where(np.isnan(matched) | (length < k), np.nan, matched >= k)

    title = "Texts of which the first k tokens or more match"
    yield Plot("matched-tokens", title, "tokens, k", "share of texts", "line", _sides(runs, values))


def copied_runs(runs):
    """The share of texts that hold a run of more than x characters that one sample alone holds: its own or another."""
    names = {
        "own": lambda run, row: run.holders == 1 and run.sample == row.id,
        "another": lambda run, row: run.holders == run.members == 1 and run.sample != row.id,
    }
    titles = {"own": "of their own sample alone", "another": "of one other training sample"}
    for name, counts in names.items():

        def longest(row, counts=counts):
            return max((found.characters for found in row.copied if counts(found, row)), default=0)

        end = max((longest(row) for run in runs for row in run.rows), default=0)

        def values(run, longest=longest, end=end):
            probes = collect(run.rows, [_best("longest", longest)])
            for x in range(run.summary["facts"]["span_length"], end + 5, 5):
                yield x, probes.member, (probes.values[0] > x).astype(float)

        if end:
            title = f"Texts that copy a run of over x characters {titles[name]}"
            yield Plot(f"runs-{name}", title, "characters, x", "share of texts", "line", _sides(runs, values))


def queries(runs):
    """The share of texts whose suffix comes out within n queries with a chance of p (Hayes et al. 2025)."""
    (log_p_z,) = (score for score in evidence.scores(None) if score.name == "log_p_z")
    for chance in CHANCES:

        def values(run, chance=chance):
            probes = collect(run.rows, [log_p_z])
            needed = queries_needed(probes.values[0], chance)
            for n in QUERIES.tolist():
                within = needed <= np.log(n) + 1e-9
                yield n, probes.member, np.where(np.isnan(probes.values[0]), np.nan, within)

        title = f"Suffixes that come out with a chance of {chance:g} or more"
        yield Plot(
            f"queries-{100 * chance:g}", title, "queries, n", "share of texts", "line", _sides(runs, values), log=True
        )


def roc(runs):
    """For each run how many members each score of membership finds, by how many held-out texts it takes for members."""
    for place, run in enumerate(runs):
        attacks = [score for score in evidence.scores(None) if score.name in ("loss", "zlib", "min_k", "min_k_plus")]
        shown = [score for score in attacks if score.name in run.summary["scores"]]
        probes = collect(run.rows, shown)
        series = []
        for score, of_probes in zip(shown, probes.values, strict=True):
            members, held_out = (of_probes[side & ~np.isnan(of_probes)] for side in (probes.member, ~probes.member))
            thresholds = np.unique(np.concatenate([held_out, members]))[::-1]
            alarms = 1 - np.searchsorted(np.sort(held_out), thresholds) / len(held_out)
            caught = len(members) - np.searchsorted(np.sort(members), thresholds)
            rates = np.unique(alarms)
            most = [int(caught[alarms == rate].max()) for rate in rates]
            bounds = [wilson(count, len(members)) for count in most]
            x = np.maximum(rates, 1 / (2 * len(held_out))).tolist()  # a logarithmic axis has no 0
            y = [count / len(members) for count in most]
            series.append(
                Series(
                    score.heading,
                    len(series),
                    False,
                    x,
                    y,
                    *map(list, zip(*bounds, strict=True)),
                    [len(members)] * len(x),
                )
            )
        name = "roc" if len(runs) == 1 else f"roc-{place + 1}"
        title = "What a score finds of the members" + (f": {run.label}" if len(runs) > 1 else "")
        yield Plot(
            name, title, "held-out texts taken for members", "members found", "line", series, log=True, chance=True
        )


def by_setting(runs):
    """The rates by each setting in which runs differ, where each run has a value of its own."""
    for setting, values in differing([run.manifest for run in runs]).items():
        if None in values or len(set(values)) < len(runs):
            continue
        order = range(len(runs))
        if all(isinstance(value, int | float) for value in values):
            order = sorted(order, key=lambda place: values[place])
        for name in RATES:
            series = []
            for side, held_out in ((MEMBERS, False), (HELD_OUT, True)):
                cells = [(values[place], runs[place].summary["groups"][side].get(name)) for place in order]
                series += _of_cells(side, 0, held_out, cells)
            file = "".join(letter if letter.isalnum() else "-" for letter in setting)
            title = f"{_heading(runs, name)}, by {setting.replace('_', ' ')}"
            yield Plot(f"by-{file}-{name}", title, setting.replace("_", " "), "share of texts", "points", series)


def _sides(runs, values):
    """Series of members and held-out texts. values: run -> (x, mask of members, values, NaN of none) for each x."""
    found = []
    for place, run in enumerate(runs):
        for side in (MEMBERS, HELD_OUT):
            points = []
            for x, member, of_probes in values(run):
                of_side = of_probes[member if side == MEMBERS else ~member]
                of_side = of_side[~np.isnan(of_side)]
                if len(of_side):
                    count = int(of_side.sum())
                    points.append((x, count / len(of_side), *wilson(count, len(of_side)), len(of_side)))
            label = side if len(runs) == 1 else f"{run.label}, {side}"
            if points:
                found.append(Series(label, place, side == HELD_OUT, *map(list, zip(*points, strict=True))))
    return found


def _of_cells(label, run, held_out, cells):
    """The Series, in a list, of (x, cell of a share as of counts.tally, None without); none of nothing."""
    points = [(x, cell["rate"], *cell["interval"], cell["n"]) for x, cell in cells if cell and cell["n"]]
    return [Series(label, run, held_out, *map(list, zip(*points, strict=True)))] if points else []


def _heading(runs, name):
    found = [column["heading"] for run in runs for column in run.summary["columns"] if column["name"] == name]
    return found[0] if found else name


def _best(name, value):
    """A column of which a probe of several generations has the highest value."""
    return Column(name, name, "score", value, "")
