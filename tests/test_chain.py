"""The chain of results (design.md, What makes a result): whatever is of two runs is refused, and both are named."""

import json
import shutil

import pytest

from memorization.detection.kinds import DETECTIONS
from memorization.encoding.kinds import PROBES
from memorization.encoding.made_up import make_dialogues
from memorization.extraction.kinds import GENERATIONS
from memorization.models.hub import load_tokenizer
from memorization.store.files import fingerprint, read_json, write_json
from memorization.store.locations import encoding_paths
from memorization.store.manifests import manifest_path, read_manifest, sealed
from support.command_line import ROOT, one_line, run_script
from support.tiny_models import save_language_model

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
DIALOGUES = make_dialogues(seed=3, single=20, fourfold=2, sixteenfold=0)


def stage1(home, name, *flags):
    data = ["--data", home / "d.json", "--test-size", "0.3", "--output-dir", home / name]
    assert run_script("encode_dialogue.py", *data, *flags) == 0


def stage2(home, train, test, output, *flags):
    train, test = encoding_paths(home / train, "dialogue")["training set"], encoding_paths(home / test, "dialogue")
    data = ["--train_file", train, "--validation_file", test["held-out set"], "--output_dir", output]
    how = ["--max_steps", "1", "--per_device_train_batch_size", "4", "--block_size", "64", "--save_strategy", "no"]
    return run_script("run_clm.py", "--model_name_or_path", home / "base", *data, *how, *flags)


def stage3(home, model, encoding, output, *flags):
    paths = ["--model-path", model, "--tokenized-dir", home / encoding, "--output-dir", output]
    return run_script("inference_prefix.py", *paths, "--max-new-tokens", "12", "--batch-size", "8", *flags)


def stage4(home, encoding, *flags):
    probes = ["-dir", home / encoding, "-fn", "dialogue_prefix.json"]
    return run_script("load_to_elastic.py", *probes, *flags)


def stage5(rows, output, *flags):
    what = ["--filedir", rows, "--type", "m", "--dataset", "dialogue", "--paraphrase-model", "none"]
    return run_script("plagiarism_detect.py", *what, "--output-dir", output, *flags)


def embedded(home, name):
    return ["--indexes", home / "indexes", "--index-xsuffix", name]


def rows_of(home):
    return home / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two encodings of the same data, of two seeds (a, b); a model trained on a; its generations; an index of each."""
    home = tmp_path_factory.mktemp("home")
    write_json(home / "d.json", DIALOGUES)
    save_language_model(home / "base", TOKENIZER)
    stage1(home, "a", "--seed", "5")
    stage1(home, "b", "--seed", "6")
    assert stage2(home, "a", "a", home / "model") == 0
    assert stage3(home, home / "model", "a", home) == 0
    for name in "ab":
        assert stage4(home, name, *embedded(home, name)) == 0
    assert stage5(rows_of(home), home / "results", *embedded(home, "a")) == 0
    return home


@pytest.fixture
def copy(home, tmp_path):
    """The same, to be spoiled."""
    return shutil.copytree(home, tmp_path / "copy")


def identity(home, encoding):
    return read_manifest(encoding_paths(home / encoding, "dialogue")["probes"], PROBES).identity


def test_probes_of_another_encoding_than_the_model_was_trained_on(home, tmp_path, capsys):
    assert stage3(home, home / "model", "b", tmp_path) == 2
    line = one_line(capsys)
    assert identity(home, "a") in line and identity(home, "b") in line and "--unchecked" in line
    assert not list(tmp_path.rglob("*.jsonl*"))


def test_unchecked_goes_on_and_every_table_says_so(home, tmp_path, capsys):
    assert stage3(home, home / "model", "b", tmp_path, "--unchecked") == 0
    assert stage5(rows_of(tmp_path), tmp_path / "results", *embedded(home, "b")) == 0
    assert "UNCHECKED" in capsys.readouterr().out
    assert run_script("report.py", tmp_path / "results" / "m" / "dialogue") == 0
    assert "UNCHECKED" in capsys.readouterr().out


def test_a_model_that_is_not_ours_goes_on_and_the_result_says_that_nothing_is_known(home, tmp_path):
    assert stage3(home, home / "base", "a", tmp_path) == 0
    assert read_manifest(rows_of(tmp_path), GENERATIONS).facts["training"] is None


@pytest.mark.parametrize("kind", ["embedded", pytest.param("elastic", marks=pytest.mark.slow)])
def test_an_index_of_another_encoding(home, tmp_path, capsys, kind, request):
    flags = embedded(home, "b")
    if kind == "elastic":
        spans = request.getfixturevalue("tmp_path_factory").mktemp("spans")
        flags = ["--indexes", spans, *request.getfixturevalue("elastic_flags")]
        assert stage4(home, "b", *flags) == 0
        capsys.readouterr()
    assert stage5(rows_of(home), tmp_path, *flags) == 2
    line = one_line(capsys)
    assert identity(home, "a")[:12] in line and identity(home, "b")[:12] in line
    assert not list(tmp_path.rglob("*.json*"))


def test_an_index_in_the_place_of_another(copy, tmp_path, capsys):
    """Its manifest missing, or that of the right one beside it."""
    shutil.rmtree(copy / "indexes" / "a")
    shutil.copytree(copy / "indexes" / "b", copy / "indexes" / "a")
    assert stage5(rows_of(copy), tmp_path, *embedded(copy, "a")) == 2
    assert identity(copy, "b")[:12] in one_line(capsys)
    manifest_path(copy / "indexes" / "a").unlink(missing_ok=True)
    assert stage5(rows_of(copy), tmp_path, *embedded(copy, "a")) == 2
    assert identity(copy, "b")[:12] in one_line(capsys)


def test_an_index_of_another_prefix_length(home, tmp_path, capsys):
    flags = ["--indexes", tmp_path, "--index-xsuffix", "short"]
    assert stage4(home, "a", *flags, "--prefix-length", "30") == 0
    capsys.readouterr()
    assert stage5(rows_of(home), tmp_path / "out", *flags) == 2
    line = one_line(capsys)
    assert "30" in line and "50" in line


def test_an_index_loaded_again_from_other_documents_does_not_give_the_old_detections(copy, capsys):
    assert stage4(copy, "b", *embedded(copy, "a")) == 0
    manifest_path(copy / "indexes" / "a").unlink(missing_ok=True)
    capsys.readouterr()
    assert stage5(rows_of(copy), copy / "results", *embedded(copy, "a")) == 2
    assert identity(copy, "b")[:12] in one_line(capsys)


def test_a_model_of_two_encodings_takes_probes_of_either_and_of_no_other(home, tmp_path, capsys):
    write_json(tmp_path / "c.json", make_dialogues(seed=4, single=20, fourfold=2, sixteenfold=0))
    stage1(home, "c", "--data", tmp_path / "c.json", "--near-duplicates", "0.9")
    sets = encoding_paths(home / "c", "dialogue")
    more = "--train_file", sets["training set"], "--validation_file", sets["held-out set"], "--task_weights", "1,2"
    assert stage2(home, "a", "a", tmp_path / "model", *more, "--block_size", "256") == 0
    figures = read_json(tmp_path / "model" / "eval_results.json")
    both = f"{identity(home, 'a')} {identity(home, 'c')}"
    for name, share in (("a", 0.8), ("c", 0.9)):
        assert stage3(home, tmp_path / "model", name, tmp_path / name) == 0
        manifest = read_manifest(rows_of(tmp_path / name), GENERATIONS)
        assert manifest.made_of["encoding"] == identity(home, name) and manifest.made_of["trained_on"] == both
        assert manifest.facts["split"]["near_duplicates"] == share
    assert stage5(rows_of(tmp_path / "a"), tmp_path / "results", *embedded(home, "a")) == 0
    results = home / "results" / "m" / "dialogue", tmp_path / "results" / "m" / "dialogue"
    assert read_manifest(results[1] / "detections.jsonl", DETECTIONS).facts["split"]["near_duplicates"] == 0.8
    assert run_script("report.py", *results, "--output", tmp_path / "report") == 0
    table = (tmp_path / "report" / "summary.csv").read_text()
    for name in ("perplexity", "output_perplexity"):
        assert f"{name},perplexity,,,{figures[f'eval_{name}']},,,,," in table
        assert read_json(results[1] / "result.json")["facts"]["held_out"][name] == figures[f"eval_{name}"]
    assert f" {figures['eval_perplexity']:.2f}" in capsys.readouterr().out

    assert stage3(home, tmp_path / "model", "b", tmp_path / "b") == 2
    line = one_line(capsys)
    assert both in line and identity(home, "b") in line
    strange = encoding_paths(home / "b", "dialogue")["training set"]
    assert stage2(home, "a", "a", tmp_path / "out", "--train_file", strange) == 2
    assert f"{strange}: " in (line := one_line(capsys)) and "texts of the held-out set " in line


def test_a_training_and_a_held_out_set_of_two_encodings(home, tmp_path, capsys):
    assert stage2(home, "a", "b", tmp_path / "out") == 2
    line = one_line(capsys)
    assert identity(home, "a") in line and identity(home, "b") in line
    assert not (tmp_path / "out").exists()


def test_one_set_as_both(home, tmp_path, capsys):
    sets = encoding_paths(home / "a", "dialogue")
    for train, test in [("training set", "training set"), ("held-out set", "held-out set")]:
        flags = ["--train_file", sets[train], "--validation_file", sets[test]]
        assert stage2(home, "a", "a", tmp_path / "out", *flags) == 2
        line = one_line(capsys)
        assert "'training set'" in line and "'held-out set'" in line
        assert not (tmp_path / "out").exists()


def test_the_text_of_the_probes_from_another_split_than_their_ids(copy, tmp_path, capsys):
    a, b = (encoding_paths(copy / name, "dialogue")["probes as text"] for name in "ab")
    for path in (b, manifest_path(b)):
        shutil.copy(path, a.parent)
    for refused in (
        lambda: stage3(copy, copy / "model", "a", tmp_path),
        lambda: stage4(copy, "a", *embedded(tmp_path, "new")),
    ):
        assert refused() == 2
        line = one_line(capsys)
        assert str(a) in line and "tokenized_dialogue_prefix" in line and "seed (6, not 5)" in line


def test_a_listing_of_another_run_beside_the_rows(copy, tmp_path, capsys):
    assert stage3(copy, copy / "base", "a", tmp_path / "other") == 0
    capsys.readouterr()
    listing = rows_of(copy).with_suffix(".txt")
    shutil.copy(rows_of(tmp_path / "other").with_suffix(".txt"), listing)
    assert stage5(listing, tmp_path / "out", *embedded(copy, "a")) == 2
    line = one_line(capsys)
    assert str(listing) in line and rows_of(copy).name in line


def spoil(path, how):
    lines = path.read_text().splitlines(keepends=True)
    if how == "fewer":
        lines = lines[:-1]
    elif how == "edited":
        row = json.loads(lines[0])
        lines[0] = json.dumps({**row, "member": not row["member"]}) + "\n"
    elif how == "twice":
        lines[1] = lines[0]
    path.write_text("".join(lines))


@pytest.mark.parametrize("how", ["fewer", "edited", "twice", "fewer, described anew", "twice, described anew"])
def test_rows_that_are_not_what_their_manifest_says(copy, tmp_path, capsys, how):
    rows = rows_of(copy)
    spoil(rows, how.split(",")[0])
    if "anew" in how:
        manifest = read_json(manifest_path(rows))
        write_json(manifest_path(rows), sealed({**manifest, "contents": fingerprint(rows)}))
    assert stage5(rows, tmp_path / "out", *embedded(copy, "a")) == 2
    assert str(rows) in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_model_whose_training_did_not_finish(copy, tmp_path, capsys):
    manifest_path(copy / "model").unlink()
    assert stage3(copy, copy / "model", "a", tmp_path) == 2
    assert "did not finish" in one_line(capsys)


def test_weights_that_changed_after_the_training(copy, tmp_path, capsys):
    shutil.copy(copy / "base" / "model.safetensors", copy / "model")
    assert stage3(copy, copy / "model", "a", tmp_path) == 2
    assert "has changed" in one_line(capsys)


@pytest.mark.parametrize("kind", ["training set", "held-out set", "probes", "probes as text", "generations"])
def test_an_output_without_its_manifest(copy, tmp_path, capsys, kind):
    path = rows_of(copy) if kind == "generations" else encoding_paths(copy / "a", "dialogue")[kind]
    manifest_path(path).unlink()
    refused = {
        "training set": lambda: stage2(copy, "a", "a", tmp_path / "out"),
        "held-out set": lambda: stage2(copy, "a", "a", tmp_path / "out"),
        "probes": lambda: stage3(copy, copy / "model", "a", tmp_path / "out"),
        "probes as text": lambda: stage4(copy, "a", *embedded(tmp_path, "new")),
        "generations": lambda: stage5(path, tmp_path / "out", *embedded(copy, "a")),
    }
    assert refused[kind]() == 2
    assert f"{path}: has no manifest" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_model_of_the_same_vocabulary_with_another_end_of_text_token(copy, tmp_path, capsys):
    tokenizer = load_tokenizer(TOKENIZER)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(300)
    other = shutil.copytree(copy / "base", tmp_path / "other")
    tokenizer.save_pretrained(other)
    assert stage3(copy, other, "a", tmp_path / "out") == 2
    assert "tokenizer" in one_line(capsys)
    flags = ["--model_name_or_path", other]
    assert stage2(copy, "a", "a", tmp_path / "out", *flags) == 2
    assert "tokenizer" in one_line(capsys)
    assert not (tmp_path / "out").exists()
    config = read_json(copy / "base" / "config.json")
    write_json(
        copy / "base" / "config.json", {**config, "eos_token_id": 300}
    )  # the configuration alone is no tokenizer
    assert stage3(copy, copy / "base", "a", tmp_path / "out") == 0
    assert (
        "its configuration ends a text with token 300, generations end with the tokenizer's" in capsys.readouterr().out
    )


def test_a_finished_result_of_other_settings_is_not_replaced(copy, tmp_path, capsys):
    before = rows_of(copy).read_bytes()
    assert stage3(copy, copy / "model", "a", copy, "--temperature", "1.0") == 2
    line = one_line(capsys)
    assert "temperature (0.0, not 1.0)" in line and "--overwrite" in line
    assert rows_of(copy).read_bytes() == before
    assert stage3(copy, copy / "model", "a", copy, "--temperature", "1.0", "--overwrite") == 0
    capsys.readouterr()
    assert stage5(rows_of(copy), copy / "results", *embedded(copy, "a")) == 2
    assert "--overwrite" in one_line(capsys)


def test_training_and_evaluating_again_keeps_the_generations(copy, capsys):
    before = rows_of(copy).read_bytes(), manifest_path(rows_of(copy)).read_bytes()
    assert stage2(copy, "a", "a", copy / "model") == 0
    capsys.readouterr()
    assert stage3(copy, copy / "model", "a", copy) == 0
    assert "done before" in capsys.readouterr().out
    assert (rows_of(copy).read_bytes(), manifest_path(rows_of(copy)).read_bytes()) == before


def test_the_same_work_elsewhere_is_the_same_work(copy, home):
    """No path is part of an identity: the copy's stages reuse what they find."""
    assert stage5(rows_of(copy), copy / "results", *embedded(copy, "a")) == 0
    for result, kind in [
        (rows_of(copy), GENERATIONS),
        (copy / "results" / "m" / "dialogue" / "detections.jsonl", DETECTIONS),
    ]:
        there = home / result.relative_to(copy)
        assert read_manifest(result, kind).identity == read_manifest(there, kind).identity
        assert result.read_bytes() == there.read_bytes()
