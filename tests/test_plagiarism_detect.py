"""Stage 5: labels of generations made by hand, the classifier, resuming, counts, and what a person is told."""

import json

import pytest
import torch
from models import save_paraphrase_classifier
from shell import ROOT, one_line, run_script
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from memorization.detection.paraphrase import ParaphraseClassifier
from memorization.encoding.probes import write_probes
from memorization.extraction.listing import write_listing
from memorization.files import read_json, read_jsonl

CAT = "The grey cat chased seven mice through the old granary. Every evening it slept beside the kitchen stove."
SEA = "Fishermen mended their nets along the quiet harbour. A storm had torn them during the night."
LAW = "Parliament passed the budget after long debates. Critics called several taxes unfair."
LONG = (
    "The old grey cat chased seven hungry mice up and down through the dusty granary of the farm. "
    "The cat was grey, the granary was old, and seven mice had been chased through it by the cat since early spring. "
    "Beside the warm kitchen stove it slept until late, and nobody in the kitchen disturbed it as it slept near the "
    "stove. Slept well, warm kitchen, old stove: such were its evenings there beside the stove in the kitchen."
)
EDITED = "Seven mice the grey cat chased today through an old granary. Beside the stove it slept every evening."
ONE = "a storm had torn them during the night, when nobody listened"  # within one sentence: invisible to the aligner
SUFFIXES = {10: f"{CAT} {SEA}", 11: f"{SEA} {LAW}", 12: LAW, 13: f"They said {ONE}, unlike {LAW}"}

# id -> generation, expected label and label without the span scan
GENERATIONS = {
    10: (f"{LAW} {CAT}", "verbatim", "verbatim"),
    11: ("", "none", "none"),
    12: (f"Seagulls cried over {ONE} but fled", "verbatim", "none"),
    13: (f"{LAW.upper()[:30]} {EDITED}", "unverified", "unverified"),
    20: ("Nothing of this kind was written anywhere before now.", "none", "none"),
    21: ("\0 \U0001f600 ... !!! \u05e9\u05dc\u05d5\u05dd", "none", "none"),
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Probes, generations of four members and two non-members, and the index of the members' suffixes."""
    path = tmp_path_factory.mktemp("stage")
    probes = [
        {"id": i, "member": i < 20, "prefix": f"prefix {i}", "suffix": SUFFIXES.get(i, "held out"), "duplicates": 1}
        for i in GENERATIONS
    ]
    write_probes(path / "dialogue_prefix.json", probes)
    rows = [{**probe, "generation": GENERATIONS[probe["id"]][0]} for probe in probes]
    (path / "g.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_listing(path / "g.txt", {row["id"]: row["generation"] for row in rows})
    index(path, "dialogue_prefix.json", "suffixes")
    write_probes(path / "long_prefix.json", [{**probes[0], "suffix": LONG}])
    index(path, "long_prefix.json", "long")
    return path


def index(path, probes, name):
    flags = ["-dir", path, "-fn", probes, "--indexes", path / "indexes", "--index-xsuffix", name]
    assert run_script("load_to_elastic.py", *flags) == 0


def command(stage, out, *flags):
    paths = ["--filedir", stage / "g.jsonl", "--indexes", stage / "indexes", "--output-dir", out]
    return [*paths, "--type", "m", "--index-xsuffix", "suffixes", "--paraphrase-model", "none", *flags]


def detect(stage, out, *flags):
    """The detections by id."""
    assert run_script("plagiarism_detect.py", *command(stage, out, *flags)) == 0
    return {row["id"]: row for row in read_jsonl(out / "m" / "dialogue" / "detections.jsonl")}


def test_generations_get_their_labels_with_and_without_the_span_scan(stage, tmp_path):
    found = detect(stage, tmp_path)
    labels = {i: (row["label"], row["label_without_scan"]) for i, row in found.items()}
    assert labels == {i: (label, without) for i, (_, label, without) in GENERATIONS.items()}
    passage = found[10]["passages"][0]
    text, suffix = GENERATIONS[10][0], SUFFIXES[passage["candidate"]]
    assert text[slice(*passage["generation_span"])] == suffix[slice(*passage["candidate_span"])]
    scan = found[12]["longest_common_run"]
    assert GENERATIONS[12][0][slice(*scan["generation_span"])] == ONE == SUFFIXES[13][slice(*scan["candidate_span"])]
    assert scan["characters"] == len(ONE)


def test_idea_means_condensed_in_direction_pan_only(stage, tmp_path):
    condensed = "The grey cat chased mice in the old granary. It slept beside the kitchen stove."
    row = {"id": 10, "member": True, "prefix": "p", "suffix": LONG, "duplicates": 1, "generation": condensed}
    (tmp_path / "g.jsonl").write_text(json.dumps(row) + "\n")
    flags = ["--filedir", tmp_path / "g.jsonl", "--index-xsuffix", "long"]
    both = detect(stage, tmp_path / "both", *flags, "--direction", "both")[10]
    assert (both["label"], both["paper"]["label"]) == ("idea", "unverified")
    for result in (both, both["paper"]):
        (passage,) = result["passages"]
        assert passage["generation_span"][1] <= len(condensed) < passage["candidate_span"][1] <= len(LONG)
    alone = detect(stage, tmp_path / "paper", *flags, "--direction", "paper")[10]
    assert {name: alone[name] for name in both["paper"]} == both["paper"]


def test_a_listing_gives_what_its_json_lines_give(stage, tmp_path):
    rows = detect(stage, tmp_path / "jsonl")
    assert detect(stage, tmp_path / "txt", "--filedir", stage / "g.txt") == rows
    write_listing(tmp_path / "alone.txt", {i: generation for i, (generation, *_) in GENERATIONS.items()})
    probes = ["--probes", stage / "dialogue_prefix.json"]
    assert detect(stage, tmp_path / "alone", "--filedir", tmp_path / "alone.txt", *probes) == rows


def test_result_files_count_what_the_detections_say(stage, tmp_path, capsys):
    detect(stage, tmp_path)
    out = tmp_path / "m" / "dialogue"
    result = read_json(out / "result.json")
    assert result["members"]["generations"] == 4
    assert result["members"]["verbatim"]["count"] == 2
    assert result["without_scan"]["members"]["verbatim"]["count"] == 1
    assert result["non_members"]["any"]["count"] == 0
    line = "verbatim: 1 paraphrase: 0 paraphrase_low: 0 idea: 0 none: 2 unverified: 1\n"
    assert (out / "result.txt").read_text() == line
    assert read_json(out / "detections.jsonl.manifest.json")["rows"] == 6
    assert "members, all" in capsys.readouterr().out


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier")
    return save_paraphrase_classifier(path, ROOT / "configs" / "gpt-neo-small")


def test_batched_probabilities_equal_one_pair_at_a_time(classifier):
    pairs = [(a, b) for a in (CAT, SEA, "", "x" * 5000) for b in (LAW, LONG, "one word")]
    batched = ParaphraseClassifier(classifier, "cpu").probabilities(pairs + pairs[:3], batch_size=5)
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    for pair in pairs:
        with torch.no_grad():
            logits = model(**tokenizer(*pair, truncation=True, return_tensors="pt")).logits[0]
        assert batched[pair] == pytest.approx(float(logits.softmax(-1)[1]), abs=1e-5)
    assert batched.keys() == set(pairs)


def test_a_classifier_decides_between_paraphrase_and_paraphrase_low(stage, tmp_path, classifier):
    row = detect(stage, tmp_path, "--paraphrase-model", classifier)[13]
    (best,) = {passage["paraphrase_probability"] for passage in row["passages"]}
    pairs = [(a, b) for a in sentences(GENERATIONS[13][0]) for b in sentences(CAT)]
    scores = ParaphraseClassifier(classifier, "cpu").probabilities(pairs)
    spans = row["passages"][0]
    ours = GENERATIONS[13][0][slice(*spans["generation_span"])]
    assert best == pytest.approx(max(score for (a, _), score in scores.items() if a in ours), abs=1e-5)
    assert row["label"] == ("paraphrase" if best > 0.5 else "paraphrase_low")


def sentences(text):
    from memorization.alignment import split_sentences

    return [text[start:end] for start, end in split_sentences(text)]


def test_a_killed_run_goes_on_and_gives_the_same_bytes(stage, tmp_path, monkeypatch, capsys):
    detect(stage, tmp_path / "whole")
    whole = (tmp_path / "whole" / "m" / "dialogue" / "detections.jsonl").read_bytes()
    from memorization.detection import detect as detection

    calls = []

    def killed_at_the_third_batch(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    real = detection.detect
    monkeypatch.setattr(detection, "BATCH", 2)
    monkeypatch.setattr(detection, "detect", killed_at_the_third_batch)
    assert run_script("plagiarism_detect.py", *command(stage, tmp_path)) == 130
    out = tmp_path / "m" / "dialogue"
    assert not (out / "result.json").exists() and not (out / "detections.jsonl").exists()
    assert run_script("plagiarism_detect.py", *command(stage, tmp_path)) == 0
    assert len(calls) == 4
    assert "4 of them done before" in capsys.readouterr().out
    assert (out / "detections.jsonl").read_bytes() == whole


def test_an_index_loaded_anew_is_searched_anew(stage, tmp_path):
    probes = [{"id": 1, "member": True, "prefix": "p", "suffix": LAW, "duplicates": 1}]
    write_probes(tmp_path / "dialogue_prefix.json", probes)
    index(tmp_path, "dialogue_prefix.json", "suffixes")
    flags = ["--indexes", tmp_path / "indexes"]
    assert detect(stage, tmp_path, *flags)[10]["candidates"]
    write_probes(tmp_path / "dialogue_prefix.json", [{**probes[0], "suffix": "quite different words"}])
    index(tmp_path, "dialogue_prefix.json", "suffixes")
    assert detect(stage, tmp_path, *flags)[10]["candidates"] == []


BAD = {
    "no such file": (["--filedir", "nothing.jsonl"], "nothing.jsonl"),
    "no such listing": (["--filedir", "nothing.txt"], "nothing.txt"),
    "no such index": (["--index-xsuffix", "nothing"], "load_to_elastic.py"),
    "no such classifier": (["--paraphrase-model", "no/such-classifier"], "no/such-classifier"),
    "no type": (["--type", ""], "--type"),
    "unknown profile": (["--profile", "fast"], "--profile"),
    "no server": (["--elastic-url", "http://127.0.0.1:9"], "http://127.0.0.1:9"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_gets_one_line_and_leaves_nothing_behind(stage, tmp_path, capsys, case):
    flags, named = BAD[case]
    assert run_script("plagiarism_detect.py", *command(stage, tmp_path, *flags)) == 2
    assert named in one_line(capsys)
    assert not list(tmp_path.rglob("*.jsonl*"))


def test_ids_that_are_not_the_probes_are_named(stage, tmp_path, capsys):
    write_listing(tmp_path / "g.txt", {10: "text", 99: "text"})
    flags = ["--filedir", tmp_path / "g.txt", "--probes", stage / "dialogue_prefix.json"]
    assert run_script("plagiarism_detect.py", *command(stage, tmp_path, *flags)) == 2
    assert "differ in 6 ids, 11 for one" in one_line(capsys)


def test_pairs_of_texts_are_aligned_without_an_index(tmp_path):
    rows = [{"id": "a", "suspicious": f"{LAW} {CAT}", "source": CAT}, {"id": 2, "suspicious": LAW, "source": SEA}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--pairs", tmp_path / "pairs.jsonl", "--profile", "paper", "--output", tmp_path / "out.jsonl"]
    assert run_script("plagiarism_detect.py", *flags) == 0
    first, second = read_jsonl(tmp_path / "out.jsonl")
    start = len(LAW) + 1
    assert (first["id"], first["kind"]) == ("a", "verbatim")
    assert first["passages"] == [[[start, start + len(CAT)], [0, len(CAT)]]]
    assert (second["id"], second["kind"], second["passages"]) == (2, "none", [])
