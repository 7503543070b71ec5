"""Inputs that nobody means well with: whatever was edited, a script says so in one line or goes on, and keeps its hands
off what it has not written.

`make fuzz` edits at random, a thousand times a test.
"""

import json

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from memorization.detection.detections import Candidate, Labels, Passage, PersonalItem
from memorization.detection.kinds import DETECTIONS
from memorization.extraction.exposures import Exposure
from memorization.extraction.matches import Near
from memorization.extraction.scores import Scores
from memorization.results.attention import ATTENTION, compare_heads, comparisons_csv, heat_map
from memorization.results.canaries import summarize_canaries
from memorization.store.directories import building
from memorization.store.files import fingerprint
from memorization.store.locations import base_path
from memorization.store.manifests import identity, link, manifest_path, sealed, write_manifest
from support.command_line import run_script
from support.detection_rows import detection, write_detections
from support.edits import changed, edits, kept, resealed

ITEM = PersonalItem(
    kind="email",
    generation_span=(0, 9),
    prompted=False,
    own=True,
    holders=1,
    members=1,
    sample=2,
    cluster=2,
)


def rows():
    """Detections of two probes in two generations each, with something in every field."""
    scores = {"tokens": 9, "log_likelihood": -9.5, "log_p_z": "-inf", "matched_tokens": 4, "extraction_strength": 0.5}
    scores |= {"min_k": -2.0, "min_k_plus": -1.5, "zlib_bytes": 80}
    labels = Labels("paraphrase", "paraphrase", "idea", [Passage(3, "paraphrase", (0, 9), (2, 9), 0.75)])
    detections = []
    for id in (1, 2, 3, 4, 1001, 1002, 1003):
        near = Near(edit_similarity=0.5, rouge_l=0.25, common_run=3, near_copy=id < 3)
        fields = {"near": near, "scores": Scores(**scores), "labels": labels, "paper": labels, "duplicates": 1 + id % 2}
        fields |= {"candidates": [Candidate(3, 1.5, "the text of three"), Candidate(4, 1.0, None)], "matched_tokens": 4}
        fields |= {"exact_match": id == 1, "personal": [ITEM], "entities_agree": id == 2}
        detections.append(detection(id, own=60 + id % 9, run=55, others=[(3, 1, 1), (4, 2, 1)], **fields))
        detections.append(
            detection(id, own=20, sample=1, **fields | {"scores": None, "candidates": detections[-1].candidates})
        )
    return detections


def write_study(directory, generations):
    """What attention_analysis.py writes of generations, of made-up numbers."""
    numbers = np.random.default_rng(0).random((8, 2, 2, 4))
    comparisons = list(compare_heads({"one": (numbers, np.arange(8) < 4, np.ones(8, int))}, 100, 0))
    with building(directory, "study") as (new, _):
        np.savez(new / "attention.npz", values=numbers)
        (new / "attention.csv").write_text(comparisons_csv(comparisons))
        (new / "heat_000.svg").write_text(heat_map(comparisons[0]))
        tasks = [{"name": "one", "generations": generations, "contents": "c" * 64}]
        write_manifest(new / "attention.npz", ATTENTION, {"tasks": tasks}, {}, heat_maps={"heat_000.svg": "one"})
    return directory


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A result of stage 5 with all that may be beside it, `result`, and a study of its generations, `study`."""
    home = tmp_path_factory.mktemp("hostile")
    of_canaries = summarize_canaries(
        [Exposure(id=i, turn=0, sample=0, pair=i // 2, copies=1 + i // 4, planted=i % 2 == 0, log_likelihood=-9.0,
                  exposure=2.5, error=None, extracted=i == 0) for i in range(8)],
        {"digits": 4, "unchecked": False},
    )  # fmt: skip
    of_canaries = json.loads(msgspec.json.encode(of_canaries))
    of_generations = identity(["g" * 16, "c" * 64])
    made_of = {"direction": "both", "classifier": "c" * 64}
    result = write_detections(home / "result", rows(), training={"epochs_done": 1.0}, **made_of)
    base = write_detections(home / "base", rows(), training={}, **made_of) / "detections.jsonl"
    path = result / "detections.jsonl"
    base.rename(base_path(path))
    manifest_path(base).rename(manifest_path(base_path(path)))
    manifest = json.loads(manifest_path(path).read_text())
    facts = {"base": link(base_path(path), "before", DETECTIONS), "canaries": of_canaries}
    facts |= {
        "held_out": {"perplexity": 3.5},
        "split": {"kind": "random", "near_duplicates": 0.8, "comparability": None},
    }
    manifest["facts"] |= facts
    manifest["arguments"] |= {"dataset": "qa", "ner_model": "names"}
    manifest["made_of"]["generations"] = of_generations
    manifest_path(path).write_text(json.dumps(resealed(manifest)))
    write_study(home / "study", "g" * 16)
    return home


@pytest.fixture
def report(home, tmp_path, capsys, monkeypatch):
    """Run report.py on the result, without drawing; its status, after it ended as it must."""
    monkeypatch.setattr("memorization.results.report.draw", lambda plot: dict.fromkeys(("png", "svg", "pdf"), b""))

    def run(*more, output=tmp_path / "report"):
        capsys.readouterr()
        status = run_script("report.py", home / "result", "--output", output, "--attention", home / "study", *more)
        message = capsys.readouterr().err
        assert status == 0 or status == 2 and len(message.splitlines()) == 1, message
        return status

    return run


def mill(path, run, write=None):
    """Edit the JSON in a file at random, write it there as `write` does, and run."""
    whole = json.loads(path.read_text().splitlines()[0] if path.suffix == ".jsonl" else path.read_text())

    @settings(max_examples=settings().max_examples // 5)
    @given(edits(whole))
    def edited(edit):
        write(edit[0]) if write else path.write_text(json.dumps(resealed(edit[0])))
        run()

    edited()


@pytest.mark.parametrize("name", ["result/detections.jsonl", "result/detections.base.jsonl", "study/attention.npz"])
def test_an_edited_manifest_is_one_line_or_makes_a_report(home, report, name):
    path = manifest_path(home / name)
    assert report() == 0
    with kept(path):
        mill(path, report)


@pytest.mark.parametrize("redact", [False, True])
def test_edited_rows_are_one_line_or_make_a_report(home, report, redact):
    path = home / "result" / "detections.jsonl"
    _, *others = path.read_bytes().splitlines(keepends=True)
    manifest = json.loads(manifest_path(path).read_text())

    def write(row):
        path.write_bytes(json.dumps(row).encode() + b"\n" + b"".join(others))
        manifest_path(path).write_text(json.dumps(sealed(manifest | {"contents": fingerprint(path)})))

    with kept(path, manifest_path(path)):
        mill(path, lambda: report(*["--redact"] * redact), write)


def test_a_study_that_was_edited_is_not_shown(home, report, capsys):
    svg, mark, manifest = (home / "study" / name for name in ("heat_000.svg", "memorization-study.json", "x"))
    manifest = manifest_path(home / "study" / "attention.npz")
    with kept(svg):
        svg.write_text(svg.read_text() + "<script>alert(1)</script>")
        assert report() == 2
    with kept(mark):
        mark.write_text(mark.read_text().replace("heat_000.svg", "../study/heat_000.svg"))
        assert report() == 2
        mill(mark, report, lambda edited: mark.write_text(json.dumps(edited)))
    with kept(manifest):
        study = json.loads(manifest.read_text())
        for name in ("../result/detections.jsonl", "/etc/passwd", "nothing.svg"):
            manifest.write_text(json.dumps(resealed(changed(study, ("facts", "heat_maps"), {name: "x"}))))
            assert report() == 2
    assert report() == 0


OTHERS = ["plots/thesis.tex", "plots/mine/thesis.tex", "thesis.tex", ".thesis", "heat_mine.svg"]


@pytest.mark.parametrize("there", [False, True], ids=["alone", "in a report"])
@pytest.mark.parametrize("name", [*OTHERS, "report.html", "plots/roc.csv", "a link"])
def test_what_the_report_has_not_written_is_never_removed(home, report, tmp_path, name, there):
    output, thesis = tmp_path / "report", tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    if there:
        assert report() == 0
    path = output / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(thesis) if name == "a link" else path.write_text("years of work")
    assert report() == 2
    assert path.read_text() == thesis.read_text() == "years of work"


def test_an_empty_directory_and_a_report_that_lacks_files_are_replaced(report, tmp_path):
    (tmp_path / "report").mkdir()
    assert report() == 0
    (tmp_path / "report" / "plots" / "roc.csv").unlink()
    assert report() == 0 and (tmp_path / "report" / "plots" / "roc.csv").is_file()


@pytest.mark.parametrize("what", ["result", "study", "result/detections.jsonl", ".", "/", "/dev/null", "loop/report"])
def test_what_is_read_and_what_is_no_place_for_a_report_stay_as_they_are(home, report, what):
    if what.startswith("loop") and not (home / "loop").is_symlink():
        (home / "loop").symlink_to(home / "loop")
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert report(output=home / what) == 2
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before
