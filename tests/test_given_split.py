"""A given split: which side a sample is on is what the files say, and what is no control is left out and named."""

import json
import re

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, load_from_disk
from jsonschema import Draft202012Validator

from memorization.encoding.comparability import LEAST, compare_sides, draw_to_compare, sides_differ
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes
from support.command_line import ROOT, one_line, run_script
from support.detection_rows import detection, write_detections
from support.tiny_models import save_language_model

SCHEMA = ROOT / "memorization" / "results" / "audit.schema.json"
ROWS = make_dialogues(seed=3, single=150, fourfold=0, sixteenfold=0)
TRAINING, HELD_OUT = ROWS[:100], ROWS[100:]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def encode(home, training, held_out, *flags):
    named = ["--train-data", write(home / "training.jsonl", training)]
    named += ["--held-out-data", write(home / "held_out.jsonl", held_out)] if held_out else []
    return run_script("encode_dialogue.py", *named, "--output-dir", home / "out", *flags)


def sets(home):
    return [load_from_disk(str(home / "out" / f"tokenized_dialogue_{side}")) for side in ("train", "test")]


def manifest(home):
    return json.loads((home / "out" / "tokenized_dialogue_prefix.manifest.json").read_text())


def outputs(rows):
    return [row["output"] for row in rows]


def of_texts(texts):
    return [text.rpartition("---------- \n")[2] for text in texts]


def test_the_files_say_who_is_a_member(tmp_path):
    assert encode(tmp_path, TRAINING, HELD_OUT, "--near-duplicates", "none") == 0
    for side, rows in zip(sets(tmp_path), (TRAINING, HELD_OUT), strict=True):
        assert of_texts(side["text"]) == outputs(rows)
    probes = Probes(tmp_path / "out", "dialogue")
    assert probes.members.tolist() == [id < len(TRAINING) for id in probes.ids.tolist()]
    made_of = manifest(tmp_path)["made_of"]
    assert (made_of["split"], made_of["training_samples"]) == ("given", len(TRAINING))
    assert not {"seed", "test_size"} & made_of.keys()


def test_the_identity_is_of_both_files_and_of_the_side_that_each_is(tmp_path):
    identities, contents = [], (HELD_OUT[:30], HELD_OUT[30:])
    for number, (training, held_out) in enumerate(
        [(TRAINING, HELD_OUT), (HELD_OUT, TRAINING), (TRAINING, contents[0]), (TRAINING + contents[0], contents[1])]
    ):
        (home := tmp_path / str(number)).mkdir()
        assert encode(home, training, held_out) == 0
        identities.append(manifest(home)["identity"])
    assert len(set(identities)) == 4
    (home := tmp_path / "drawn").mkdir()
    assert (
        run_script(
            "encode_dialogue.py",
            "--data",
            write(home / "all", ROWS).rename(home / "all.jsonl"),
            "--output-dir",
            home / "out",
        )
        == 0
    )
    assert manifest(home)["made_of"]["split"] == "random"


def test_copies_are_those_of_a_samples_own_side(tmp_path, capsys):
    training, held_out = TRAINING + TRAINING[:1] * 3, HELD_OUT + HELD_OUT[:2] * 2 + TRAINING[:1] * 5
    assert encode(tmp_path, training, held_out) == 0
    probes = Probes(tmp_path / "out", "dialogue")
    first = {id: n for id, n in zip(probes.ids.tolist(), probes.duplicates.tolist(), strict=True) if n > 1}
    assert first == {0: 4, len(training): 3, len(training) + 1: 3}
    assert of_texts(sets(tmp_path)[1]["text"]) == outputs(held_out[:-5])
    printed = capsys.readouterr().out
    assert "5 held-out samples left out: they stand in the training data too (row, the first 55: " in printed
    facts = manifest(tmp_path)["facts"]
    assert (facts["held_out_in_training"], facts["held_out_near_training"]) == (5, 0)


def near(row):
    words = row["output"].split()
    return row | {"output": " ".join([*words[:-1], "differently"])}


@pytest.mark.parametrize("rule", ["0.5", "none"])
def test_held_out_near_duplicates_of_members_are_left_out(tmp_path, rule, capsys):
    alike = [near(row) for row in TRAINING[:4]]
    assert encode(tmp_path, TRAINING, HELD_OUT + alike, "--near-duplicates", rule) == 0
    held_out = of_texts(sets(tmp_path)[1]["text"])
    facts, printed = manifest(tmp_path)["facts"], capsys.readouterr().out
    if rule == "none":
        assert held_out == outputs(HELD_OUT + alike) and facts["held_out_near_training"] == 0
        return
    assert not set(held_out) & set(outputs(alike))
    assert len(HELD_OUT) + len(alike) - len(held_out) == facts["held_out_near_training"] >= 4
    assert f"{facts['held_out_near_training']} held-out samples left out: they are near-duplicates of" in printed
    probes = Probes(tmp_path / "out", "dialogue")
    assert not set(probes.clusters[probes.members]) & set(probes.clusters[~probes.members])


def test_without_held_out_data_there_is_no_control(tmp_path, capsys):
    assert encode(tmp_path, TRAINING, []) == 0
    assert [len(side) for side in sets(tmp_path)] == [len(TRAINING), 0]
    assert "no held-out data: there is no control\n" in capsys.readouterr().out
    assert Probes(tmp_path / "out", "dialogue").members.all()
    assert manifest(tmp_path)["made_of"]["split"] == "given"
    assert "comparability" not in manifest(tmp_path)["facts"]


@pytest.mark.parametrize("held_out_split", ["test", "validation"])
@pytest.mark.parametrize("named", [False, True])
def test_the_splits_of_a_saved_data_set_are_the_sides(tmp_path, held_out_split, named, capsys):
    splits = {"train": Dataset.from_list(TRAINING), held_out_split: Dataset.from_list(HELD_OUT)}
    DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    flags = ["--held-out-data", tmp_path / "saved"] * named
    options = ["--output-dir", tmp_path / "out", "--near-duplicates", "none"]
    assert run_script("encode_dialogue.py", "--train-data", tmp_path / "saved", *flags, *options) == 0
    for side, rows in zip(sets(tmp_path), (TRAINING, HELD_OUT), strict=True):
        assert of_texts(side["text"]) == outputs(rows)
    assert f"only its split '{held_out_split}' is read as held-out-data" in capsys.readouterr().out


def test_parallel_text_files_are_given_too(tmp_path):
    for side, number in (("a", 40), ("b", 30)):
        for language in ("de", "en"):
            lines = [f"{side} {number + i} {language} {'one two three four five six ' * 8}" for i in range(number)]
            (tmp_path / f"{side}.{language}").write_text("\n".join(lines) + "\n")
    names = [[tmp_path / f"{side}.{language}" for language in ("de", "en")] for side in "ab"]
    options = ["--output-dir", tmp_path / "out", "--near-duplicates", "none", "--shared-prompts"]
    flags = ["--train-data", *names[0], "--held-out-data", *names[1], *options]
    assert run_script("encode_translation.py", *flags) == 0
    sides = [load_from_disk(str(tmp_path / "out" / f"tokenized_translation_{side}")) for side in ("train", "test")]
    assert [len(side) for side in sides] == [40, 30]


def test_a_limit_is_of_either_side(tmp_path):
    assert encode(tmp_path, TRAINING, HELD_OUT, "--max-samples", "25", "--near-duplicates", "none") == 0
    assert [len(side) for side in sets(tmp_path)] == [25, 25]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "x.jsonl"], "argument --data: not allowed with argument --train-data"),
        (["--seed", "5"], "--seed: has no effect with --train-data"),
        (["--test-size", "0.1"], "--test-size: has no effect with --train-data"),
    ],
)
def test_flags_that_have_no_effect_are_refused(tmp_path, flags, message, capsys):
    assert encode(tmp_path, TRAINING, HELD_OUT, *flags) == 2
    assert message in one_line(capsys)


def test_held_out_data_alone_is_refused(tmp_path, capsys):
    assert run_script("encode_dialogue.py", "--held-out-data", write(tmp_path / "h.jsonl", HELD_OUT)) == 2
    assert "--held-out-data: goes with --train-data" in one_line(capsys)


def test_held_out_data_that_is_all_training_data_is_refused(tmp_path, capsys):
    assert encode(tmp_path, TRAINING, TRAINING[:10]) == 2
    assert "all 10 held-out samples stand in it too" in one_line(capsys)
    assert not (tmp_path / "out" / "tokenized_dialogue_train").exists()


def test_canaries_take_a_seed(tmp_path):
    identities = set()
    for seed in "12":
        flags = ["--canaries", "6", "--seed", seed, "--overwrite"]
        assert encode(tmp_path, TRAINING, HELD_OUT, *flags) == 0
        identities.add(manifest(tmp_path)["identity"])
    assert len(identities) == 2


# comparable sides

VOCABULARY = np.array([f"word{i}" for i in range(2000)])
SHARES = 1 / np.arange(1, 2001) / (1 / np.arange(1, 2001)).sum()


def random_texts(rng, number, words=VOCABULARY):
    return [" ".join(rng.choice(words, rng.integers(10, 50), p=SHARES)) for _ in range(number)]


def test_sides_of_a_random_split_are_not_told_apart():
    rng = np.random.default_rng(1)
    inside = warned = 0
    for number in range(60):
        n_members, n_held_out = ((60, 60), (150, 40))[number % 2]
        member = np.arange(n_members + n_held_out) < n_members
        sides = compare_sides(random_texts(rng, len(member)), member, np.arange(len(member)))
        low, high = sides["interval"]
        inside += low <= 0.5 <= high
        warned += sides_differ(sides)
    assert inside >= 52  # of 95 %, fewer have a chance of 0.6 %
    assert warned <= 1


def test_copies_of_a_cluster_do_not_tell_the_sides_apart():
    """Each text of a side has four near-copies: a classifier that saw one would know the side of the others."""
    rng = np.random.default_rng(2)
    texts = [f"{text} {copy}" for text in random_texts(rng, 100) for copy in range(5)]
    clusters = np.arange(500) // 5 * 5
    sides = compare_sides(texts, clusters < 250, clusters)
    low, high = sides["interval"]
    assert low <= 0.5 <= high and high - low > 0.15  # as wide as of 50 and 50


HAN = {f"word{i}": chr(0x4E00 + i) for i in range(2000)}


def in_han(text):
    return "".join(map(HAN.__getitem__, text.split()))


@pytest.mark.parametrize(
    ("written", "changed"),
    [
        (str, lambda text: text.replace("word1 ", "other ")),
        (str, str.title),
        (str, lambda text: text.replace(" ", ", ")),
        (in_han, lambda text: text.replace("word1 ", "word1999 ")),  # one word among many, without blanks
    ],
)
def test_sides_that_differ_are_told_apart(written, changed):
    texts, member = random_texts(np.random.default_rng(3), 500), np.arange(500) < 250
    alike = [written(text) for text in texts]
    differing = [written(text if side else changed(text)) for text, side in zip(texts, member, strict=True)]
    assert not sides_differ(compare_sides(alike, member, np.arange(500)))
    assert sides_differ(compare_sides(differing, member, np.arange(500)))


def test_too_few_samples_are_not_compared():
    member = np.arange(100) < 100 - LEAST + 1
    sides = compare_sides(random_texts(np.random.default_rng(4), 100), member, np.arange(100))
    assert sides["auc"] is None and sides["interval"] is None and not sides_differ(sides)


def test_only_some_of_many_samples_are_compared():
    member = np.arange(10_000) < 7000
    stored = np.arange(10_000) % 2 == 0
    chosen = draw_to_compare(member, stored)
    assert stored[chosen].all() and (np.diff(chosen) > 0).all()
    assert member[chosen].sum() == 2000 and (~member[chosen]).sum() == 1500
    assert abs(chosen[member[chosen]].mean() - 3500) < 200  # from all of them


def test_sides_that_differ_are_warned_of(tmp_path, capsys):
    held_out = [row | {"input": row["input"].upper()} for row in HELD_OUT]
    assert encode(tmp_path, TRAINING, held_out, "--near-duplicates", "none") == 0
    assert (
        "WARNING: the sides differ: a difference may come from the texts, not from training" in capsys.readouterr().out
    )
    comparability = manifest(tmp_path)["facts"]["comparability"]
    assert comparability["interval"][0] > 0.6 and comparability["members"] == 100


# what results say of it

APART = {"members": 200, "held_out": 100, "auc": 0.83, "interval": (0.8, 0.86)}
ALIKE = {"members": 200, "held_out": 100, "auc": 0.63, "interval": (0.59, 0.67)}
FEW = {"members": 200, "held_out": 3, "auc": None, "interval": None}


def detections():
    return [detection(i, own=60 if i < 10 else 9) for i in (*range(20), *range(1000, 1020))]


@pytest.mark.parametrize("sides", [APART, ALIKE, FEW, None])
def test_every_report_warns_of_sides_that_differ(tmp_path, sides, capsys):
    split = {"kind": "given", "near_duplicates": 0.8, "comparability": sides}
    result = write_detections(tmp_path / "result", detections(), training={}, split=split)
    out = tmp_path / "report"
    assert run_script("report.py", result, "--output", out, "--fail-above", "own=0.9") == 0
    printed = " ".join(capsys.readouterr().out.split())
    files = [(out / name).read_text() for name in ("report.html", "summary.md", "summary.tex", "leaks.txt")]
    texts = [
        printed,
        printed[printed.index("within all limits") :],
        *(" ".join(re.sub("[%\n]", " ", t).split()) for t in files),
    ]
    warning = "tells held-out samples from members with an AUC of 0.83 [0.80, 0.86], so a difference may come from the"
    for text in texts:
        assert (warning in text.replace("\\", "")) == (sides is APART)
        assert "if the two sides are alike but for the training" in text or text not in (printed, *texts[3:4])
    audit = json.loads((out / "audit.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(audit)
    (run,) = audit["runs"]
    assert run["split"] == json.loads(json.dumps(split)) and run["membership"] == "trained"
    assert ("SIDES DIFFER" in [note["name"] for note in run["notes"]]) == (sides is APART)
    assert ("SIDES DIFFER" in (out / "summary.csv").read_text()) == (sides is APART)
    assert all(("too few samples to tell whether held-out" in text) == (sides is FEW) for text in texts)


@pytest.mark.parametrize("kind", ["random", "given"])
def test_every_report_says_whose_word_membership_is(tmp_path, kind, capsys):
    split = {"kind": kind, "near_duplicates": 0.8, "comparability": None}
    result = write_detections(tmp_path / "result", detections(), split=split)
    out = tmp_path / "report"
    assert run_script("report.py", result, "--output", out, "--fail-above", "own=0.9") == 0
    printed = " ".join(capsys.readouterr().out.split())
    files = [
        (out / name).read_text() for name in ("report.html", "summary.md", "summary.tex", "leaks.txt", "audit.json")
    ]
    for text in (printed, printed[printed.index("within all limits") :], *files):
        assert "membership as declared by the files" in text
        assert ("may have been trained on the held-out texts too" in " ".join(text.replace("%", "").split())) == (
            kind == "random"
        )
    assert json.loads(files[-1])["runs"][0]["membership"] == "declared"


# without held-out data

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
NUMBER = re.compile(r"\bnan\b|\binf\b", re.IGNORECASE)


def train(home, *flags):
    data = ["--model-name-or-path", home / "base", "--train-file", home / "out" / "tokenized_dialogue_train"]
    size = ["--max-steps", "2", "--per-device-train-batch-size", "4", "--block-size", "64", "--save-strategy", "no"]
    return run_script("run_clm.py", *data, "--output-dir", home / "model", *size, *flags)


def continue_prefixes(home, model, *flags):
    paths = ["--model-path", home / model, "--tokenized-dir", home / "out", "--output-dir", home / f"of {model}"]
    return run_script("inference_prefix.py", *paths, "--max-new-tokens", "12", "--batch-size", "8", *flags)


@pytest.fixture(scope="module")
def uncontrolled(tmp_path_factory):
    """Stages 1 and 2 without held-out data; base: the model before."""
    home = tmp_path_factory.mktemp("uncontrolled")
    save_language_model(home / "base", TOKENIZER)
    assert encode(home, TRAINING[:20], []) == 0
    held_out = ["--validation-file", home / "out" / "tokenized_dialogue_test"]
    probes = ["--memorization-probes", home / "out" / "tokenized_dialogue_prefix", "--memorization-samples", "4"]
    assert train(home, *held_out, *probes) == 0
    index = ["--indexes", home / "indexes", "--index-xsuffix", "i"]
    assert run_script("load_to_elastic.py", "-dir", home / "out", "-fn", "dialogue_prefix.json", *index) == 0
    return home


def test_a_model_trains_without_a_held_out_set(uncontrolled):
    manifest = json.loads((uncontrolled / "model.manifest.json").read_text())
    assert manifest["facts"]["held_out"] == {}
    assert not (uncontrolled / "model" / "eval_results.json").exists()
    curve = [json.loads(line) for line in (uncontrolled / "model" / "memorization.jsonl").read_text().splitlines()]
    assert curve and not any("held_out" in name for row in curve for name in row)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--load-best-model-at-end", "true", "--save-strategy", "epoch"], "whose loss the training is to go by"),
        (["--lr-scheduler-type", "reduce_lr_on_plateau"], "whose loss the training is to go by"),
    ],
)
def test_a_training_that_goes_by_the_held_out_loss_needs_held_out_samples(uncontrolled, flags, message, capsys):
    flags = [*flags, "--validation-file", uncontrolled / "out" / "tokenized_dialogue_test", "--overwrite-output-dir"]
    assert train(uncontrolled, *flags) == 2
    assert f"tokenized_dialogue_test: no held-out samples, {message}" in one_line(capsys)


@pytest.mark.parametrize(("model", "base"), [("model", True), ("model", False), ("base", False)])
def test_without_a_control_rates_are_given_and_nothing_is_an_all_clear(uncontrolled, model, base, capsys):
    home = uncontrolled
    beside = ["--base-model", home / "base"] if base else ["--overwrite"]
    assert continue_prefixes(home, model, *beside) == 0
    rows = home / f"of {model}" / "memorization_finetuned_dialogue" / "dialogue" / "dialogue.jsonl"
    stage3 = json.loads((rows.parent / "dialogue.jsonl.manifest.json").read_text())
    assert stage3["facts"]["membership"].startswith("known" if model == "model" else "declared by the files")
    what = ["--filedir", rows, "--type", "m", "--dataset", model, "--paraphrase-model", "none", "--overwrite"]
    where = ["--indexes", home / "indexes", "--index-xsuffix", "i", "--output-dir", home / "results"]
    capsys.readouterr()
    assert run_script("plagiarism_detect.py", *what, *where) == 0
    result, out = home / "results" / "m" / model, home / f"report of {model}"
    texts = [capsys.readouterr().out]
    assert run_script("report.py", result, "--output", out, "--fail-above", "own=0.5") == 0
    texts += [
        capsys.readouterr().out,
        *((out / name).read_text() for name in ("report.html", "summary.md", "leaks.txt")),
    ]
    for text in texts:
        text = " ".join(text.split())
        assert "there are no held-out texts" in text and not NUMBER.search(re.sub("<.*?>", "", text))
        assert "no evidence at this sample size" not in text and "than one held-out sample's" not in text
        assert ("membership as declared by the files" in text) == (model == "base")
    for text in texts[:4]:
        text = " ".join(text.split())
        assert (
            f"Verdict: none, as there is no control: no held-out texts{'.' if base else ', and no base model.'}" in text
        )
        assert ("Against the base model: more often beyond chance in none of" in text) == base
    (run,) = json.loads((out / "audit.json").read_text())["runs"]
    assert (run["verdict"] is None) == (not base) and run["scores"] == {} and run["another"] is None
    assert run["figures"][0]["groups"]["held out"]["n"] == 0 and run["figures"][0]["difference"] is None
    assert run["notes"][0]["name"] == "NO CONTROL" and run["split"]["kind"] == "given"
    assert run_script("report.py", result, "--fail-above", "excess:own=0.5") == 2
    assert "has no held-out texts, so there is no difference to limit" in one_line(capsys)


def test_canaries_need_no_held_out_data(tmp_path):
    save_language_model(tmp_path / "base", TOKENIZER)
    assert encode(tmp_path, TRAINING[:20], [], "--canaries", "3", "--canary-copies", "1", "--canary-digits", "2") == 0
    assert train(tmp_path) == 0 and continue_prefixes(tmp_path, "model") == 0
    assert next((tmp_path / "of model").rglob("dialogue.canaries.jsonl")).is_file()
