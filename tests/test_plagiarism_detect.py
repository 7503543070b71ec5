"""Stage 5 at the shell: what must be of one run, resuming, results, what a person is told."""

import json
import os
import shutil
import subprocess
import sys

import msgspec
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from memorization.alignment import split_sentences
from memorization.detection import detect as detection
from memorization.detection.detections import Detection
from memorization.detection.kinds import DETECTIONS
from memorization.detection.paraphrase import ParaphraseClassifier
from memorization.detection.personal_data import REGIONS
from memorization.encoding.probes import COLUMNS, write_probes
from memorization.extraction.generations import write_listing
from memorization.extraction.kinds import GENERATIONS
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.store.files import read_json
from memorization.store.fingerprints import model_fingerprint
from memorization.store.locations import base_path
from memorization.store.manifests import identity, link, manifest_path
from memorization.store.rows import base_rows, read_rows
from support.command_line import ROOT, TWO_RANKS, one_line, read_jsonl, run_script
from support.generation_rows import ENCODING, generation, load_index, load_spans, write_generations
from support.indexes import opened
from support.tiny_models import save_language_model, save_paraphrase_classifier

CAT = "The grey cat chased seven mice through the old granary. Every evening it slept beside the kitchen stove."
SEA = "Fishermen mended their nets along the quiet harbour. A storm had torn them during the night."
LAW = "Parliament passed the budget after long debates. Critics called several taxes unfair."
EDITED = "Seven mice the grey cat chased today through an old granary. Beside the stove it slept every evening."
ROWS = [
    generation(10, f"{LAW} {CAT}", f"{CAT} {SEA}"),
    generation(11, "", f"{SEA} {LAW}"),
    generation(12, "Quite so.", f"Quite so. {LAW}", exact_match=True, matched_tokens=3),
    generation(13, f"{LAW.upper()[:30]} {EDITED}", LAW),
    generation(13, CAT, LAW, sample=1),
    generation(100, "Nothing of this kind was written anywhere before now."),
    generation(101, f"A word and then {SEA}", SEA),
]
ANOTHER = "fedcba9876543210"  # encoding
OTHERS = [generation(10, "", "Quite different words"), generation(11, "", SEA)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Generations of four members and two held-out samples, and the embedded index of the members' suffixes."""
    path = tmp_path_factory.mktemp("stage")
    write_generations(path / "g.jsonl", ROWS)
    load_index(EmbeddedIndex(path / "indexes", "suffixes"), ROWS)
    load_spans(path / "indexes", ROWS, ANOTHER)
    return path


def command(stage, out, *flags):
    paths = ["--filedir", stage / "g.jsonl", "--indexes", stage / "indexes", "--output-dir", out]
    return [*paths, "--type", "m", "--index-xsuffix", "suffixes", "--paraphrase-model", "none", *flags]


def detect(stage, out, *flags):
    """The detections and their manifest."""
    assert run_script("plagiarism_detect.py", *command(stage, out, *flags)) == 0
    return read_rows(out / "m" / "dialogue" / "detections.jsonl", DETECTIONS, Detection)


def refused(capsys, stage, out, *flags):
    """The one line that refuses this, and that nothing was written."""
    before = sorted(out.rglob("*"))
    capsys.readouterr()
    assert run_script("plagiarism_detect.py", *command(stage, out, *flags)) == 2
    assert sorted(out.rglob("*")) == before
    return one_line(capsys)


def test_the_detections_are_described_by_what_made_them(stage, tmp_path):
    rows, manifest = detect(stage, tmp_path, "--profile", "pan", "--span-length", 60)
    assert [row.key for row in rows] == [row.key for row in ROWS]
    generations = read_json(manifest_path(stage / "g.jsonl"))
    index = EmbeddedIndex(stage / "indexes", "suffixes").made_of()
    assert manifest.made_of == {
        "generations": identity([generations["identity"], generations["contents"]]),
        "index": identity(index),
        "profile": "pan",
        "direction": "pan",
        "candidates": 10,
        "span_length": 60,
        "loop_repeats": 10,
        "classifier": None,
        "ner_model": None,
        "unchecked": False,
        "regions": list(REGIONS),
        "format": 10,
    }
    assert manifest.facts == {
        "generations": generations["made_of"],
        "training": None,
        "index": index,
        "samples": [4, 2],
        "clusters": [4, 2],
        "prompts": {"probes": 6, "distinct": 6, "own": 6},
        "base": None,
        "canaries": None,
        "held_out": None,
        "split": None,
        "membership": None,
        "declared": None,
        "too_short": None,
        "text_form": None,
        "not_computed": {},
    }
    assert read_json(tmp_path / "m" / "dialogue" / "result.json")["identity"] == manifest.identity
    assert rows[2].generation.exact_match and rows[2].labels.label == rows[2].own.label == "verbatim"


def test_result_files_count_what_the_detections_say(stage, tmp_path, capsys):
    rows, _ = detect(stage, tmp_path)
    assert [row.labels.label for row in rows[:4]] == ["verbatim", "none", "verbatim", "unverified"]
    line = "verbatim: 1 paraphrase: 0 paraphrase_low: 0 idea: 0 none: 2 unverified: 1\n"
    out = tmp_path / "m" / "dialogue"
    assert (out / "result.txt").read_text() == line
    assert "held out" in capsys.readouterr().out
    for name in ("result.json", "result.txt"):
        (out / name).unlink()
    detect(stage, tmp_path)
    assert (out / "result.txt").read_text() == line and (out / "result.json").exists()


def test_the_published_counts_are_of_direction_paper_where_both_are_asked_for(stage, tmp_path):
    lines = []
    for direction in ("both", "paper"):
        rows, _ = detect(stage, tmp_path / direction, "--direction", direction)
        lines.append((tmp_path / direction / "m" / "dialogue" / "result.txt").read_text())
    assert lines[0] == lines[1]
    assert all(row.paper is None for row in rows)


def test_a_models_own_directory_is_no_place_for_results(stage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gpt-neo-1.3B").mkdir()
    flags = command(stage, tmp_path)
    del flags[flags.index("--output-dir") : flags.index("--output-dir") + 2]
    assert run_script("plagiarism_detect.py", *flags, "-type", "./gpt-neo-1.3B") == 0
    assert (tmp_path / "results" / "gpt-neo-1.3B" / "dialogue" / "result.txt").exists()
    assert not list((tmp_path / "gpt-neo-1.3B").iterdir())


def with_base(directory, **made_of):
    """The generations of the stage, and beside them those of a base model that repeats nothing."""
    directory.mkdir()
    rows = [msgspec.structs.replace(row, text="Nothing.", exact_match=False) for row in ROWS]
    write_generations(directory / "g.base.jsonl", rows, model="b", **made_of)
    base = link(directory / "g.base.jsonl", "gpt", GENERATIONS)
    return ["--filedir", write_generations(directory / "g.jsonl", ROWS, base=base)]


def test_the_base_models_generations_are_detected_too_and_compared(stage, tmp_path, capsys):
    alone, _ = detect(stage, tmp_path / "alone")
    flags = with_base(tmp_path / "g")
    rows, manifest = detect(stage, tmp_path / "out", *flags)
    output = " ".join(capsys.readouterr().out.split())
    assert "the same probes through the base model gpt: members base tuned paired difference" in output
    assert rows == alone
    path = tmp_path / "out" / "m" / "dialogue" / "detections.jsonl"
    before = base_rows(path, DETECTIONS, manifest, Detection)
    assert manifest.facts["base"] == link(base_path(path), "gpt", DETECTIONS)
    assert {row.labels.label for row in before} == {"none"}
    result = read_json(path.with_name("result.json"))
    assert result["base"]["groups"]["members"]["verbatim"]["count"] == 0
    assert (
        result["base"]["difference"]["members"]["verbatim"]["rate"] == result["groups"]["members"]["verbatim"]["rate"]
    )
    assert result["facts"]["base"] == "gpt" and result["facts"]["scheme"] == "temperature 1"
    assert run_script("report.py", tmp_path / "out" / "m" / "dialogue", "--output", tmp_path / "report") == 0
    assert "through the base model gpt" in " ".join(capsys.readouterr().out.split())
    csv = (tmp_path / "report" / "summary.csv").read_text()
    assert '"members, base",exact_match,share,4,0,0.0' in csv and '"members - members, base",exact_match' in csv
    shutil.copy(path, base_path(path))
    shutil.copy(manifest_path(path), manifest_path(base_path(path)))
    assert run_script("report.py", tmp_path / "out" / "m" / "dialogue") == 2
    assert "detections.base.jsonl: is the base model's result of another run" in one_line(capsys)


def test_a_base_models_result_of_another_run_is_refused(stage, tmp_path, capsys):
    flags = with_base(tmp_path / "g")
    with_base(tmp_path / "other", temperature=1.0)
    for name in ("g.base.jsonl", "g.base.jsonl.manifest.json"):
        shutil.copy(tmp_path / "other" / name, tmp_path / "g" / name)
    message = refused(capsys, stage, tmp_path, *flags)
    assert (
        "g.base.jsonl: is the base model's result of another run than" in message
        and "run inference_prefix.py" in message
    )
    (tmp_path / "g" / "g.base.jsonl").unlink()
    assert "g.base.jsonl: no such file" in refused(capsys, stage, tmp_path, *flags)


# ---- what must be of one run

OTHER = {  # what the index holds -> what is named
    "another encoding": ((ROWS, ANOTHER), ["encoding (fedcba9876543210, not 0123456789abcdef)"]),
    "another prefix length": ((ROWS, ENCODING, 32), ["prefix_length (32, not 50)"]),
    "other documents": ((OTHERS,), ["documents ("]),
    "fewer documents": ((ROWS[1:],), ["documents ("]),
}


@pytest.mark.parametrize("case", OTHER)
def test_an_index_of_another_run_is_refused(flags, stage, tmp_path, capsys, case):
    """Embedded and on a server."""
    holds, named = OTHER[case]
    index = opened(flags)
    load_index(index, *holds)
    out = tmp_path / "out"
    message = refused(capsys, stage, out, *flags)
    for words in (index.where, str(stage / "g.jsonl"), "load_to_elastic.py", "--unchecked", *named):
        assert words in message

    assert run_script("plagiarism_detect.py", *command(stage, out, *flags, "--unchecked")) == 0
    printed = capsys.readouterr()
    assert named[0] in printed.err and "UNCHECKED" in printed.out
    _, manifest = read_rows(out / "m" / "dialogue" / "detections.jsonl", DETECTIONS, Detection)
    assert manifest.made_of["unchecked"] is True


def test_what_is_of_one_run_is_the_same_result_unchecked(stage, tmp_path, capsys):
    _, manifest = detect(stage, tmp_path)
    _, same = detect(stage, tmp_path, "--unchecked")
    assert same == manifest
    assert "UNCHECKED" not in capsys.readouterr().out


def test_what_stage_3_let_pass_is_said_here_too(stage, tmp_path, capsys):
    path = write_generations(tmp_path / "g.jsonl", ROWS, trained_on="fedcba9876543210", unchecked=True)
    _, manifest = detect(stage, tmp_path, "--filedir", path)
    assert manifest.made_of["unchecked"] is True
    assert "UNCHECKED" in capsys.readouterr().out
    assert manifest.facts["generations"]["trained_on"] == "fedcba9876543210"


def test_an_index_is_what_it_says_itself_whatever_lies_beside_it(stage, tmp_path, capsys):
    """A copy of the right one is the right one; a copy of another in its place is another; half of one is none."""
    right, wrong = EmbeddedIndex(stage / "indexes", "suffixes"), EmbeddedIndex(tmp_path / "other", "suffixes")
    load_index(wrong, OTHERS)
    rows, _ = detect(stage, tmp_path / "expected")
    here = tmp_path / "indexes"
    shutil.copytree(right.path.parent, here)
    copied, _ = detect(stage, tmp_path / "copied", "--indexes", here)
    assert copied == rows
    shutil.rmtree(here / "suffixes")
    shutil.copytree(wrong.path, here / "suffixes")
    assert "documents (" in refused(capsys, stage, tmp_path / "out", "--indexes", here)
    (here / "suffixes" / "memorization-index.json").unlink()
    assert "load_to_elastic.py" in refused(capsys, stage, tmp_path / "out", "--indexes", here)


def stopping_after(monkeypatch, batches, stop):
    """Let stage 5 work in batches of 2, and call stop() before batch number `batches`; return the list of batches."""
    calls, real = [], detection.compare_batch

    def compare(*args):
        if len(calls) == batches:
            stop()
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(detection, "BATCH", 2)
    monkeypatch.setattr(detection, "compare_batch", compare)
    return calls


def test_nothing_is_kept_of_an_index_that_is_replaced_meanwhile(flags, stage, tmp_path, capsys, monkeypatch):
    index = opened(flags)
    load_index(index, ROWS)
    monkeypatch.setattr(detection, "BATCH", 2)
    rows, _ = detect(stage, tmp_path / "whole", *flags)
    out = tmp_path / "out" / "m" / "dialogue"
    with monkeypatch.context() as patch:
        stopping_after(patch, 2, lambda: load_index(opened(flags), OTHERS))
        capsys.readouterr()
        assert run_script("plagiarism_detect.py", *command(stage, tmp_path / "out", *flags)) == 2
    assert index.where in one_line(capsys)
    (kept,) = out.glob("*.partial")
    assert [msgspec.convert(row, Detection) for row in read_jsonl(kept)] == rows[:4]
    assert not (out / "detections.jsonl").exists() and not (out / "result.json").exists()
    assert "documents (" in refused(capsys, stage, tmp_path / "out", *flags)

    load_index(opened(flags), ROWS)
    again, _ = detect(stage, tmp_path / "out", *flags)
    assert again == rows


def edited(path):
    path.write_text(path.read_text().replace("Quite so.", "Quite not."))


def shortened(path):
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def doubled(path):
    write_generations(path, [*ROWS, ROWS[0]])


def without_manifest(path):
    manifest_path(path).unlink()


@pytest.mark.parametrize("damage", [edited, shortened, doubled, without_manifest])
def test_generations_that_are_not_as_stage_3_wrote_them_are_refused(stage, tmp_path, capsys, damage):
    path = write_generations(tmp_path / "g.jsonl", ROWS)
    damage(path)
    message = refused(capsys, stage, tmp_path / "out", "--filedir", path)
    assert str(path) in message
    assert "inference_prefix.py" in message or "--overwrite" in message


def test_a_result_of_another_run_is_replaced_only_if_told_to(stage, tmp_path, capsys):
    detect(stage, tmp_path)
    path = tmp_path / "m" / "dialogue" / "detections.jsonl"
    before = path.read_bytes()
    message = refused(capsys, stage, tmp_path, "--profile", "pan", "--span-length", 40)
    for words in (str(path), "profile (paper, not pan)", "span_length (50, not 40)", "--overwrite"):
        assert words in message
    other = write_generations(tmp_path / "g.jsonl", ROWS, seed=6)
    assert "generations (" in refused(capsys, stage, tmp_path, "--filedir", other)
    assert path.read_bytes() == before
    _, manifest = detect(stage, tmp_path, "--profile", "pan", "--overwrite")
    assert manifest.made_of["profile"] == "pan"
    assert read_json(path.with_name("result.json"))["identity"] == manifest.identity


def test_where_the_same_files_lie_makes_no_difference(stage, tmp_path):
    _, manifest = detect(stage, tmp_path)
    moved = tmp_path / "moved"
    shutil.copytree(stage, moved)
    (moved / "g.jsonl").rename(moved / "other.jsonl")
    manifest_path(moved / "g.jsonl").rename(manifest_path(moved / "other.jsonl"))
    _, again = detect(moved, tmp_path, "--filedir", moved / "other.jsonl")
    assert again == manifest


# ---- work that is gone on with


def test_a_killed_run_goes_on_and_gives_the_same_bytes(stage, tmp_path, monkeypatch, capsys):
    detect(stage, tmp_path / "whole")
    whole = (tmp_path / "whole" / "m" / "dialogue" / "detections.jsonl").read_bytes()

    def kill():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        stopping_after(patch, 2, kill)
        assert run_script("plagiarism_detect.py", *command(stage, tmp_path)) == 130
    out = tmp_path / "m" / "dialogue"
    assert not (out / "result.json").exists() and not (out / "detections.jsonl").exists()
    calls = stopping_after(monkeypatch, -1, kill)
    assert run_script("plagiarism_detect.py", *command(stage, tmp_path)) == 0
    assert len(calls) == 2
    assert "4 of them done before" in capsys.readouterr().out
    assert (out / "detections.jsonl").read_bytes() == whole


def test_a_run_killed_as_it_ends_is_not_finished(stage, tmp_path, monkeypatch):
    """The results come before the manifest: with it all is there."""
    from memorization.store import rows

    real = rows.write_manifest

    def kill(*args, **facts):
        assert {"result.json", "result.txt", "detections.jsonl"} <= {path.name for path in out.iterdir()}
        raise KeyboardInterrupt

    out = tmp_path / "m" / "dialogue"
    monkeypatch.setattr(rows, "write_manifest", kill)
    assert run_script("plagiarism_detect.py", *command(stage, tmp_path)) == 130
    assert not manifest_path(out / "detections.jsonl").exists()
    monkeypatch.setattr(rows, "write_manifest", real)
    detect(stage, tmp_path)


# ---- the paraphrase classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier")
    return save_paraphrase_classifier(path, ROOT / "configs" / "gpt-neo-small")


def test_batched_probabilities_equal_one_pair_at_a_time(classifier):
    pairs = [(a, b) for a in (CAT, SEA, "", "x" * 5000) for b in (LAW, EDITED, "one word")]
    batched = ParaphraseClassifier(classifier, "cpu").probabilities(pairs + pairs[:3], batch_size=5)
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    for pair in pairs:
        with torch.no_grad():
            logits = model(**tokenizer(*pair, truncation=True, return_tensors="pt")).logits[0]
        assert batched[pair] == pytest.approx(float(logits.softmax(-1)[1]), abs=1e-5)
    assert batched.keys() == set(pairs)


def test_a_classifier_decides_between_paraphrase_and_paraphrase_low(stage, tmp_path, classifier):
    rows, manifest = detect(stage, tmp_path, "--paraphrase-model", classifier)
    row = rows[3]
    (passage,) = row.labels.passages
    ours = [s for s in sentences(row.generation.text) if s in row.generation.text[slice(*passage.generation_span)]]
    scores = ParaphraseClassifier(classifier, "cpu").probabilities([(a, b) for a in ours for b in sentences(CAT)])
    assert passage.paraphrase_probability == pytest.approx(max(scores.values()), abs=1e-5)
    assert row.labels.label == ("paraphrase" if passage.paraphrase_probability > 0.5 else "paraphrase_low")
    assert manifest.made_of["classifier"] == model_fingerprint(classifier)


def test_a_classifier_that_cannot_be_right_is_refused_and_the_index_is_looked_at_first(stage, tmp_path, capsys):
    model = save_language_model(tmp_path / "model", ROOT / "configs" / "gpt-neo-small")
    for name in (model, tmp_path / "nowhere", "no/where"):
        message = refused(capsys, stage, tmp_path / "out", "--paraphrase-model", name)
        assert f"{name}: " in message and message.endswith("; --paraphrase-model none goes without")
        message = refused(capsys, stage, tmp_path / "out", "--paraphrase-model", name, "--index-xsuffix", "other")
        assert "other" in message and f"{name}: " not in message


@pytest.mark.slow
def test_two_processes_and_a_hub_name_give_the_same_bytes(stage, tmp_path, classifier):
    _, manifest = detect(stage, tmp_path / "one", "--paraphrase-model", classifier)
    cached = tmp_path / "hub" / "models--some--classifier"
    shutil.copytree(classifier, cached / "snapshots" / "0123")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123")
    flags = map(str, command(stage, tmp_path / "two", "--paraphrase-model", "some/classifier"))
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *TWO_RANKS, ROOT / "plagiarism_detect.py", *flags],
        check=True,
        capture_output=True,
        env=os.environ | {"HF_HOME": str(tmp_path)},
    )
    one, two = (tmp_path / name / "m" / "dialogue" for name in ("one", "two"))
    for name in ("detections.jsonl", "result.txt"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert read_json(two / "result.json")["identity"] == manifest.identity


def sentences(text):
    return [text[start:end] for start, end in split_sentences(text)]


def test_a_classifier_with_other_weights_is_another_one(stage, tmp_path, classifier, capsys):
    detect(stage, tmp_path, "--paraphrase-model", classifier)
    shutil.copytree(classifier, tmp_path / "c")
    detect(stage, tmp_path, "--paraphrase-model", tmp_path / "c")
    model = AutoModelForSequenceClassification.from_pretrained(classifier)
    model.classifier.out_proj.bias.data += 1
    model.save_pretrained(tmp_path / "c")
    assert "classifier (" in refused(capsys, stage, tmp_path, "--paraphrase-model", tmp_path / "c")


# ---- mistakes

BAD = {
    "no such file": (["--filedir", "nothing.jsonl"], "nothing.jsonl"),
    "no such listing": (["--filedir", "nothing.txt"], "nothing.txt"),
    "no such index": (["--index-xsuffix", "nothing"], "load_to_elastic.py"),
    "no such classifier": (["--paraphrase-model", "no/such-classifier"], "no/such-classifier"),
    "no type": (["--type", ""], "--type"),
    "unknown profile": (["--profile", "fast"], "--profile"),
    "no span": (["--span-length", "0"], "--span-length"),
    "no server": (["--elastic-url", "http://127.0.0.1:9"], "http://127.0.0.1:9"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_gets_one_line_and_leaves_nothing_behind(stage, tmp_path, capsys, case):
    flags, named = BAD[case]
    assert named in refused(capsys, stage, tmp_path, *flags)


def test_a_listing_stands_for_the_rows_beside_it(stage, tmp_path, capsys):
    path = write_generations(tmp_path / "g.jsonl", ROWS)
    rows, manifest = detect(stage, tmp_path)
    listed, same = detect(stage, tmp_path, "-filedir", tmp_path / "g.txt")
    assert (listed, same) == (rows, manifest)
    path.with_suffix(".txt").write_text(path.with_suffix(".txt").read_text().replace("Quite so.", "Quite not."))
    assert str(path.with_suffix(".txt")) in refused(capsys, stage, tmp_path, "-filedir", tmp_path / "g.txt")


def test_a_listing_of_other_code_is_taken_unchecked(stage, tmp_path, capsys):
    """Its labels are those that the same texts have; what nobody knows is null, and the table says so."""
    probes = {row.id: {name: getattr(row, name) for name in COLUMNS} for row in ROWS}
    write_probes(tmp_path / "dialogue_prefix.json", list(probes.values()))
    once = [row for row in ROWS if row.sample == 0]
    write_listing(tmp_path / "g.txt", once)
    flags = ["--filedir", tmp_path / "g.txt", "--probes", tmp_path / "dialogue_prefix.json"]
    assert "--unchecked" in refused(capsys, stage, tmp_path / "out", *flags)
    rows, manifest = detect(stage, tmp_path / "out", *flags, "--unchecked")
    printed = capsys.readouterr()
    assert "encoding (0123456789abcdef, not none)" in printed.err and "UNCHECKED" in printed.out
    assert "documents" not in printed.err
    assert "exact at 10" in printed.out and "not computed, as a listing holds texts alone" in " ".join(
        printed.out.split()
    )
    assert manifest.facts["generations"] is manifest.facts["training"] is None and manifest.made_of["unchecked"]
    of_rows, _ = detect(stage, tmp_path / "known")
    for row, other in zip(rows, (row for row in of_rows if row.generation.sample == 0), strict=True):
        assert row.generation.exact_match is row.generation.matched_tokens is None
        assert (row.labels.passages, row.own.passages) == (other.labels.passages, other.own.passages)


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
