"""Stage 1: what is read, how it is split, what the probes hold, and what a person is told of bad data."""

import csv
import json
from collections import Counter

import pytest
from datasets import Dataset, load_from_disk
from shell import ROOT, one_line, run_script

from memorization.encoding.dialogues import make_dialogues
from memorization.encoding.probes import read_probes
from memorization.encoding.tasks import dialogue_text
from memorization.files import read_json
from memorization.hub import load_tokenizer

ROWS = make_dialogues(seed=3, single=20, fourfold=4, sixteenfold=1)


def encode(out, *args):
    return run_script("encode_dialogue.py", "--output-dir", out, *args)


def sides(out, name="dialogue"):
    return [load_from_disk(str(out / f"tokenized_{name}_{side}")) for side in ("train", "test")]


def write_json(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path, rows):
    Dataset.from_list(rows).to_parquet(str(path))


def write_saved(path, rows):
    Dataset.from_list(rows).save_to_disk(str(path))


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    out = tmp_path_factory.mktemp("encoded")
    data = out / "data.json"
    write_json(data, ROWS)
    assert encode(out, "--data", data, "--test-size", "0.2") == 0
    return out


def test_without_arguments_it_encodes_the_projects_own_dialogues(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_script("encode_dialogue.py") == 0
    train, test = sides(tmp_path / "tokenized_data")
    assert sorted(train["text"][:] + test["text"][:]) == sorted(dialogue_text(**row) for row in make_dialogues())


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("d.jsonl", write_jsonl),
        ("d.csv", write_csv),
        ("d.parquet", write_parquet),
        ("d", write_saved),
    ],
)
def test_every_kind_of_file_gives_what_json_gives(tmp_path, encoded, name, write):
    write(tmp_path / name, ROWS)
    assert encode(tmp_path / "out", "--data", tmp_path / name, "--test-size", "0.2") == 0
    assert (tmp_path / "out" / "dialogue_prefix.json").read_bytes() == (encoded / "dialogue_prefix.json").read_bytes()


def test_other_column_names_are_named_by_flags(tmp_path, encoded):
    renamed = [{"task": row["instruction"], "q": row["input"], "a": row["output"]} for row in ROWS]
    write_jsonl(tmp_path / "d.jsonl", renamed)
    flags = ["--instruction-column", "task", "--input-column", "q", "--output-column", "a", "--test-size", "0.2"]
    assert encode(tmp_path, "--data", tmp_path / "d.jsonl", *flags) == 0
    assert (tmp_path / "dialogue_prefix.json").read_bytes() == (encoded / "dialogue_prefix.json").read_bytes()


def test_samples_are_tokenized_and_end_with_a_learned_end_of_text(encoded):
    tokenizer = load_tokenizer(ROOT / "configs" / "gpt-neo-small")
    for row in sides(encoded)[0]:
        assert row["input_ids"] == tokenizer(row["text"])["input_ids"] + [tokenizer.eos_token_id]
        assert row["labels"] == row["input_ids"]
        assert row["attention_mask"] == [1] * len(row["input_ids"])


def test_copies_of_a_sample_stay_on_one_side_and_are_counted(encoded):
    train, test = (Counter(side["text"][:]) for side in sides(encoded))
    assert not train.keys() & test.keys()
    assert Counter([*train.values(), *test.values()]) == {1: 20, 4: 4, 16: 1}
    assert len(test) == round(0.2 * 25)
    probes = read_probes(encoded / "dialogue_prefix.json")
    assert {p["prefix"] + p["suffix"]: p["duplicates"] for p in probes if p["member"]} == train
    assert {p["prefix"] + p["suffix"]: p["duplicates"] for p in probes if not p["member"]} == test


def test_a_probe_is_cut_behind_its_first_tokens(encoded):
    tokenizer = load_tokenizer(ROOT / "configs" / "gpt-neo-small")
    tokens = load_from_disk(str(encoded / "tokenized_dialogue_prefix"))
    for probe, row in zip(read_probes(encoded / "dialogue_prefix.json"), tokens, strict=True):
        assert (row["id"], row["member"], len(row["prefix_ids"])) == (probe["id"], probe["member"], 50)
        assert tokenizer.decode(row["prefix_ids"]) == probe["prefix"]
        assert tokenizer.decode(row["suffix_ids"]) == probe["suffix"]


def test_same_seed_gives_same_bytes_and_another_seed_another_split(tmp_path, encoded):
    for seed in (5, 6):
        data = ["--data", encoded / "data.json", "--test-size", "0.2"]
        assert encode(tmp_path / str(seed), *data, "--seed", seed, "--num-proc", "2") == 0
    for side in ("train", "test", "prefix"):
        for file in (encoded / f"tokenized_dialogue_{side}").iterdir():
            assert file.read_bytes() == (tmp_path / "5" / f"tokenized_dialogue_{side}" / file.name).read_bytes()
    members = [{p["id"] for p in read_probes(tmp_path / s / "dialogue_prefix.json") if p["member"]} for s in "56"]
    assert members[0] != members[1]


def test_hard_text_passes_unharmed(tmp_path):
    hard = ["nul \0 byte ", "emoji 👩‍👩‍👧 🇩🇪 ", "שלום וברכה مرحبا بالعالم ", "x" * 100_000 + " ", "line\r\nends\n\t "]
    rows = [{"instruction": text, "input": text * 30, "output": text * 2} for text in hard]
    for kind, write in {"json": write_json, "jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}.items():
        write(tmp_path / f"d.{kind}", rows)
        assert encode(tmp_path / kind, "--data", tmp_path / f"d.{kind}", "--test-size", "0.4") == 0
        train, test = sides(tmp_path / kind)
        assert sorted(train["text"][:] + test["text"][:]) == sorted(dialogue_text(**row) for row in rows)
        for probe in read_probes(tmp_path / kind / "dialogue_prefix.json"):
            assert probe["prefix"] + probe["suffix"] == dialogue_text(**rows[probe["id"]])


def test_a_missing_value_is_empty_and_a_lone_surrogate_is_replaced(tmp_path):
    rows = [{**row, "input": None} for row in ROWS[:5]] + [{**ROWS[9], "input": "half \ud83d a pair"}]
    write_json(tmp_path / "d.json", rows)
    assert encode(tmp_path, "--data", tmp_path / "d.json", "--prefix-length", "10") == 0
    texts = [text for side in sides(tmp_path) for text in side["text"]]
    assert any("half \ufffd a pair" in text for text in texts)
    assert dialogue_text(**{**ROWS[0], "input": ""}) in texts


def test_samples_too_short_for_a_probe_are_counted_but_trained_on(tmp_path):
    write_json(tmp_path / "d.json", [*ROWS[:8], {"instruction": "Too", "input": "short", "output": "."}])
    assert encode(tmp_path, "--data", tmp_path / "d.json") == 0
    facts = read_json(tmp_path / "dialogue_prefix.json.manifest.json")
    assert facts["samples_too_short_for_a_probe"] == 1
    assert facts["rows"]["train"] + facts["rows"]["test"] == 9
    assert (
        facts["rows"]["prefix"] == len(read_probes(tmp_path / "dialogue_prefix.json")) == facts["distinct_samples"] - 1
    )


BAD = {
    "missing file": (None, [], "no such file"),
    "empty file": ("", [], "line 1"),
    "no rows": ("[]", [], "no rows"),
    "not JSON": ('[{"a": 1},\n{"b": }]', [], "line 2"),
    "not objects": ('["a"]', [], "list of objects"),
    "missing column": ('[{"instruction": "a", "question": "b", "output": "c"}]', [], "it has 'instruction'"),
    "all too short": (json.dumps([{**ROWS[0], "output": ""}, ROWS[1]]), ["--prefix-length", "500"], "all 2"),
    "one sample": ('[{"instruction":"a","input":"b","output":"c"}]', [], "only one distinct"),
    "bad share": (json.dumps(ROWS), ["--test-size", "1.5"], "--test-size 1.5"),
    "bad length": (json.dumps(ROWS), ["--prefix-length", "0"], "--prefix-length 0"),
    "no number": (json.dumps(ROWS), ["--seed", "x"], "--seed"),
    "no tokenizer": (json.dumps(ROWS), ["--tokenizer", "no/such-tokenizer"], "no/such-tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_gets_one_line_and_leaves_nothing_behind(tmp_path, capsys, case):
    content, flags, named = BAD[case]
    if content is not None:
        (tmp_path / "d.json").write_text(content)
    assert encode(tmp_path / "out", "--data", tmp_path / "d.json", *flags) == 2
    assert named in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_malformed_line_is_named_by_its_number(tmp_path, capsys):
    (tmp_path / "d.jsonl").write_text(json.dumps(ROWS[0]) + "\n\n{broken\n")
    assert encode(tmp_path, "--data", tmp_path / "d.jsonl") == 2
    assert "line 3" in one_line(capsys)
    (tmp_path / "d.csv").write_text("instruction,input,output\na,b,c\nd,e\n")
    assert encode(tmp_path, "--data", tmp_path / "d.csv") == 2
    assert "line 3" in one_line(capsys)
