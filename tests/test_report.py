"""Results side by side: names, figures in every format, what came out, and what is refused."""

import csv
import io
import re
import subprocess
import sys

import pytest

from memorization.results.formats import visible
from memorization.results.statistics import rate_difference, wilson
from memorization.store.files import read_json, write_json, write_text
from memorization.store.manifests import manifest_path, sealed
from support.command_line import ROOT, one_line, run_script
from support.detection_rows import detection, write_detections


def rows(own, members=20, exact=None):
    """So many members with an own run over 50 characters, the first ten in 4 copies; 10 held-out texts without, half of
    them in 4 copies."""
    of_members = [
        detection(i, own=60 + i if i < own else 9, duplicates=4 if i < 10 else 1, exact_match=exact and i < own)
        for i in range(members)
    ]
    held_out = [(1000 + i, 4 if i < 5 else 1) for i in range(10)]
    return of_members + [detection(i, own=9, exact_match=exact and False, duplicates=copies) for i, copies in held_out]


@pytest.fixture
def two(tmp_path):
    """Two results that differ in the prefix length, of the generations and so of the index."""
    short = {"prefix_length": 10}
    return [
        write_detections(tmp_path / "results" / "a_b", rows(2), short, index={**short, "documents": "c" * 64}),
        write_detections(tmp_path / "results" / "c", rows(15), generations={"model": "1" * 64}),
    ]


def report(capsys, *args):
    """What report.py prints."""
    assert run_script("report.py", *args) == 0
    return capsys.readouterr().out


def test_runs_are_named_by_the_setting_they_differ_in_and_shown_with_their_control(two, capsys):
    output = report(capsys, *two)
    blocks = dict.fromkeys(("prefix_length 10", "prefix_length 50"), "")
    lines = output.splitlines()
    own = next(i for i, line in enumerate(lines) if line.startswith("own run > 50"))
    for line in lines[own + 1 : own + 3]:
        blocks[line[:16]] = line[16:].split()
    low, high = (100 * x for x in wilson(2, 20))
    assert blocks["prefix_length 10"][:3] == ["10.0", f"[{low:.1f},", f"{high:.1f}]"]
    value, low, high = (100 * x for x in rate_difference(15, 20, 0, 10))
    assert blocks["prefix_length 50"][6:] == [f"{value:+.1f}", f"[{low:+.1f},", f"{high:+.1f}]"]
    assert "30 generations (1 a probe), model small, profile paper, direction pan" in " ".join(output.split())
    assert " ".join(output.split()).count("classifier none; queries with temperature 1") == 2
    assert output.count("Verdict: no evidence") == output.count("Verdict: yes") == 1
    assert [line.split()[-2:] for line in lines if re.match(r"prefix_length \d+ +\d+ +\d+$", line)] == [
        ["20", "10"]
    ] * 2
    assert max(map(len, lines)) <= 80 and "Not of the same data" not in output and "UNCHECKED" not in output


@pytest.mark.parametrize("name", ["", "detections.jsonl", "result.json"])
def test_a_result_is_its_directory_or_a_file_in_it(two, capsys, name):
    write_text(two[0] / "result.json", "{}")
    assert report(capsys, two[0] / name) == report(capsys, two[0])


def test_settings_of_every_stage_give_names(tmp_path, capsys):
    """Settings where they tell runs apart, hashes never; else the directory, which is added where they do not."""
    runs = [
        write_detections(tmp_path / "1", rows(2), {"temperature": 1.0}, {"epochs_done": 1.0}),
        write_detections(tmp_path / "2", rows(2), {"temperature": 1.0}, {"epochs_done": 2.0, "learning_rate": 4e-3}),
        write_detections(tmp_path / "3", rows(2), {"seed": 5}, {"seed": 6}, profile="pan"),
    ]
    assert report(capsys, *runs[:2]).startswith("epochs_done 1, learning_rate 2e-05;")
    output = " ".join(report(capsys, *runs).split())
    name = "profile pan, generations seed 5, temperature 0, epochs_done none, learning_rate 2e-05, training seed 6"
    assert f"run 3: {name}; " in output
    same = write_detections(tmp_path / "4", rows(3), {"temperature": 1.0, "model": "9" * 64}, {"epochs_done": 1.0})
    output = " ".join(report(capsys, runs[0], same).split())
    assert f"run 1: {runs[0]}; " in output or output.startswith(f"{runs[0]}; ")
    assert "9" * 12 not in output


def test_long_names_and_paths_keep_the_table_within_80_columns(tmp_path, capsys):
    long = {f"a_setting_with_a_long_name_{i}": "x" * 20 for i in range(9)}
    runs = [
        write_detections(tmp_path / ("d" * 120), rows(2), long),
        write_detections(tmp_path / ("e" * 120), rows(15, 25)),
    ]
    output = report(capsys, *runs)
    assert max(map(len, output.splitlines())) <= 80
    assert re.search(r"^run 2  +60.0 \[", output, re.MULTILINE)
    for run, name in zip(runs, ("lora", "full"), strict=True):
        described = manifest_path(run / "detections.jsonl")
        manifest = read_json(described)
        write_json(described, sealed(manifest | {"arguments": manifest["arguments"] | {"type": name}}))
    output = report(capsys, *runs)
    assert re.search(r"^full  +60.0 \[", output, re.MULTILINE) and "lora: a_setting_with" in output


def test_other_data_and_unchecked_runs_are_pointed_out(tmp_path, two, capsys):
    other = write_detections(tmp_path / "other", rows(2), {"encoding": "9" * 16}, unchecked=True)
    output = " ".join(report(capsys, two[1], other, "--output", tmp_path / "report").split())
    assert output.startswith("UNCHECKED: ")
    assert "Not of the same data or split" in output and "eeeeeeeeeeee" in output and "999999999999" in output
    for name in ("summary.md", "summary.tex"):
        written = (tmp_path / "report" / name).read_text()
        assert "UNCHECKED" in written and "Not of the same data" in written
    assert {row["unchecked"] for row in csv.DictReader((tmp_path / "report" / "summary.csv").open())} == {
        "True",
        "False",
    }


def test_the_csv_holds_every_cell_as_it_is(two, tmp_path, capsys):
    report(capsys, *two, "--output", tmp_path / "report")
    cells = list(csv.DictReader((tmp_path / "report" / "summary.csv").open()))
    (own,) = (c for c in cells if (c["run"], c["metric"], c["group"]) == ("prefix_length 50", "own", "4 copies"))
    assert (own["n"], own["count"], float(own["estimate"]), own["evidence"]) == ("10", "10", 1.0, "True")
    assert (float(own["low"]), float(own["high"])) == wilson(10, 10)
    (change,) = (
        c for c in cells if (c["run"], c["metric"], c["group"]) == ("prefix_length 10", "own", "members - held out")
    )
    assert tuple(float(change[name]) for name in ("estimate", "low", "high")) == rate_difference(2, 20, 0, 10)
    assert change["p"] == "" and {c["directory"] for c in cells} == {str(path) for path in two}
    (shy,) = (c for c in cells if (c["run"], c["metric"], c["group"]) == ("prefix_length 10", "own", "members"))
    assert shy["evidence"] == "False" and 0 < float(shy["detectable_difference"]) < 1


@pytest.mark.parametrize("awkward", ['a,b "c" | d & 50 % $x$ #1 _i_ {j}', "~k ^l <m> *n* [o](p) `q`", "r\\s \t \x1b"])
def test_what_means_something_in_a_format_is_escaped(tmp_path, capsys, awkward):
    results = [write_detections(tmp_path / end, rows(2), {"prompt": awkward + end}) for end in "12"]
    out = tmp_path / "report"
    report(capsys, *results, "--output", out)
    names = {row["run"] for row in csv.DictReader(io.StringIO((out / "summary.csv").read_text()))}
    assert names == {f"prompt {visible(awkward)}{end}" for end in "12"}
    table = [line for line in (out / "summary.md").read_text().splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert set(bars) == {6, 4} and bars == sorted(bars, reverse=True)  # the rates, then the scores
    assert not [line for line in table if re.search(r"(?<!\\)[*_<>`#{}]", line)]
    tex = [line for line in (out / "summary.tex").read_text().splitlines() if not line.startswith("%")]
    columns = [re.fullmatch(r"\\begin\{tabular\}\{(l+r+)\}", line)[1] for line in tex if line.startswith(r"\begin")]
    assert columns == ["llrrr", "llr"] and tex[-1] == r"\end{tabular}"  # the rates, then the scores
    for line in filter(None, tex):
        if line.startswith(r"\begin"):
            width = len(columns.pop(0))
        elif line not in (r"\hline", r"\end{tabular}"):
            assert line.endswith(r" \\") and len(re.findall(r"(?<!\\)&", line)) == width - 1
            plain = re.sub(r"\\text[a-z]+\{\}|\\[&%$#_{}]|\$-\$| \\\\$", "", line)
            assert not re.search(r"[%$#_{}~^\\<>|]", plain), line


def test_anothers_runs_stand_beside_their_chance_level(tmp_path, capsys):
    detections = rows(2) + [detection(1010 + i, others=[(i, 1, 1)]) for i in range(10)]
    output = report(capsys, write_detections(tmp_path / "a", detections), "--output", tmp_path / "report")
    assert "Another's: yes" in output and "from samples: held out." in " ".join(output.split())
    assert "Another's: yes" in (tmp_path / "report" / "summary.md").read_text()
    cells = {
        (row["group"], row["metric"]): row
        for row in csv.DictReader((tmp_path / "report" / "summary.csv").open())
        if row["metric"].endswith("_of_equally_many")
    }
    assert len(cells) == 4
    assert 0.2 < float(cells["held out", "another_of_equally_many"]["estimate"]) < 0.3  # of 20, ten at 499 in 1,000
    assert cells["held out", "another_of_equally_many"]["evidence"] == "True"
    assert cells["held out", "chance_of_equally_many"]["estimate"] == "0.0"


def test_leaks_show_the_longest_run_first_beside_the_sample(tmp_path, capsys):
    text = "Call me\x1b[2J on\n" + "x" * 100 + " tomorrow"
    some = [
        detection(7, own=60, suffix="word " * 30),
        detection(8, own=100, text=text, suffix="12345" + text, duplicates=16, exact_match=False),
        detection(8, own=70, text="other " * 30, duplicates=16, exact_match=True, sample=1),
        detection(9, own=50),
        detection(1000, own=300),
    ]
    result = write_detections(tmp_path / "result", some)
    output = report(capsys, result, "--output", tmp_path / "report")
    assert "a share counts the samples of which any does so" in " ".join(output.split())
    leaks = (tmp_path / "report" / "leaks.txt").read_text()
    assert re.findall(r"^(\d)\. sample (\d+), (.*)", leaks, re.MULTILINE) == [
        ("1", "8", "16 copies, a run of 100 characters"),
        ("2", "7", "1 copy, a run of 60 characters"),
    ]
    assert "2 of 3 members" in " ".join(leaks.split()) and "\x1b" not in leaks
    assert "\u27e6Call me\\x1b[2J on\\n" in leaks and "12345\u27e6Call" in leaks
    assert leaks.index("  generation:") < leaks.index("  own sample, after the prefix:")
    assert max(map(len, leaks.splitlines())) <= 80


def test_the_same_results_give_the_same_bytes_and_replace_a_report(two, tmp_path, capsys):
    out = tmp_path / "report"
    report(capsys, *two, "--output", out)
    first = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*")}
    written = {"summary.csv", "summary.md", "summary.tex", "leaks.txt", "records.csv", "audit.json", "report.html"}
    assert {name for name in first if "/" not in name} == written | {"memorization-report.json"}
    (out / "leaks.txt").unlink()
    report(capsys, *two, "--output", out)
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*")} == first


def refused(capsys, *args):
    assert run_script("report.py", *args) == 2
    return one_line(capsys)


def test_what_is_no_whole_result_is_refused(two, tmp_path, capsys):
    rows, out = two[1] / "detections.jsonl", ("--output", tmp_path / "report")
    assert "nothing" in refused(capsys, tmp_path / "nothing")
    whole = rows.read_text()
    rows.write_text(whole.replace('"member":false', '"member":true', 1))
    assert "has changed since it was written" in refused(capsys, *two, *out)
    rows.write_text(whole)
    manifest_path(rows).unlink()
    assert "has no manifest" in refused(capsys, *two, *out)
    assert "named twice" in refused(capsys, two[0], two[0] / "detections.jsonl")
    assert not (tmp_path / "report").exists()


def test_a_directory_with_other_things_is_not_replaced(two, capsys):
    assert "is no report of ours" in refused(capsys, two[0], "--output", two[0])
    assert "is no directory" in refused(capsys, two[0], "--output", two[0] / "detections.jsonl")
    assert (two[0] / "detections.jsonl").is_file()


def test_help_shows_a_command_and_needs_no_torch():
    code = "import sys, runpy; sys.argv = ['report.py', '--help']\n"
    code += "try: runpy.run_path('report.py', run_name='__main__')\nfinally: print('torch' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout
    assert "python report.py results/gpt-neo-small/dialogue" in output and output.endswith("False\n")
