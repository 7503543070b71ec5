"""A report's plots: their points are the tables' figures, and their drawings the same bytes each time."""

import csv
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from detections import FACTS, detection, write_detections
from shell import run_script

from memorization.detection.detections import Detection
from memorization.results import drawing, plots
from memorization.results.differences import labels, setting
from memorization.results.reports import Run
from memorization.results.statistics import wilson
from memorization.results.tables import summarize
from memorization.rows import read_rows


def rows(hits):
    """20 members in 1 or 4 copies, of which so many come out, and 10 held-out texts; two generations a probe, of which
    the second alone says anything."""
    found = []
    for id in [*range(20), *range(1000, 1010)]:
        said = id < hits
        same = {"duplicates": 4 if id < 10 else 1}
        found.append(detection(id, own=9, exact_match=False, matched_tokens=3, **same))
        others = [(7, 1, 1)] if id == 15 else [(1003, 1, 0)] if id == 16 else [(id, 2, 1)] if id == 17 else []
        found.append(
            detection(
                id, own=60 + 10 * id if said else 9, exact_match=said, matched_tokens=10 + id if said else 5, sample=1,
                others=others, **same,
            )
        )  # fmt: skip
    return found


@pytest.fixture
def make(tmp_path):
    def made(name, hits=8, **settings):
        directory = write_detections(tmp_path / name, rows(hits), **settings)
        found, manifest = read_rows(directory / "detections.jsonl", "detections", Detection)
        found = list(found)
        return Run(name, name, str(directory), summarize(found, FACTS), found, manifest)

    return made


def drawn(runs):
    return {plot.name: plot for plot in plots.plots(runs)}


def points(series):
    return list(zip(series.x, series.y, series.low, series.high, series.n, strict=True))


def point(x, cell):
    return (x, cell["rate"], *cell["interval"], cell["n"])


def test_a_run_has_the_plots_that_its_data_give(make):
    assert list(drawn([make("a")])) == [
        "copies_exact_match", "copies_own", "matched_tokens", "run_own", "run_other", "roc"
    ]  # fmt: skip


def test_points_are_the_cells_of_the_summary(make):
    run = make("a")
    groups, found = run.summary["groups"], drawn([run])
    for column in ("exact_match", "own"):
        [series] = found[f"copies_{column}"].series
        assert series.x == ["1 copy", "4 copies", "held out"]
        assert points(series) == [point(name, groups[name][column]) for name in series.x]
    for name, column in (("run_own", "own"), ("run_other", "another")):
        for series, side in zip(found[name].series, ("members", "held out"), strict=True):
            assert points(series)[0] == point(50, groups[side][column])
    assert groups["members"]["another"]["count"] == 1  # and neither a held-out text's run nor one that two hold


def test_curves_count_probes_of_which_any_generation_goes_so_far(make):
    found = drawn([make("a")])
    members, held_out = found["matched_tokens"].series
    assert (members.x[0], members.x[-1]) == (10, 100)
    for k, y, low, high, n in points(members):
        count = max(18 - k, 0)  # matched 10 to 17
        assert (y, low, high, n) == (count / 20, *wilson(count, 20), 20)
    assert set(held_out.y) == {0} and held_out.style != members.style and held_out.colour == members.colour
    own, _ = found["run_own"].series
    for x, y in zip(own.x, own.y, strict=True):
        assert y == sum(60 + 10 * id > x for id in range(8)) / 20


def test_roc_is_monotonous_ends_at_one_and_names_the_area_of_the_summary(make):
    run = make("a")
    [plot] = [plot for plot in plots.plots([run]) if plot.name == "roc"]
    for series, score in zip(plot.series, run.summary["scores"].values(), strict=True):
        assert f"{score['heading']}: AUC {score['auc']['rate']:.2f} [" in series.label
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
    assert setting([make(str(i), **one).manifest for i, one in enumerate(of_runs)]) == expected


def test_rates_stand_against_a_numeric_setting_in_its_order(make):
    runs = [make(f"p{n}", hits, generations={"prefix_length": n}) for n, hits in ((50, 9), (10, 3))]
    members, held_out = drawn(runs)["setting_own"].series
    cells = [run.summary["groups"]["members"]["own"] for run in runs]
    assert points(members) == [point(10, cells[1]), point(50, cells[0])]
    assert held_out.x == [10, 50] and set(held_out.y) == {0}


def test_runs_that_differ_in_more_stand_side_by_side(make):
    runs = [make(f"r{i}", 3 * i, training={"learning_rate": i, "lora_rank": 2 + i}) for i in range(2)]
    assert setting([run.manifest for run in runs]) == (None, ())
    plot = drawn(runs)["setting_own"]
    assert (plot.x_label, plot.scale) == ("run", "category")
    cells = [run.summary["groups"]["members"]["own"] for run in runs]
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
    assert labels(manifests, names) == expected
    assert labels(manifests, short := [*"abc"[: len(names)]]) == short


def test_a_drawing_is_the_same_bytes_and_stands_by_itself(make):
    plot = drawn([make("a")])["matched_tokens"]._replace(title='<b> & "$x$"')
    files = drawing.draw(plot)
    assert files == drawing.draw(plot)
    text = files["svg"].decode()
    ids = {element.get("id") for element in ElementTree.fromstring(text[text.index("<svg") :]).iter()}
    assert {*re.findall(r'(?:href="|url\()#([^")]+)', text)} <= ids
    assert not re.search(r"<script|href=\"[^#]", text)


def test_a_report_writes_each_plot_and_replaces_it(tmp_path, make, capsys):
    make("a")
    for _ in range(2):
        assert run_script("report.py", tmp_path / "a", "--output", tmp_path / "out") == 0
    assert ", plots, " in capsys.readouterr().out
    starts = {".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG", ".csv": b"series,x,y,low,high,n"}
    found = sorted((tmp_path / "out" / "plots").iterdir())
    assert len(found) == 24 and all(path.read_bytes().startswith(starts[path.suffix]) for path in found)
    with (tmp_path / "out" / "plots" / "copies_own.csv").open() as file:
        first = next(csv.DictReader(file))
    low, high = wilson(0, 10)
    assert first == {"series": "members", "x": "1 copy", "y": "0.0", "low": str(low), "high": str(high), "n": "10"}
