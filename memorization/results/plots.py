"""What each plot of a report shows, as data: points with their 95 % intervals, in the units of the tables."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from memorization.extraction.scores import CHANCES, discoverable
from memorization.results.columns import VERDICT, score_columns
from memorization.results.counts import estimate
from memorization.results.formats import comma_separated, visible
from memorization.results.result import Result
from memorization.results.roc import RATES, by_side, true_positive_rate
from memorization.results.run_names import one_setting
from memorization.results.statistics import Array
from memorization.results.summary import HELD_OUT, MEMBERS, Estimate
from memorization.results.tables import area

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


def plots_of(results: Sequence[Result]) -> list[Plot]:
    """The plots of results that have data: nothing is drawn empty."""
    plots = [*_by_copies(results), *_curves(results), *_roc(results), *_by_setting(results)]
    return [plot for plot in plots if plot.series]


def plot_csv(plot: Plot) -> str:
    """The points of a plot as rows of FIELDS; shares as they are, not in %."""
    points = ((one, zip(one.x, one.y, one.low, one.high, one.n, strict=True)) for one in plot.series)
    return comma_separated(FIELDS, ((one.label, *point) for one, of_series in points for point in of_series))


def _by_copies(results: Sequence[Result]) -> Iterator[Plot]:
    for name in ("exact_match", VERDICT):
        series = []
        for number, result in enumerate(results):
            figure = result.summary.counts.figures.get(name)
            if figure and len(figure.groups) > 2:  # members by copies, and not only all of them
                label = result.label if len(results) > 1 else MEMBERS
                points = [(group, estimate) for group, estimate in figure.groups.items() if group != MEMBERS]
                series += _estimates(label, points, number, 0)
        title = f"{_heading(results, name)} by copies in the training set"
        yield Plot(f"copies_{name}", title, "", RATE, series, "category", "bars")


def _curves(results: Sequence[Result]) -> Iterator[Plot]:
    """Shares of samples over a threshold, members and held-out texts of each result."""
    series: dict[str | float, list[Series]] = {name: [] for name in ("matched", "own", "other", *CHANCES)}
    for number, result in enumerate(results):
        member, clusters, plotted = result.plotted
        most = (result.manifest.facts["generations"] or {}).get("max_new_tokens") or MATCHED[-1]
        least = result.summary.facts.span_length
        longest = plotted["longest_any"].max(initial=0)
        lengths = np.unique(np.linspace(least, longest, STEPS).round()) if longest > least else np.array([])
        curves: list[tuple[str | float, Iterable[float], Array, Callable]] = [
            ("matched", [k for k in MATCHED if k <= most], plotted["matched_tokens"], np.greater_equal),
            ("own", lengths, plotted["longest_own"], np.greater),
            ("other", lengths, plotted["longest_another"], np.greater),
            *((p, QUERIES, plotted["best_log_p_z"], partial(discoverable, chance=p)) for p in CHANCES),
        ]
        for style, (side, name) in enumerate(((member, MEMBERS), (~member, HELD_OUT))):
            label = f"{result.label}, {name}" if len(results) > 1 else name
            for key, xs, values, is_over in curves:
                here = side & ~np.isnan(values)
                shares = ((int(x), is_over(values[here], x) * 1.0) for x in xs)
                points = [(x, estimate(share, clusters[here], "share", (0, 1))) for x, share in shares]
                series[key] += _estimates(label, points, number, style)
    title = "Texts continued word for word for k tokens or more"
    yield Plot("matched_tokens", title, "k (tokens)", RATE, series["matched"])
    for key, title in (
        ("own", "Texts of which a run comes out that only their own sample holds"),
        ("other", "Texts that bring out a run of exactly one other training sample"),
    ):
        yield Plot(f"run_{key}", title, "run of more than x characters", RATE, series[key])
    for chance in CHANCES:
        title = f"Texts that n queries give at least once with a chance of {chance:g} or more"
        yield Plot(f"queries_{100 * chance:g}", title, "n (queries)", RATE, series[chance], "log")


def _roc(results: Sequence[Result]) -> Iterator[Plot]:
    """For each result a curve a score: the share of members at each rate of held-out texts, as roc has it."""
    for number, result in enumerate(results, 1):
        (member, clusters, plotted), series = result.plotted, []
        for colour, column in enumerate(score_columns(result.summary.facts.classifier)):
            values = plotted[column.name]
            if not (score := result.summary.scores.get(column.name)):
                continue
            members, held_out, of_sides = by_side(values, member, clusters)
            total, points = len(held_out), []
            passed = np.unique(np.geomspace(1, total - 1, STEPS).round()) if total > 1 else np.array([])
            for rate in sorted({*(passed / total).tolist(), *(rate for rate in RATES if rate * total >= 1)}):
                if tpr := true_positive_rate(members, held_out, rate, of_sides):
                    share, low, high = tpr
                    points.append((rate, share, low or 0.0, high, len(members)))
            points.append((1.0, 1.0, 1.0, 1.0, len(members)))
            series.append(_series(f"{column.heading}: AUC {area(score)}", points, colour, colour // 7))
        name, title = ("roc", "") if len(results) == 1 else (f"roc_{number}", f": {result.label}")
        title = f"Telling members from held-out texts by a score{title}"
        axes = ("held-out texts that pass (%)", "members that pass (%)")
        yield Plot(name, title, *axes, series, "log", "none", True)


def _by_setting(results: Sequence[Result]) -> Iterator[Plot]:
    if len(results) < 2:
        return
    name, values = one_setting([result.manifest for result in results])
    if not name:  # then only by what each is called
        name, values = "run", tuple(result.label for result in results)
    name = name.replace("_", " ")
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    x: Sequence[Any] = values if numbers else ["none" if value is None else visible(str(value)) for value in values]
    order = sorted(range(len(results)), key=values.__getitem__) if numbers else range(len(results))
    for column in ("exact_match", VERDICT):
        series, figures = [], [result.summary.counts.figures.get(column) for result in results]
        for style, side in enumerate((MEMBERS, HELD_OUT)):
            points = [(x[i], figure.groups[side]) for i in order if (figure := figures[i])]
            series += _estimates(side, points, style, style)
        title, scale = f"{_heading(results, column)} by {name}", "linear" if numbers else "category"
        yield Plot(f"setting_{column}", title, name, RATE, series, scale, "bars")


def _estimates(label: str, estimates: Iterable[tuple[Any, Estimate]], colour: int, style: int) -> list[Series]:
    """The series of (x, estimate), none where nothing was measured."""
    points = [(x, one.value, *(one.interval or (None, None)), one.n) for x, one in estimates if one.n]
    return [_series(label, points, colour, style)] if points else []


def _series(label: str, points: Iterable[tuple], colour: int, style: int) -> Series:
    x, y, low, high, n = (list(column) for column in zip(*points, strict=True))
    return Series(label, x, y, low, high, n, colour, style)


def _heading(results: Sequence[Result], column: str) -> str:
    figures = (result.summary.counts.figures.get(column) for result in results)
    return next((figure.heading for figure in figures if figure), column).capitalize()
