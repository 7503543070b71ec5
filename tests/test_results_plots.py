"""A report's plots: their points are the tables' figures, and their drawings the same bytes each time."""

import csv
import io
import re
import warnings
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from memorization.detection.detections import Detection
from memorization.detection.kinds import DETECTIONS
from memorization.results import drawing, plots
from memorization.results.attention import AttentionComparison, HeadFigures, heat_map
from memorization.results.formats import visible
from memorization.results.result import Result
from memorization.results.run_names import labels_of, one_setting
from memorization.results.statistics import wilson
from memorization.results.summarize import measure
from memorization.store.rows import read_rows
from support.command_line import run_script
from support.detection_rows import FACTS, detection, write_detections


def rows(hits):
    """20 members in 1 or 4 copies, of which so many come out, and 10 held-out texts; two generations a probe, of which
    the second alone says anything."""
    detections = []
    for id in [*range(20), *range(1000, 1010)]:
        hit = id < hits
        same = {"duplicates": 4 if id < 10 else 1}
        detections.append(detection(id, own=9, exact_match=False, matched_tokens=3, **same))
        others = [(7, 1, 1)] if id == 15 else [(1003, 1, 0)] if id == 16 else [(id, 2, 1)] if id == 17 else []
        detections.append(
            detection(
                id, own=60 + 10 * id if hit else 9, exact_match=hit, matched_tokens=10 + id if hit else 5, sample=1,
                others=others, **same,
            )
        )  # fmt: skip
    return detections


@pytest.fixture
def make(tmp_path):
    def made(name, hits=8, **settings):
        directory = write_detections(tmp_path / name, rows(hits), **settings)
        detections, manifest = read_rows(directory / "detections.jsonl", DETECTIONS, Detection)
        detections = list(detections)
        summary, plotted, records = measure(detections, FACTS)
        return Result(name, name, str(directory), summary, detections, manifest, plotted, records, None)

    return made


def drawn(runs):
    return {plot.name: plot for plot in plots.plots_of(runs)}


def points(series):
    return list(zip(series.x, series.y, series.low, series.high, series.n, strict=True))


def point(x, rate):
    return (x, rate.rate, *rate.interval, rate.n)


def test_a_run_has_the_plots_that_its_data_give(make):
    assert list(drawn([make("a")])) == [
        "copies_exact_match", "copies_own", "matched_tokens", "run_own", "run_other", "roc"
    ]  # fmt: skip


def test_points_are_the_cells_of_the_summary(make):
    run = make("a")
    figures, plots = run.summary.counts.figures, drawn([run])
    for column in ("exact_match", "own"):
        [series] = plots[f"copies_{column}"].series
        assert series.x == ["1 copy", "4 copies", "held out"]
        assert points(series) == [point(name, figures[column].groups[name]) for name in series.x]
    for name, column in (("run_own", "own"), ("run_other", "another")):
        for series, side in zip(plots[name].series, ("members", "held out"), strict=True):
            assert points(series)[0] == point(50, figures[column].groups[side])
    assert {name for name in drawn([run, run]) if name.startswith("roc")} == {"roc_1", "roc_2"}
    assert figures["another"].groups["members"].count == 1  # and neither a held-out text's run nor one that two hold


def test_curves_count_probes_of_which_any_generation_goes_so_far(make):
    plots = drawn([make("a")])
    members, held_out = plots["matched_tokens"].series
    assert (members.x[0], members.x[-1]) == (10, 100)
    for k, y, low, high, n in points(members):
        count = max(18 - k, 0)  # matched 10 to 17
        assert (y, low, high, n) == (count / 20, *wilson(count, 20), 20)
    assert set(held_out.y) == {0} and held_out.style != members.style and held_out.colour == members.colour
    own, _ = plots["run_own"].series
    for x, y in zip(own.x, own.y, strict=True):
        assert y == sum(60 + 10 * id > x for id in range(8)) / 20


def test_roc_is_monotonous_ends_at_one_and_names_the_area_of_the_summary(make):
    run = make("a")
    [plot] = [plot for plot in plots.plots_of([run]) if plot.name == "roc"]
    for series, score in zip(plot.series, run.summary.scores.values(), strict=True):
        assert f"{score.heading}: AUC {score.auc.rate:.2f} [" in series.label
        assert series.y == sorted(series.y) and (series.x[-1], series.y[-1]) == (1, 1)
        assert all(low <= y <= high for _, y, low, high, _ in points(series))
    own = next(series for series in plot.series if series.label.startswith("own run"))
    assert own.y[0] == 8 / 20


@pytest.mark.parametrize(
    "of_runs, expected",
    [
        ([{"generations": {"prefix_length": n}, "index": {"prefix_length": n}} for n in (50, 10)],
         ("prefix_length", (50, 10))),
        ([{"training": {"num_train_epochs": 8, "epochs_done": n}} for n in (2, 8)], ("epochs_done", (2, 8))),
        ([{"training": {"num_train_epochs": n, "epochs_done": n}} for n in (2, 8)], ("epochs_done", (2, 8))),
        ([{"training": {}}, {"training": {"lora_rank": 4}}], ("lora_rank", (None, 4))),
        ([{"generations": {"temperature": 0.0}}, {"generations": {"temperature": 0.7, "seed": 1}}],
         ("temperature", (0.0, 0.7))),
        ([{"training": {"learning_rate": n, "num_train_epochs": n}} for n in (1, 2)] + [{"training": {}}], (None, ())),
        ([{"generations": {"prefix_length": n, "encoding": str(n) * 8}} for n in (10, 50)], (None, ())),
        ([{}, {}], (None, ())),
    ],
)  # fmt: skip
def test_the_one_setting_that_runs_differ_in(make, of_runs, expected):
    assert one_setting([make(str(i), **one).manifest for i, one in enumerate(of_runs)]) == expected


def test_rates_stand_against_a_numeric_setting_in_its_order(make):
    runs = [make(f"p{n}", hits, generations={"prefix_length": n}) for n, hits in ((50, 9), (10, 3))]
    members, held_out = drawn(runs)["setting_own"].series
    cells = [run.summary.counts.figures["own"].groups["members"] for run in runs]
    assert points(members) == [point(10, cells[1]), point(50, cells[0])]
    assert held_out.x == [10, 50] and set(held_out.y) == {0}


def test_runs_that_differ_in_more_stand_side_by_side(make):
    runs = [make(f"r{i}", 3 * i, training={"learning_rate": i, "lora_rank": 2 + i}) for i in range(2)]
    assert one_setting([run.manifest for run in runs]) == (None, ())
    plot = drawn(runs)["setting_own"]
    assert (plot.x_label, plot.scale) == ("run", "category")
    cells = [run.summary.counts.figures["own"].groups["members"] for run in runs]
    assert points(plot.series[0]) == [point("r0", cells[0]), point("r1", cells[1])]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([("lora", "qa"), ("full", "qa")], ["lora", "full"]),
        ([("each", "qa"), ("each", "dialogue")], ["qa", "dialogue"]),
        ([("qa", "qa"), ("both", "qa"), ("both", "dialogue")], ["qa", "both, qa", "both, dialogue"]),
        ([("full", "qa"), ("full", "qa")], ["run 1", "run 2"]),
        ([("x" * 49, "qa"), ("full", "qa")], ["run 1", "run 2"]),
        ([("full", "qa")], ["run 1"]),
    ],
)
def test_runs_with_long_names_are_labelled_by_what_they_are_called(arguments, expected):
    manifests = [SimpleNamespace(arguments={"type": type, "dataset": dataset}) for type, dataset in arguments]
    names = [f"{'long ' * 10}{i}" for i in range(len(arguments))]
    assert labels_of(manifests, names) == expected
    assert labels_of(manifests, short := [*"abc"[: len(names)]]) == short


def test_a_drawing_is_the_same_bytes_and_stands_by_itself(make):
    plot = drawn([make("a")])["matched_tokens"]._replace(title='<b> & "$x$"')
    files = drawing.draw(plot)
    assert files == drawing.draw(plot)
    text = files["svg"].decode()
    ids = {element.get("id") for element in ElementTree.fromstring(text[text.index("<svg") :]).iter()}
    assert {*re.findall(r'(?:href="|url\()#([^")]+)', text)} <= ids
    assert not re.search(r"<script|href=\"[^#]", text)


@pytest.fixture
def axes_of(monkeypatch):
    """Draw a Plot; the axes with all that is drawn in them."""
    figures, subplots = [], Figure.subplots
    monkeypatch.setattr(Figure, "subplots", lambda self: figures.append(self) or subplots(self))

    def of(plot):
        drawing.draw(plot)
        return figures[-1].axes[0]

    return of


def test_every_point_of_the_csv_is_drawn_with_its_interval(make, axes_of):
    """As lines and bands, as points with bars, and over names; the legend tells the series apart."""
    runs = [make(f"p{n}", hits, generations={"prefix_length": n}) for n, hits in ((50, 9), (10, 3))]
    for plot in [*drawn(runs).values(), drawn([make("alone")])["roc"]]:
        axes, of_csv = axes_of(plot), {}
        for row in csv.DictReader(io.StringIO(plots.plot_csv(plot))):
            of_csv.setdefault(row["series"], []).append([float(row[name]) * 100 for name in ("y", "low", "high")])
        bars = [container.lines for container in axes.containers]
        lines = [data for data, _, _ in bars] or [line for line in axes.lines if line.get_label() != "chance"]
        assert [len(line.get_xdata()) for line in lines] == [len(one) for one in of_csv.values()], plot.name
        for line, points, series in zip(lines, of_csv.values(), plot.series, strict=True):
            y, low, high = np.array(points).T
            np.testing.assert_allclose(np.array(line.get_ydata(), float), y)
            assert plot.scale == "category" or list(line.get_xdata()) == series.x
            if plot.intervals == "bars":
                [[segments]] = [each for data, _, each in bars if data is line]
                ends = np.array([segment[:, 1] for segment in segments.get_segments()])
                np.testing.assert_allclose(ends, np.stack([np.minimum(low, y), np.maximum(high, y)], 1))
            elif plot.intervals == "band":
                edge = axes.collections[lines.index(line)].get_paths()[0].vertices
                assert {*np.round(low, 6), *np.round(high, 6)} <= {*np.round(edge[:, 1], 6)}
        if len(lines) > 1:
            texts = [text.get_text().replace("\n", " ") for text in axes.get_legend().get_texts()]
            assert texts == ["chance"] * plot.chance + [series.label for series in plot.series]


NAMES = [
    "_x",
    "__",
    "\u4e2d\u6587\u6a21\u578b",
    "a\x01\x1b[2J",
    "$x$ <b>&",
    "\u202eabc",
    "\U0001f600",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_stands_in_a_drawing_as_text_and_draws_no_warning(axes_of, name):
    shown = visible(name)
    two = [plots.Series(label, [1, 2], [0.1, 0.2], [0, 0.1], [0.3, 0.4], [9, 9], 0, 0) for label in (shown, "other")]
    plot = plots.Plot("name", shown, shown, "y", two)
    one = np.array([[1.0]])
    comparison = AttentionComparison(name, "entropy", 2, 2, HeadFigures(one / 2, one, one, one, one))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axes, svg = axes_of(plot), drawing.draw(plot)["svg"].decode()
        maps = heat_map(comparison)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [shown, "other"]
    for drawing_of in (svg, maps):
        root = ElementTree.fromstring(drawing_of[drawing_of.index("<svg") :])
        assert shown in ["".join(each.itertext()).strip() for each in root.iter() if each.tag.endswith("}text")]


def test_a_report_writes_each_plot_and_replaces_it(tmp_path, make, capsys):
    make("a")
    for _ in range(2):
        assert run_script("report.py", tmp_path / "a", "--output", tmp_path / "out") == 0
    assert ", plots, " in capsys.readouterr().out
    starts = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG", ".csv": b"series,x,y,low,high,n"}
    files = sorted((tmp_path / "out" / "plots").iterdir())
    assert len(files) == 24 and all(path.read_bytes().startswith(starts[path.suffix]) for path in files)
    with (tmp_path / "out" / "plots" / "copies_own.csv").open() as file:
        first = next(csv.DictReader(file))
    low, high = wilson(0, 10)
    assert first == {"series": "members", "x": "1 copy", "y": "0.0", "low": str(low), "high": str(high), "n": "10"}
