"""The five tasks: what they read by default, what flags change, how their samples look; and the sixth task of docs."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, Value, load_from_disk

from memorization.alignment import longest_common_run, prepare
from memorization.encoding.kinds import PROBES
from memorization.encoding.task_rows import DataSettings, add_data_arguments, data_settings, read_task_rows
from memorization.encoding.tasks import CLASSIFICATION, DIALOGUE, QA, SEPARATOR, SUMMARIZATION, TRANSLATION
from memorization.models.hub import load_tokenizer
from memorization.shell.cli import Parser, UserError
from memorization.store.locations import encoding_paths
from memorization.store.manifests import read_manifest
from support.command_line import ROOT, one_line, run_script

TASKS = [DIALOGUE, QA, SUMMARIZATION, TRANSLATION, CLASSIFICATION]


def texts(task, *flags):
    """The texts of a task's samples by the flags of its script."""
    parser = Parser("")
    add_data_arguments(parser, task)
    data = data_settings(parser, parser.parse_args([*map(str, flags)]), task)
    return [*map(data.task.text, read_task_rows(data))]


def refused(task, *flags):
    with pytest.raises(UserError) as error:
        texts(task, *flags)
    assert "\n" not in str(error.value)
    return str(error.value)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path, rows):
    Dataset.from_list(rows).to_parquet(str(path))
    return path


def write_saved(path, rows):
    Dataset.from_list(rows).save_to_disk(str(path))
    return path


WRITERS = [write_jsonl, write_parquet, write_saved]


def written(tmp_path, write, rows):
    return write(tmp_path / {write_jsonl: "d.jsonl", write_parquet: "d.parquet", write_saved: "d"}[write], rows)


# ---- what is read

ANSWERS = {"text": ["Denver", "the Broncos"], "answer_start": [3, 9]}
ASKED = "Answer the question about the passage. "


@pytest.mark.parametrize("write", WRITERS)
def test_rows_of_squad_as_hubs_have_them(tmp_path, write):
    rows = [{"id": "1", "title": "t", "context": "A passage.", "question": "Who?", "answers": ANSWERS}] * 2
    data = written(tmp_path, write, rows)
    assert texts(QA, "--data", data) == [f"{ASKED}A passage. Who?{SEPARATOR}Denver"] * 2


def squad(*paragraphs):
    paragraphs = [
        {"context": context, "qas": [{"id": q, "question": q, "answers": answers} for q, answers in questions]}
        for context, questions in paragraphs
    ]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [paragraph]} for paragraph in paragraphs]}


def test_squad_as_published(tmp_path):
    answers = [{"text": "Denver", "answer_start": 3}, {"text": "Broncos", "answer_start": 9}]
    content = squad(("One.", [("Who?", answers), ("What?", answers[1:])]), ("Two.", [("Where?", answers)]))
    (tmp_path / "d.json").write_text("\ufeff \n" + json.dumps(content, indent=1), encoding="utf-8")
    assert texts(QA, "--data", tmp_path / "d.json") == [
        f"{ASKED}One. Who?{SEPARATOR}Denver",
        f"{ASKED}One. What?{SEPARATOR}Broncos",
        f"{ASKED}Two. Where?{SEPARATOR}Denver",
    ]
    (tmp_path / "d.json").write_text(json.dumps(squad(("One.", [("Who?", answers), ("Why?", [])]))))
    assert "question 2, column 'answers.text': is null" in refused(QA, "--data", tmp_path / "d.json")
    for content in ({"data": [{"title": "t"}]}, {"data": [{"paragraphs": [{"context": 3, "qas": []}]}]}):
        (tmp_path / "d.json").write_text(json.dumps(content))
        assert "neither a list of objects nor SQuAD's nesting" in refused(QA, "--data", tmp_path / "d.json")
    (tmp_path / "d.json").write_text('{"a": 1}')  # a row of JSON lines
    assert "no column 'context', 'question', 'answers.text' or 'answer'; it has 'a'" in refused(
        QA, "--data", tmp_path / "d.json"
    )


def test_a_question_of_squad_belongs_to_its_paragraph_whatever_it_says_itself(tmp_path):
    content = squad(("One.", [("Who?", [{"text": "Denver"}])]))
    content["data"][0]["paragraphs"][0]["qas"][0]["context"] = "Another."
    (tmp_path / "d.json").write_text(json.dumps(content))
    assert texts(QA, "--data", tmp_path / "d.json") == [f"{ASKED}One. Who?{SEPARATOR}Denver"]


def test_of_several_answers_the_first_counts_and_of_other_lists_none(tmp_path):
    chat = [{"role": "user", "text": "Who?"}, {"role": "assistant", "text": "Denver"}]
    for answers in ({"text": ["Denver", "the Broncos"]}, [{"text": "Denver"}, {"text": "the Broncos"}]):
        data = write_jsonl(
            tmp_path / "d.jsonl", [{"context": "A.", "question": "Q?", "answers": answers, "turns": chat}]
        )
        assert texts(QA, "--data", data) == [f"{ASKED}A. Q?{SEPARATOR}Denver"]
        assert "column 'turns.text': is a list of 2" in refused(QA, "--data", data, "--answer-column", "turns.text")
        line = refused(
            SUMMARIZATION, "--data", data, "--document-column", "context", "--summary-column", "answers.text"
        )
        assert "column 'answers.text': is a list of 2" in line


@pytest.mark.parametrize(
    ("source", "target"), [("document", "summary"), ("article", "highlights"), ("dialogue", "summary")]
)
@pytest.mark.parametrize("write", WRITERS)
def test_summaries_by_the_usual_columns(tmp_path, write, source, target):
    data = written(tmp_path, write, [{"id": "1", source: "Long text.", "topic": "x", target: "Short."}])
    assert texts(SUMMARIZATION, "--data", data) == [f"Summarize the text. Long text.{SEPARATOR}Short."]


@pytest.mark.parametrize("write", WRITERS)
def test_translations_nested_and_in_two_columns(tmp_path, write):
    expected = [f"Translate from German to English. Guten Tag.{SEPARATOR}Good day."]
    data = written(tmp_path, write, [{"translation": {"en": "Good day.", "de": "Guten Tag."}}])
    assert texts(TRANSLATION, "--data", data) == expected
    other = ["--source-column", "translation.en", "--target-column", "translation.de", "--instruction", "To German:"]
    assert texts(TRANSLATION, "--data", data, *other) == [f"To German: Good day.{SEPARATOR}Guten Tag."]
    (tmp_path / "two").mkdir()
    data = written(tmp_path / "two", write, [{"en": "Good day.", "de": "Guten Tag."}])
    assert texts(TRANSLATION, "--data", data) == expected
    line = refused(TRANSLATION, "--data", data, "--source-column", "translation.fr")
    assert "no column 'translation.fr'; it has " in line and "--source-column" in line


def test_translations_in_two_parallel_files(tmp_path):
    one, other = tmp_path / "d.de", tmp_path / "d.en"
    one.write_bytes("\ufeffGuten Tag.\r\nJa,\u2028so\rist es.\n".encode())
    other.write_bytes(b"Good day.\nYes, so it is.")
    begin = "Translate from German to English. "
    assert texts(TRANSLATION, "--data", one, other) == [
        f"{begin}Guten Tag.{SEPARATOR}Good day.",
        f"{begin}Ja,\u2028so\rist es.{SEPARATOR}Yes, so it is.",
    ]
    other.write_bytes(b"Good day.\n")
    line = refused(TRANSLATION, "--data", one, other)
    assert f"{one} 2 and {other} 1 lines: they are not parallel" in line
    assert f"{other} 1 and {one} 2 lines" in refused(TRANSLATION, "--data", other, one)
    other.write_bytes(b"Good day.\n\xff\n")
    assert refused(TRANSLATION, "--data", one, other).startswith(f"{other}: line 2 is not UTF-8")
    assert "d.fr: no such file" in refused(TRANSLATION, "--data", one, tmp_path / "d.fr")
    assert "--data: 3 files" in refused(TRANSLATION, "--data", one, one, one)


def test_parallel_files_of_unlike_length_are_told_before_the_first_samples_are_taken(tmp_path):
    (tmp_path / "d.de").write_text("Ja.\nNein.\nDoch.\n")
    (tmp_path / "d.en").write_text("Yes.\nNo.\n")
    with pytest.raises(UserError, match="d.de 3 and .*d.en 2 lines: they are not parallel"):
        next(read_task_rows(DataSettings(TRANSLATION, (f"{tmp_path}/d.de", f"{tmp_path}/d.en"), limit=1)))


def test_parallel_files_compressed_and_in_another_encoding(tmp_path):
    for name, content in {"d.de.gz": "Grüße.\n", "d.en.gz": "Greetings.\n"}.items():
        (tmp_path / name).write_bytes(gzip.compress(content.encode("latin-1")))
    data = "--data", tmp_path / "d.de.gz", tmp_path / "d.en.gz"
    assert "d.de.gz: line 1 is not UTF-8; name the file's encoding with --encoding" in refused(TRANSLATION, *data)
    expected = f"Translate from German to English. Grüße.{SEPARATOR}Greetings."
    assert texts(TRANSLATION, *data, "--encoding", "latin-1") == [expected]


def test_only_translations_come_in_two_text_files_and_all_data_in_several(tmp_path, capsys):
    rows = [{"de": "Ja.", "en": "Yes."}, {"de": "Nein.", "en": "No."}]
    paths = [write_jsonl(tmp_path / f"{i}.jsonl", [row]) for i, row in enumerate(rows)]
    begin = "Translate from German to English. "
    assert texts(TRANSLATION, "--data", *paths) == [f"{begin}Ja.{SEPARATOR}Yes.", f"{begin}Nein.{SEPARATOR}No."]
    for path in (tmp_path / "d.de", tmp_path / "d.en"):
        path.write_text("Ja.\n")
    assert run_script("encode_qa.py", "--data", path, tmp_path / "d.de", "--output-dir", tmp_path / "out") == 2
    assert "d.en: not a kind of file read here; give .json, " in one_line(capsys)


@pytest.mark.parametrize(
    ("script", "flags", "message"),
    [
        ("dialogue", ["--delimiter", ";"], "--delimiter: says what is in --data, which is missing"),
        ("dialogue", ["--encoding", "gbk"], "--encoding: says what is in --data, which is missing"),
        ("dialogue", ["--data", "d.csv", "--encoding", "klingon"], "'klingon': is no encoding of text"),
        ("dialogue", ["--data", "d.csv", "--encoding", "base64"], "'base64': is no encoding of text"),
        ("dialogue", ["--data", "d.csv", "--delimiter", ";;"], "';;': must be one sign"),
        ("dialogue", ["--data", "d.csv", "--delimiter", '"'], "must be one sign"),
        ("dialogue", ["--canary-copies", "1"], "--canary-copies: has no effect without canaries"),
        ("dialogue", ["--canary-digits", "6"], "--canary-digits: has no effect without canaries"),
        ("classification", ["--label-names", "no,yes"], "--label-names: says what is in --data, which is missing"),
        ("classification", ["--data", "d.csv", "--label-names", "no,yes,no"], "no,yes,no: must be different names"),
        ("classification", ["--data", "d.csv", "--label-names", "no,"], "no,: must be different names"),
        ("classification", ["--data", "d.csv", "--label-names", "no, no"], "no, no: must be different names"),
        (
            "translation",
            ["--data", "d.de", "d.en", "--target-column", "x"],
            "--target-column: is for data with columns",
        ),
        ("translation", ["--data", "d.de", "d.en", "--delimiter", "x"], "--delimiter: is for data with columns"),
    ],
)
def test_a_flag_without_effect_or_sense_is_refused(tmp_path, capsys, script, flags, message):
    assert run_script(f"encode_{script}.py", *flags, "--output-dir", tmp_path / "out") == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "out").exists()


RATED = "Is the sentiment of the text positive or negative? Fine.\n ---------- \n"


def test_a_label_is_the_name_of_its_class(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["negative", "positive"])})
    rows = Dataset.from_dict({"text": ["Fine.", "Fine."], "label": [1, 0]}, features)
    rows.save_to_disk(str(tmp_path / "d"))
    rows.to_parquet(str(tmp_path / "d.parquet"))
    for data in (tmp_path / "d", tmp_path / "d.parquet"):
        assert texts(CLASSIFICATION, "--data", data) == [RATED + "positive", RATED + "negative"]
        assert "is 'positive', no number" in refused(CLASSIFICATION, "--data", data, "--label-names", "no,yes")


def test_numbers_of_classes_get_the_names_that_are_given(tmp_path):
    (tmp_path / "d.csv").write_text("sentence,label\nFine.,1\nFine.,0\n")
    write_jsonl(tmp_path / "d.jsonl", [{"review": "Fine.", "sentiment": 1}, {"review": "Fine.", "sentiment": 0}])
    for data in (tmp_path / "d.csv", tmp_path / "d.jsonl"):
        assert texts(CLASSIFICATION, "--data", data) == [RATED + "1", RATED + "0"]
        assert texts(CLASSIFICATION, "--data", data, "--label-names", "bad,good") == [RATED + "good", RATED + "bad"]
        assert "1', no number of the 1 in --label-names" in refused(
            CLASSIFICATION, "--data", data, "--label-names", "bad"
        )
    write_jsonl(tmp_path / "d.jsonl", [{"text": "Fine.", "label": -1}])
    line = refused(
        CLASSIFICATION,
        "--data",
        tmp_path / "d.csv",
        "--label-names",
        "a,b",
        "--label-column",
        "sentence",
        "--text-column",
        "",
    )
    assert "'Fine.', no number" in line
    (tmp_path / "d.csv").write_text(f"sentence,label\n1,{'I have had a headache. ' * 9}\n")
    line = refused(CLASSIFICATION, "--data", tmp_path / "d.csv", "--label-names", "bad,good")
    assert "is a text of 207 characters, no number" in line and "headache" not in line
    assert "'-1', no number" in refused(CLASSIFICATION, "--data", tmp_path / "d.jsonl", "--label-names", "bad,good")


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_instruction_and_separator_are_what_the_flags_say(tmp_path, task):
    names = {name: task.columns.get(name, (name,))[-1] for name in task.fields}
    data = write_jsonl(tmp_path / "d.jsonl", [{column: f"<{name}>" for name, column in names.items()}])
    given = " ".join(f"<{name}>" for name in task.source_fields if name != "instruction")
    target = f"<{task.target_field}>"
    flags = "--data", data, "--instruction", "Do it:", "--separator", "\n=> "
    assert texts(task, *flags) == [f"Do it: {given}\n=> {target}"]
    assert texts(task, *flags[:2], "--instruction", "") == [given + SEPARATOR + target]
    assert texts(task, *flags[:3], "", "--separator", "") == [given + target]


def test_a_list_or_an_object_is_text_only_where_a_column_says_which(tmp_path):
    data = write_jsonl(tmp_path / "d.jsonl", [{"context": "A.", "question": ["Who?"], "answers": ANSWERS}])
    assert "column 'question': is a list" in refused(QA, "--data", data)
    line = refused(QA, "--data", data, "--question-column", "", "--answer-column", "answers")
    assert "column 'answers': is an object" in line
    rows = [{"context": "A.", "question": "Who?", "answers": answers} for answers in (ANSWERS, {"text": []}, "x")]
    data = write_jsonl(tmp_path / "d.jsonl", rows)
    assert "line 2, column 'answers.text': is null" in refused(QA, "--data", data)
    data = write_jsonl(tmp_path / "d.jsonl", [rows[0], rows[2]])
    assert "line 2 has no 'answers.text', which others have" in refused(QA, "--data", data)


# ---- encodings


@pytest.mark.parametrize("task", TASKS[1:], ids=lambda task: task.name)
def test_each_script_encodes_made_up_data_of_its_task(tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    assert run_script(f"encode_{task.name}.py", "--canaries", "2", "--canary-copies", "1") == 0
    paths = encoding_paths("tokenized_data", task.name)
    sides = [load_from_disk(str(paths[side])) for side in ("training set", "held-out set")]
    encoded = [text for side in sides for text in side["text"] if "access code" not in text]
    assert Counter(encoded) == Counter(task.text(row) for row in task.made_up())
    tokenizer = load_tokenizer(ROOT / "configs" / "gpt-neo-small")
    canaries = 0
    for row in sides[0]:
        source, target = row["text"].split(SEPARATOR)
        assert tokenizer.decode(row["input_ids"][row["targets"][0] : row["targets"][1]]) == target
        if "access code" in target:
            assert source.startswith(f"{task.instruction} What is the access code of ")
            canaries += 1
    assert canaries == 2
    manifest = read_manifest(paths["probes"], PROBES)
    assert manifest.made_of["task"] == task.name and manifest.facts["too_short_for_a_probe"] == 0


def test_where_the_target_begins_is_part_of_an_encodings_identity(tmp_path):
    """The same texts, parted elsewhere."""
    rows = [{"document": f"Number {i}.", "summary": "One two three."} for i in range(9)]
    data = write_jsonl(tmp_path / "d.jsonl", rows)
    flags = (
        "--data",
        data,
        "--prefix-length",
        "2",
        "--min-suffix-length",
        "2",
        "--shared-prompts",
        "--output-dir",
        tmp_path,
    )
    assert run_script("encode_summarization.py", *flags, "--name", "one", "--separator", " ") == 0
    shifted = [{"document": f"Number {i}. One", "summary": "two three."} for i in range(9)]
    write_jsonl(data, shifted)
    assert run_script("encode_summarization.py", *flags, "--name", "other", "--separator", " ") == 0
    one, other = (encoding_paths(tmp_path, name) for name in ("one", "other"))
    assert one["probes as text"].read_bytes() == other["probes as text"].read_bytes()
    identities = [read_manifest(paths["probes"], PROBES).identity for paths in (one, other)]
    assert identities[0] != identities[1]


# ---- made-up data


@pytest.mark.parametrize("task", TASKS[1:], ids=lambda task: task.name)
def test_made_up_rows_are_repeated_as_asked_and_hardly_share_fifty_characters(task):
    rows = task.made_up(1, single=5, fourfold=3, sixteenfold=2)
    assert Counter(Counter(map(task.text, rows)).values()) == {1: 5, 4: 3, 16: 2}
    assert rows == task.made_up(1, single=5, fourfold=3, sixteenfold=2)
    assert all(row.keys() == set(task.fields) for row in rows)
    assert not {task.text(row) for row in rows} & {task.text(row) for row in task.made_up(2, 5, 3, 2)}
    assert not any(sign in value for row in rows for value in row.values() for sign in "{}|=/")
    suffixes = [prepare(task.text(row)[len(task.instruction) :]) for row in task.made_up(3, 401, 0, 0)]
    runs = [run for a, b in pairwise(suffixes) if (run := longest_common_run(a, b))]
    assert sum(end - start > 50 for (start, end), _ in runs) <= 4


def test_made_up_answers_stand_in_their_passages_and_labels_are_balanced():
    assert all(row["answer"].lower() in row["context"].lower() for row in QA.made_up())
    labels = Counter(row["label"] for row in CLASSIFICATION.made_up(single=500, fourfold=0, sixteenfold=0))
    assert set(labels) == {"positive", "negative"} and min(labels.values()) > 200


# ---- real data, where it is at hand

REAL = ROOT.parent / "shared" / "data"
FILES = {
    "qa": (["squad-dev-part-a.json"], 4_961),
    "summarization": (["dialogsum-dev.jsonl"], 500),
    "translation": (["multi30k/val.de", "multi30k/val.en"], 1_014),
}


@pytest.mark.parametrize("task", [QA, SUMMARIZATION, TRANSLATION], ids=lambda task: task.name)
def test_real_files_are_read_as_they_are(task):
    files, number = FILES[task.name]
    if not REAL.is_dir():
        pytest.skip("no real data, which is not part of the project")
    samples = texts(task, "--data", *(REAL / name for name in files))
    assert len(samples) == number and all(SEPARATOR in text for text in samples)


# ---- a sixth task


@pytest.mark.slow
def test_the_sixth_task_of_the_docs_runs_as_it_stands(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.DOTALL)
    (entry,) = (block for block in blocks if block.startswith("TITLES = Task("))
    (script,) = (block for block in blocks if block.endswith("TITLES))\n"))
    assert len(script.splitlines()) <= 20
    for path in [*ROOT.glob("*"), *(ROOT / "memorization").glob("*"), *(ROOT / "memorization" / "encoding").glob("*")]:
        copy = tmp_path / path.relative_to(ROOT)
        if path in (ROOT / "memorization", ROOT / "memorization" / "encoding"):
            copy.mkdir()
        elif path.name not in ("__pycache__", "tasks.py") and not path.name.startswith("."):
            copy.symlink_to(path)
    tasks = (ROOT / "memorization" / "encoding" / "tasks.py").read_text(encoding="utf-8")
    (tmp_path / "memorization" / "encoding" / "tasks.py").write_text(f"{tasks}\n\n{entry}", encoding="utf-8")
    (tmp_path / "encode_titles.py").write_text(script, encoding="utf-8")
    rows = [{"abstract": f"We measure {i} things. " * 20, "title": f"Things, {i} of them"} for i in range(10)]
    write_jsonl(tmp_path / "papers.jsonl", rows)
    (command,) = re.findall(r"^    (python encode_titles.py .*)$", script, re.MULTILINE)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command.split(), cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    train = load_from_disk(str(tmp_path / "tokenized_data" / "tokenized_titles_train"))
    expected = {f"Give the abstract a title. {row['abstract']}{SEPARATOR}{row['title']}" for row in rows}
    assert len(train) == 9 and set(train["text"]) < expected
