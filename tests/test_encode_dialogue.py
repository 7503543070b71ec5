"""Stage 1: what is read, how it is split, what the probes hold, and what a person is told of bad data."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset, load_from_disk

from memorization.encoding import output_files
from memorization.encoding.kinds import OF_ENCODING, PROBE_TEXTS
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes, read_probes
from memorization.encoding.tasks import DIALOGUE, SEPARATOR
from memorization.models.hub import load_tokenizer
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.store.files import locked
from memorization.store.locations import encoding_paths
from memorization.store.manifests import checked, manifest_path, read_manifest
from support.command_line import ROOT, one_line, run_script

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
    assert sorted(train["text"][:] + test["text"][:]) == sorted(DIALOGUE.text(row) for row in make_dialogues())


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
        source, target = row["text"].split(SEPARATOR)
        assert tokenizer.decode(row["input_ids"][row["targets"][0] : row["targets"][1]]) == target
        assert tokenizer.decode(row["input_ids"][: row["targets"][0]]) == source + SEPARATOR


def test_copies_of_a_sample_stay_on_one_side_and_are_counted(encoded):
    train, test = (Counter(side["text"][:]) for side in sides(encoded))
    assert not train.keys() & test.keys()
    assert Counter([*train.values(), *test.values()]) == {1: 20, 4: 4, 16: 1}
    assert len(test) == round(0.2 * 25)
    probes = read_probes(encoded / "dialogue_prefix.json")
    assert {p["prefix"] + p["suffix"]: p["duplicates"] for p in probes if p["member"]} == train
    assert {p["prefix"] + p["suffix"]: p["duplicates"] for p in probes if not p["member"]} == test


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
    hard = ["nul \0 byte ", "emoji 👩‍👩‍👧 🇩🇪 ", "שלום וברכה مرحبا بالعالم ", "x" * 10_000 + " ", "line\r\nends\n\t "]
    rows = [{"instruction": text, "input": text * 30, "output": text * 2} for text in hard]
    for kind, write in {"json": write_json, "jsonl": write_jsonl, "csv": write_csv, "parquet": write_parquet}.items():
        write(tmp_path / f"d.{kind}", rows)
        assert encode(tmp_path / kind, "--data", tmp_path / f"d.{kind}", "--test-size", "0.4") == 0
        train, test = sides(tmp_path / kind)
        assert sorted(train["text"][:] + test["text"][:]) == sorted(DIALOGUE.text(row) for row in rows)
        for probe in read_probes(tmp_path / kind / "dialogue_prefix.json"):
            assert probe["prefix"] + probe["suffix"] == DIALOGUE.text(rows[probe["id"]])


def test_a_missing_value_is_empty_and_a_lone_surrogate_is_replaced(tmp_path):
    rows = [{**row, "input": None} for row in ROWS[:5]] + [{**ROWS[9], "input": "half \ud83d a pair"}]
    write_json(tmp_path / "d.json", rows)
    assert encode(tmp_path, "--data", tmp_path / "d.json", "--prefix-length", "10") == 0
    texts = [text for side in sides(tmp_path) for text in side["text"]]
    assert any("half \ufffd a pair" in text for text in texts)
    assert DIALOGUE.text(ROWS[0] | {"input": ""}) in texts


def test_samples_too_short_for_a_probe_are_counted_but_trained_on(tmp_path):
    write_json(tmp_path / "d.json", [*ROWS[:8], {"instruction": "Too", "input": "short", "output": "."}])
    assert encode(tmp_path, "--data", tmp_path / "d.json") == 0
    manifests = {
        kind: read_manifest(path, OF_ENCODING[kind]) for kind, path in encoding_paths(tmp_path, "dialogue").items()
    }
    assert manifests["training set"].rows + manifests["held-out set"].rows == 9
    distinct = manifests["probes"].rows
    assert manifests["probes as text"].rows == len(read_probes(tmp_path / "dialogue_prefix.json")) == distinct - 1
    assert manifests["probes"].facts["too_short_for_a_probe"] == Probes(tmp_path, "dialogue").too_short == 1


def test_data_without_an_instruction(tmp_path, capsys):
    rows = [{"input": row["input"], "output": row["output"]} for row in ROWS]
    write_csv(tmp_path / "d.csv", rows)
    data = ["--data", tmp_path / "d.csv"]
    assert encode(tmp_path / "out", *data) == 2
    assert '--instruction-column ""' in one_line(capsys)
    assert encode(tmp_path / "none", *data, "--instruction_column", "") == 0
    train, test = sides(tmp_path / "none")
    assert set(train["text"][:] + test["text"][:]) == {
        row["input"] + "\n ---------- \n" + row["output"] for row in rows
    }
    assert encode(tmp_path / "one", *data, "--instruction", "Dr.") == 0
    train, test = sides(tmp_path / "one")
    assert set(train["text"][:] + test["text"][:]) == {
        f"Dr. {row['input']}\n ---------- \n{row['output']}" for row in rows
    }
    assert encode(tmp_path / "out", *data, "--output-column", "") == 2
    assert "--output-column" in one_line(capsys)


def test_the_end_of_text_spelled_out_in_a_text_is_text(tmp_path):
    rows = [row | {"output": "one<|endoftext|>two " + row["output"]} for row in ROWS]
    write_json(tmp_path / "d.json", rows)
    assert encode(tmp_path, "--data", tmp_path / "d.json") == 0
    tokenizer = load_tokenizer(ROOT / "configs" / "gpt-neo-small")
    for row in sides(tmp_path)[0]:
        assert [i for i in row["input_ids"] if i == tokenizer.eos_token_id] == row["input_ids"][-1:]
        assert tokenizer.decode(row["input_ids"][:-1]) == row["text"]
    for probe in Probes(tmp_path, "dialogue")[:]:
        assert tokenizer.eos_token_id not in probe["prefix_ids"] + probe["suffix_ids"]


# ---- what makes an encoding


def identities(out, name="dialogue"):
    return [checked(path, OF_ENCODING[kind]).identity for kind, path in encoding_paths(out, name).items()]


def test_all_results_carry_one_identity_of_samples_and_split_alone(tmp_path, encoded):
    write_csv(
        tmp_path / "d.csv", [{"a": row["instruction"], "b": row["input"], "output": row["output"]} for row in ROWS]
    )
    data = ["--data", tmp_path / "d.csv", "--instruction-column", "a", "--input-column", "b", "--test-size", "0.2"]
    same = encode(tmp_path / "same", *data, "--prefix-length", "30", "--num-proc", "2", "--name", "x")
    assert same == 0 and set(identities(tmp_path / "same", "x")) == set(identities(encoded))
    assert len(set(identities(encoded))) == 1
    facts = checked(tmp_path / "same" / "x_prefix.json", PROBE_TEXTS).facts
    assert facts["prefix_length"] == 30
    others = [
        ["--seed", "6"],
        ["--test-size", "0.3"],
        ["--min-suffix-length", "21"],
        ["--max-samples", str(len(ROWS) - 1)],
        ["--data", tmp_path / "other.csv"],
    ]
    write_csv(tmp_path / "other.csv", [{"a": "", "b": row["input"], "output": row["output"]} for row in ROWS])
    for i, other in enumerate(others):
        assert encode(tmp_path / str(i), *data, *other) == 0
        assert identities(tmp_path / str(i))[0] not in identities(encoded)


def test_an_encoding_is_replaced_by_another_only_when_told_so(tmp_path, capsys):
    write_json(tmp_path / "d.json", ROWS)
    data = ["--data", tmp_path / "d.json"]
    assert encode(tmp_path, *data) == 0
    before = identities(tmp_path)
    assert encode(tmp_path, *data, "--num-proc", "2") == 0  # the same again
    assert identities(tmp_path) == before
    capsys.readouterr()
    assert encode(tmp_path, *data, "--seed", "6") == 2
    assert "seed (5, not 6)" in (line := one_line(capsys)) and "--overwrite" in line
    assert identities(tmp_path) == before
    assert encode(tmp_path, *data, "--seed", "6", "--overwrite") == 0
    assert len({*before, *identities(tmp_path)}) == 2
    manifest_path(tmp_path / "dialogue_prefix.json").write_text('{"seed": 5}')
    capsys.readouterr()
    assert encode(tmp_path, *data, "--seed", "6") == 2
    assert "another version" in (line := one_line(capsys)) and "--overwrite" in line


def test_others_in_a_data_set_of_ours_are_not_removed(tmp_path, capsys):
    write_json(tmp_path / "d.json", ROWS)
    assert encode(tmp_path, "--data", tmp_path / "d.json") == 0
    train = encoding_paths(tmp_path, "dialogue")["training set"]
    (train / "cache-0123.arrow").write_text("what datasets keeps of computations")
    (train / "thesis.tex").write_text("years of work")
    capsys.readouterr()
    for more in ([], ["--seed", "6", "--overwrite"]):
        assert encode(tmp_path, "--data", tmp_path / "d.json", *more) == 2
        assert "holds thesis.tex, which this stage has not written" in one_line(capsys)
    (train / "thesis.tex").rename(tmp_path / "thesis.tex")
    assert encode(tmp_path, "--data", tmp_path / "d.json", "--seed", "6", "--overwrite") == 0


def test_a_text_is_written_three_times_by_stage_1_and_once_by_stage_4(tmp_path, monkeypatch):
    """In the temporary store, one of the sets and the probes as text; in the span index, of which the index's texts are
    parts."""
    marker, written = b"Xylomander", []
    write_json(tmp_path / "d.json", [ROWS[0] | {"output": f"{ROWS[0]['output']} {marker.decode()}"}, *ROWS[1:9]])

    def count(directory, *others, **more):
        written.append(sum(path.read_bytes().count(marker) for path in Path(directory).rglob("*") if path.is_file()))
        remove(directory, *others, **more)

    remove = output_files.shutil.rmtree
    with monkeypatch.context() as patch:
        patch.setattr(output_files.shutil, "rmtree", count)
        assert encode(tmp_path / "out", "--data", tmp_path / "d.json", "--test-size", "0.01") == 0
    temporary = sum(written)
    results = [path.read_bytes().count(marker) for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert (temporary, sum(results)) == (1, 2)
    prefix = ["-dir", tmp_path / "out", "-fn", "dialogue_prefix.json", "--prefix-length", "20"]
    indexes = "--indexes", tmp_path / "indexes", "--index-xsuffix", "x"
    assert run_script("load_to_elastic.py", *prefix, *indexes) == 0
    indexed = [path.read_bytes().count(marker) for path in (tmp_path / "indexes").rglob("*") if path.is_file()]
    assert sum(indexed) == 1
    index = EmbeddedIndex(tmp_path / "indexes", "x")
    ids = [str(probe["id"]) for probe in read_probes(tmp_path / "out" / "dialogue_prefix.json") if probe["member"]]
    suffixes = index.texts(ids)
    assert sum(marker.decode() in suffix for suffix in suffixes.values()) == 1
    assert (index.path / "texts.zlib").stat().st_size < 0.2 * sum(map(len, suffixes.values()))


def test_a_killed_run_leaves_nothing_that_passes_for_finished(tmp_path, monkeypatch):
    write_json(tmp_path / "d.json", ROWS)
    assert encode(tmp_path / "out", "--data", tmp_path / "d.json") == 0
    paths = encoding_paths(tmp_path / "out", "dialogue")
    (tmp_path / "out" / ".tokenized_dialogue_prefix.memorization-work").mkdir()  # what another killed run left
    results = list(paths.values())
    renamed = []

    def kill(path, target):
        renamed.append(path)
        if len(renamed) == 4:
            raise KeyboardInterrupt
        return rename(path, target)

    rename = type(results[0]).rename
    with monkeypatch.context() as patch:
        patch.setattr(type(results[0]), "rename", kill)
        assert encode(tmp_path / "out", "--data", tmp_path / "d.json", "--seed", "6", "--overwrite") == 130
    assert not any(manifest_path(path).exists() for path in results)
    assert encode(tmp_path / "out", "--data", tmp_path / "d.json", "--seed", "6") == 0
    assert len(set(identities(tmp_path / "out"))) == 1
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")] == []


def test_one_process_encodes_at_a_time(tmp_path, capsys):
    with locked(encoding_paths(tmp_path, "dialogue")["probes"]):
        assert encode(tmp_path) == 2
    assert "another process" in one_line(capsys)
    assert set(OF_ENCODING) > set(encoding_paths(tmp_path, "dialogue"))


# ---- mistakes


BAD = {
    "missing file": (None, [], "no such file"),
    "empty file": ("", [], "line 1"),
    "no rows": ("[]", [], "no rows"),
    "no rows taken": (json.dumps(ROWS), ["--max-samples", "0"], "--max-samples: must be "),
    "two instructions": (json.dumps(ROWS), ["--instruction", "a", "--instruction-column", "b"], "not allowed with"),
    "not JSON": ('[{"instruction": "", "input": "", "output": ""},\n{"b": }]', [], "line 2"),
    "not objects": ('["a"]', [], "list of objects"),
    "missing column": ('[{"instruction": "a", "question": "b", "output": "c"}]', [], "it has 'instruction'"),
    "all too short": (json.dumps([{**ROWS[0], "output": ""}, ROWS[1]]), ["--prefix-length", "500"], "all 2"),
    "one sample": ('[{"instruction":"a","input":"b","output":"c"}]', [], "only one distinct"),
    "bad share": (json.dumps(ROWS), ["--test-size", "1.5"], "--test-size: must be "),
    "bad length": (json.dumps(ROWS), ["--prefix-length", "-1"], "--prefix-length: must be "),
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


@pytest.mark.parametrize("flag", ["--instruction-column", "--input-column", "--output-column"])
def test_a_flag_that_says_what_is_in_the_data_needs_data(tmp_path, capsys, flag):
    assert encode(tmp_path / "out", flag, "x") == 2
    assert f"{flag}: says what is in --data" in one_line(capsys)


def test_a_malformed_line_is_named_by_its_number(tmp_path, capsys):
    (tmp_path / "d.jsonl").write_text(json.dumps(ROWS[0]) + "\n\n{broken\n")
    assert encode(tmp_path, "--data", tmp_path / "d.jsonl") == 2
    assert "line 3" in one_line(capsys)
    (tmp_path / "d.csv").write_text("instruction,input,output\na,b,c\nd,e\n")
    assert encode(tmp_path, "--data", tmp_path / "d.csv") == 2
    assert "line 3" in one_line(capsys)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.json", b'[{"instruction": "a"},\n{"instruction": "\xe9"}]'),
        ("d.jsonl", b'{"instruction": "a", "input": "b", "output": "c"}\n{"instruction": "\xe9"}\n'),
        ("d.csv", b"instruction,input,output\na,b,\xe9\n"),
    ],
)
def test_a_line_that_is_not_utf8_is_named(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    assert encode(tmp_path / "out", "--data", tmp_path / name) == 2
    assert "line 2 is not UTF-8" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_what_is_not_ours_is_not_replaced(tmp_path, capsys):
    """Data under the name of an output, a stranger's directory and file, even with --overwrite."""
    data = tmp_path / "zz_prefix.json"
    write_json(data, ROWS)
    before = data.read_bytes()
    assert encode(tmp_path, "--data", data, "--name", "zz", "--overwrite") == 2
    assert "which is read" in one_line(capsys) and data.read_bytes() == before
    assert encode(tmp_path, "--name", "zz", "--overwrite") == 2
    assert "zz_prefix.json: is there, and not a result of ours" in one_line(capsys) and data.read_bytes() == before
    (tmp_path / "tokenized_yy_test").mkdir()
    (tmp_path / "tokenized_yy_test" / "chapter").write_text("1")
    assert encode(tmp_path, "--name", "yy", "--overwrite") == 2
    assert "tokenized_yy_test: is there" in one_line(capsys)
    assert (tmp_path / "tokenized_yy_test" / "chapter").read_text() == "1"


def test_what_a_kill_left_without_its_manifest_is_made_anew(tmp_path):
    for _ in range(2):
        assert encode(tmp_path) == 0
        for path in tmp_path.glob("*.manifest.json"):
            path.unlink()
