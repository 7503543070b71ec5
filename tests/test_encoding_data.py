"""A task's data: what counts as text, and that whatever else is in a file is named by its row and column."""

import argparse
import bz2
import csv
import gzip
import io
import json
import re
import time
from dataclasses import replace
from datetime import date
from decimal import Decimal
from math import inf, nan

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from memorization.encoding import readers
from memorization.encoding.task_rows import DataSettings, add_data_arguments, data_settings, read_task_rows
from memorization.encoding.tasks import DIALOGUE, SEPARATOR, SUMMARIZATION
from memorization.shell.cli import UserError

GOOD = {"instruction": "say", "input": "a", "output": "b"}
TYPES = {"instruction": pa.string(), "input": pa.string(), "output": pa.string()}


def texts(path, *flags, limit=None):
    parser = argparse.ArgumentParser()
    add_data_arguments(parser, DIALOGUE)
    data = data_settings(parser, parser.parse_args(["--data", str(path), *map(str, flags)]), DIALOGUE)
    return [*map(data.task.text, read_task_rows(replace(data, limit=limit)))]


def refused(path, *flags):
    with pytest.raises(UserError) as error:
        texts(path, *flags)
    line = str(error.value)
    assert line.startswith(f"{path}: ") and "\n" not in line and len(line) < 500
    return line.removeprefix(f"{path}: ")


def write_json(path, rows):
    path.write_text(json.dumps(rows))


def write_jsonl(path, rows):
    path.write_text("\n" + "".join(json.dumps(row) + "\n" for row in rows))


def table(rows, column, type):
    """Rows as an Arrow table in which one column has a type of its own."""
    schema = pa.schema(TYPES | {column: type})
    return pa.Table.from_pylist(rows, schema)


def write_parquet(path, rows, column="input", type=TYPES["input"]):
    pyarrow.parquet.write_table(table(rows, column, type), path)


def write_saved(path, rows, column="input", type=TYPES["input"]):
    Dataset(table(rows, column, type)).save_to_disk(str(path))


# ---- values


@pytest.mark.parametrize("write", [write_json, write_jsonl])
@pytest.mark.parametrize(
    ("value", "message"),
    [(["a"], "is a list"), ({"a": 1}, "is an object"), ({"a": [[]] * 1000}, "is an object")],
    ids=["list", "object", "huge object"],
)
def test_a_value_of_json_that_is_no_text_is_named_by_row_and_column(tmp_path, write, value, message):
    rows = [GOOD] * 3
    for column in GOOD:
        write(tmp_path / "d.json", [*rows, {**GOOD, column: value}, GOOD])
        where = "row 4" if write is write_json else "line 5"
        if write is write_jsonl:
            (tmp_path / "d.json").replace(tmp_path / "d.jsonl")
        line = refused(tmp_path / ("d.json" if write is write_json else "d.jsonl"))
        assert line.startswith(f"{where}, column {column!r}: {message}, which is no text; ")


@pytest.mark.parametrize("write", [write_parquet, write_saved])
@pytest.mark.parametrize(
    ("value", "type", "message"),
    [
        (["a"], pa.list_(pa.string()), "is a list"),
        ({"a": "b"}, pa.struct({"a": pa.string()}), "is an object"),
        (b"a\xff", pa.binary(), "is bytes"),
        (nan, pa.float64(), "is nan"),
        (inf, pa.float32(), "is inf"),
        (date(2024, 1, 2), pa.date32(), "is a date"),
        (Decimal("1.50"), pa.decimal128(5, 2), "is a Decimal"),
    ],
)
def test_a_value_of_arrow_that_is_no_text_is_named_by_row_and_column(tmp_path, write, value, type, message):
    write(tmp_path / "d.parquet", [*[GOOD | {"input": None}] * 1200, GOOD | {"input": value}], "input", type)
    assert refused(tmp_path / "d.parquet").startswith(f"row 1201, column 'input': {message}, which is no text; ")


@pytest.mark.parametrize("write", [write_json, write_parquet, write_saved])
def test_null_is_empty_in_the_source_and_a_mistake_in_the_target(tmp_path, write):
    path = tmp_path / "d.parquet" if write is not write_json else tmp_path / "d.json"
    write(path, [{**GOOD, "input": None}, {**GOOD, "instruction": None, "input": None}])
    assert texts(path) == [f"say{SEPARATOR}b", f"{SEPARATOR}b"]
    other = path.with_name(f"other{path.suffix}")
    write(other, [GOOD, {**GOOD, "output": None}])
    assert refused(other).startswith("row 2, column 'output': is null, ")


SPELLED = [(0, "0"), (-7, "-7"), (2**70, str(2**70)), (1.5, "1.5"), (2.0, "2.0"), (True, "True"), (False, "False")]


@pytest.mark.parametrize(("value", "text"), [*SPELLED, ("", ""), ("NaN", "NaN")])
def test_numbers_and_booleans_count_as_spelled(tmp_path, value, text):
    write_json(tmp_path / "d.json", [{**GOOD, "output": value}])
    assert texts(tmp_path / "d.json") == [f"say a{SEPARATOR}{text}"]


def test_a_class_counts_as_its_name(tmp_path):
    features = Features(
        {"instruction": Value("string"), "input": Value("string"), "output": ClassLabel(names=["no", "yes"])}
    )
    rows = {"instruction": ["say"] * 3, "input": ["a"] * 3, "output": [1, 0, 1]}
    Dataset.from_dict(rows, features).save_to_disk(str(tmp_path / "d"))
    assert [text[-4:].strip() for text in texts(tmp_path / "d")] == ["yes", "no", "yes"]
    Dataset.from_dict(rows | {"output": [1, -1, 1]}, features).save_to_disk(str(tmp_path / "e"))
    assert refused(tmp_path / "e") == "row 2, column 'output': -1 is none of its 2 classes"


@pytest.mark.parametrize("type", [pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view()])
def test_every_kind_of_text_column_is_text(tmp_path, type):
    column = pa.array(["a", None, "é"], pa.string()).cast(type)
    columns = {name: column if name == "input" else pa.array(["x"] * 3) for name in GOOD}
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "d.parquet")
    assert texts(tmp_path / "d.parquet") == [f"x a{SEPARATOR}x", f"x{SEPARATOR}x", f"x é{SEPARATOR}x"]


def test_half_surrogate_pairs_are_replaced_and_counted(tmp_path, capsys):
    write_json(
        tmp_path / "d.json", [GOOD, GOOD | {"output": "x\ud800y", "input": "\udc00"}, GOOD | {"input": "\U0001f600"}]
    )
    assert texts(tmp_path / "d.json", "--instruction", "caf\udce9")[:2] == [
        f"caf\ufffd a{SEPARATOR}b",
        f"caf\ufffd \ufffd{SEPARATOR}x\ufffdy",
    ]
    assert "U+FFFD in 2 texts" in capsys.readouterr().out
    write_json(tmp_path / "d.json", [GOOD])
    texts(tmp_path / "d.json")
    assert capsys.readouterr().out == ""


# ---- rows and columns


BARE = {"instruction": "say", "output": "b"}  # without the optional input


@pytest.mark.parametrize("write", [write_json, write_jsonl])
@pytest.mark.parametrize("rows", [[BARE, GOOD, GOOD], [GOOD, BARE, BARE]], ids=["the first", "others"])
def test_a_row_without_an_optional_column_is_one_with_nothing_in_it(tmp_path, capsys, write, rows):
    path = tmp_path / "d.json"
    write(path, rows)
    assert texts(path) == [f"say{' a' * ('input' in row)}{SEPARATOR}b" for row in rows]
    number = rows.count(BARE)
    assert capsys.readouterr().out == f"{path}: {number} of 3 rows have no column for input; it is empty there\n"
    assert len(texts(path, "--input-column", "")) == 3
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("write", [write_json, write_jsonl])
def test_a_column_that_no_row_has_and_a_row_without_the_target_are_refused(tmp_path, write):
    path = tmp_path / "d.json"
    write(path, [BARE | {"x": 1}, BARE])
    assert refused(path).startswith("no column 'input'; it has 'instruction', 'output', 'x': ")
    write(path, [GOOD, GOOD, {"instruction": "say", "input": "a", "Output": "b"}])
    where = "row 3" if write is write_json else "line 4"
    assert refused(path) == f"{where} has no 'output', which others have; add it, or leave the row out"
    assert len(texts(path, limit=2)) == 2
    write(path, [{"instruction": "say", "x": "b"}, GOOD])
    assert refused(path).startswith("no column 'input', 'output'; it has 'instruction', 'x': ")


def test_names_of_columns_are_shortened_and_counted(tmp_path):
    write_json(tmp_path / "d.json", [{"a patient's whole question " * 99: 1, **{f"column {i}": 1 for i in range(50)}}])
    line = refused(tmp_path / "d.json")
    assert "it has \"a patient's whole question a …\", 'column 0', " in line and "'column 10' and 39 more: name" in line


@pytest.mark.parametrize("write", [write_json, write_jsonl, write_parquet, write_saved])
def test_two_fields_of_one_column_are_refused(tmp_path, write):
    path = tmp_path / ("d.parquet" if write in (write_parquet, write_saved) else "d.json")
    write(path, [GOOD, GOOD])
    line = (
        "'output' is the column of both input and output; name another for one with --input-column or --output-column"
    )
    assert refused(path, "--input-column", "output") == line
    (tmp_path / "d.csv").write_text("instruction,output\na,b\n")
    assert refused(tmp_path / "d.csv", "--input-column", "output") == line


CHAT = [
    {"role": "system", "content": "You are a doctor."},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "So."},
]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet", ""])
def test_a_list_of_several_texts_is_no_text_and_is_not_proposed(tmp_path, suffix):
    path, rows = (
        tmp_path / f"d.{suffix}",
        [GOOD | {"turns": {"said": turns}, "messages": turns} for turns in ([], CHAT)],
    )
    if suffix.startswith("json"):
        (write_json if suffix == "json" else write_jsonl)(path, rows)
    else:
        data = Dataset.from_list(rows)
        data.to_parquet(path) if suffix else data.save_to_disk(str(path))
    where = "line 3" if suffix == "jsonl" else "row 2"
    for column in ("messages.content", "turns.said.content"):
        line = refused(path, "--input-column", column)
        assert line.startswith(f"{where}, column '{column}': is a list of 3 values; give a row for each of them, or ")
    line = refused(path, "--output-column", "answer")
    assert "'messages' (a list, no text)" in line and "content" not in line and "role" not in line


def test_a_list_of_one_text_is_that_text_and_one_of_none_is_null(tmp_path):
    write_json(tmp_path / "d.json", [GOOD | {"q": [{"text": "A?"}]}, GOOD | {"q": []}, GOOD | {"q": [{"text": None}]}])
    expected = [f"say A?{SEPARATOR}b", f"say{SEPARATOR}b", f"say{SEPARATOR}b"]
    assert texts(tmp_path / "d.json", "--input-column", "q.text") == expected
    write_json(tmp_path / "d.json", [GOOD | {"q": [{"text": "A?"}]}, GOOD | {"q": [{"text": "A?"}, {"tool": 1}]}])
    assert "row 2, column 'q.text': is a list of 2" in refused(tmp_path / "d.json", "--input-column", "q.text")


def test_an_object_without_what_a_column_names_is_no_empty_one(tmp_path):
    for other in ({"b": "x"}, "x", 3):
        write_json(tmp_path / "d.json", [GOOD | {"q": {"text": "A?"}}, GOOD | {"q": other}])
        line = refused(tmp_path / "d.json", "--input-column", "q.text")
        assert line == "row 2 has no 'q.text', which others have; add it, or leave the row out"


HEADER = b"instruction,input,output\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"instruction,input,input,output\na,b,c,d\n", "column 'input' occurs twice"),
        (HEADER + b"a,b\n", "line 2 has not the header's 3 fields"),
        (HEADER + b"a,b,c,d\n", "line 2 has not the header's 3 fields"),
        (HEADER + b'a,b,"c\n', "line 2 is not valid CSV: unexpected end of data"),
        (HEADER, "no rows in it"),
        (b"", "no rows in it"),
        (b"\n\n", "no rows in it"),
        (HEADER.decode().encode("utf-16"), "line 1 is not UTF-8"),
        (HEADER.decode().encode("utf-16-le"), "no column 'instruction'"),
    ],
)
def test_a_csv_file_that_will_not_do(tmp_path, content, message):
    (tmp_path / "d.csv").write_bytes(content)
    assert refused(tmp_path / "d.csv").startswith(message)


def test_a_csv_file_with_a_mark_a_nul_and_a_column_twice_that_is_not_read(tmp_path):
    (tmp_path / "d.csv").write_bytes(b"\xef\xbb\xbfinstruction,x,x,input,output\r\nsay,1,2,a\0,b\r\n")
    assert texts(tmp_path / "d.csv") == [f"say a\0{SEPARATOR}b"]


def test_an_arrow_column_that_stands_twice_is_refused(tmp_path):
    names = ["instruction", "input", "input", "output"]
    pyarrow.parquet.write_table(pa.table([["a"]] * 4, names), tmp_path / "d.parquet")
    assert refused(tmp_path / "d.parquet").startswith("column 'input' occurs twice")


# ---- files as people have them

MANY = [GOOD | {"input": f"Question {i}, please", "output": f"Answer {i}; “good”"} for i in range(5)]
READ = [f"say {row['input']}{SEPARATOR}{row['output']}" for row in MANY]
ODD = [
    "nul \0 byte",
    "line\u2028separator\x85here",
    "\ufeffmark",
    "emoji 👩‍👩‍👧 🇩🇪",
    "NA",
    "null",
    "2024-01-02",
    "007",
    "1e5",
    ' "q"',
]


def csv_text(rows, delimiter=",", header=True):
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def json_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def zstd(content):
    return pa.Codec("zstd").compress(content).to_pybytes()


PACKED = {".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress}


@pytest.mark.parametrize("name", ["d.json", "d.jsonl", "d.ndjson", "D.JSON"])
def test_json_is_what_it_holds_whatever_it_is_called(tmp_path, name):
    for text in (json.dumps(MANY), json.dumps(MANY, indent=1), json_lines(MANY), "\ufeff" + json_lines(MANY)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert texts(tmp_path / name) == READ


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("name", ["d.json", "d.csv"])
def test_compressed_files_are_read_and_damaged_ones_refused(tmp_path, name, packed):
    path = tmp_path / f"{name}{packed}"
    content = PACKED[packed]((json_lines(MANY) if name == "d.json" else csv_text(MANY)).encode())
    path.write_bytes(content)
    assert texts(path) == READ
    for damaged in (content[:-9], content[:20], b"hello, world"):
        path.write_bytes(damaged)
        assert refused(path).startswith(f"not a readable {packed} file: ")
    path.write_bytes(PACKED[packed](b'{"instruction": "a"}\n{"instruction": "\xe9"}'))
    assert "line 2 is not UTF-8" in refused(path) or name == "d.csv"


@pytest.mark.parametrize("name", ["d.json", "d.jsonl", "d.csv", "d.tsv", "d.parquet", "d"])
def test_odd_texts_are_read_as_they_are(tmp_path, name):
    rows = [{"instruction": text, "input": text, "output": f"{text} {i}"} for i, text in enumerate(ODD)]
    path = tmp_path / name
    if name in ("d.parquet", "d"):
        (write_parquet if name == "d.parquet" else write_saved)(path, rows)
    else:
        as_csv = csv_text(rows, "\t" if name == "d.tsv" else ",")
        content = {"d.json": json.dumps(rows, ensure_ascii=False), "d.jsonl": json_lines(rows)}.get(name, as_csv)
        path.write_text(content, encoding="utf-8", newline="")
    assert texts(path) == [f"{text} {text}{SEPARATOR}{text} {i}" for i, text in enumerate(ODD)]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_of_a_csv_file_is_recognized_by_its_columns(tmp_path, delimiter):
    (tmp_path / "d.csv").write_text("\n" + csv_text(MANY, delimiter), encoding="utf-8")
    assert texts(tmp_path / "d.csv") == READ
    assert texts(tmp_path / "d.csv", "--delimiter", {"\t": "\\t"}.get(delimiter, delimiter)) == READ
    line = refused(tmp_path / "d.csv", "--input-column", "question")
    assert line.startswith("no column 'question'; it has 'instruction', 'input', 'output': ")
    (tmp_path / "d.csv").write_text(csv_text(MANY, "^"), encoding="utf-8")
    assert texts(tmp_path / "d.csv", "--delimiter", "^") == READ


def test_every_text_comes_out_of_a_csv_file_as_it_was_written(tmp_path_factory):
    path = tmp_path_factory.mktemp("csv") / "d.csv"
    row = st.fixed_dictionaries({name: st.text(max_size=9) | st.text(",;\t|\"'\r\n ", max_size=9) for name in GOOD})

    @settings(max_examples=50)
    @given(st.lists(row, min_size=1, max_size=4), st.sampled_from(",;\t|"))
    def check(rows, delimiter):
        path.write_text(csv_text(rows, delimiter), encoding="utf-8", newline="")
        assert texts(path) == [*map(DIALOGUE.text, rows)]

    check()


def test_a_csv_file_without_a_header_is_recognized_and_read_by_numbers(tmp_path, capsys):
    path = tmp_path / "d.csv"
    rows = [{"q": f"I am Anna B., {i} years old.", "a": f"Take {i} drops, Anna."} for i in range(40, 44)]
    path.write_text(csv_text(rows, header=False))
    none = "--instruction-column", ""
    for flags in (none, (*none, "--input-column", "q")):
        line = refused(path, *flags)
        assert "its first line seems to be a row" in line and "--output-column 2" in line and "Anna" not in line
    numbers = *none, "--input-column", "1", "--output-column", "2"
    assert texts(path, *numbers) == [row["q"] + SEPARATOR + row["a"] for row in rows]
    assert "read as a file without a header, its columns called 1 to 2" in capsys.readouterr().out
    assert refused(path, *numbers[:-1], "3").startswith("no column '3'; it has '1', '2': ")
    capsys.readouterr()
    path.write_text(csv_text([{"1": "a?", "2": "b"}]))  # a header of numbers is one
    assert texts(path, *numbers) == [f"a?{SEPARATOR}b"] and not capsys.readouterr().out
    path.write_text("great film,positive\nbad film,negative\n")
    assert "great" not in refused(path)


@pytest.mark.parametrize("encoding", ["gbk", "latin-1", "utf-16", "shift-jis"])
def test_another_encoding_is_refused_with_the_flag_that_reads_it(tmp_path, encoding):
    text = {"gbk": "我的头很痛", "latin-1": "Grüße", "utf-16": "头痛 Grüße", "shift-jis": "頭が痛い"}[encoding]
    rows = [GOOD, GOOD | {"output": text}]
    for name, content in {"d.csv": csv_text(rows), "d.jsonl": json_lines(rows)}.items():
        (tmp_path / name).write_bytes(content.encode(encoding))
        line = refused(tmp_path / name)
        assert re.match(r"line \d is not UTF-8; name the file's encoding with --encoding, as gbk or ", line)
        assert texts(tmp_path / name, "--encoding", encoding)[1].endswith(SEPARATOR + text)
    (tmp_path / "d.csv").write_bytes(csv_text([GOOD, GOOD]).encode() + b"a,b,\xff\xff\n")
    assert refused(tmp_path / "d.csv", "--encoding", "gbk").startswith("line 4 is not gbk; ")
    assert "it is not utf-16; name " in refused(tmp_path / "d.csv", "--encoding", "utf-16")
    (tmp_path / "d.csv").write_text(csv_text([GOOD]), encoding="utf-8-sig")
    assert len(texts(tmp_path / "d.csv", "--encoding", "UTF8")) == 1


def snapshot(path, splits):
    """A directory as a snapshot of a hub's data set: splits, a dict name -> list of the rows of each Parquet file."""
    (path / "data").mkdir(parents=True)
    (path / "README.md").write_text("---\nlicense: mit\n---\n")
    for split, files in splits.items():
        for i, rows in enumerate(files):
            write_parquet(path / "data" / f"{split}-{i:05d}-of-{len(files):05d}.parquet", rows)


def test_a_directory_of_files_is_read_in_order_and_what_is_left_out_is_told(tmp_path, capsys, monkeypatch):
    snapshot(tmp_path / "d", {"train": [MANY[:3], MANY[3:]]})
    assert texts(tmp_path / "d") == READ and not capsys.readouterr().out
    snapshot(tmp_path / "e", {"train": [MANY[:3], MANY[3:]], "test": [[GOOD]]})
    assert texts(tmp_path / "e") == READ
    assert capsys.readouterr().out == f"{tmp_path / 'e'}: only its split 'train' is read; left out: 'test' (1 file)\n"
    snapshot(tmp_path / "f", {"test": [[GOOD]]})
    assert refused(tmp_path / "f").startswith("no split 'train'; it has test: ")
    for i, content in enumerate([json_lines(MANY[:3]), json_lines(MANY[3:])]):
        (tmp_path / "g").mkdir(exist_ok=True)
        (tmp_path / "g" / f"part-{i}.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    assert texts(tmp_path / "g") == READ and not capsys.readouterr().out
    (tmp_path / "g" / "more.csv").write_text(csv_text([GOOD]))
    monkeypatch.chdir(tmp_path / "g")
    assert texts(".") == READ
    assert capsys.readouterr().out == ".: 1 file of another kind or configuration left out, as more.csv\n"
    (tmp_path / "d" / "data" / "train-00001-of-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"train-00001-of-00002.parquet: not a readable Parquet file"):
        texts(tmp_path / "d")


def test_several_files_of_several_kinds_are_read_in_order(tmp_path, capsys):
    paths = [tmp_path / name for name in ("b.jsonl", "a.csv", "c.parquet")]
    paths[0].write_text(json_lines([BARE]))
    paths[1].write_text(csv_text(MANY[:2]), encoding="utf-8")
    write_parquet(paths[2], MANY[2:])
    assert texts(paths[0], *paths[1:]) == [f"say{SEPARATOR}b", *READ]
    assert "1 of 6 rows have no column for input" in capsys.readouterr().out
    for flags, message in {
        (paths[1], paths[1]): f"--data: {paths[1]} is named twice",
        (paths[1], tmp_path / "no.csv"): f"{tmp_path / 'no.csv'}: no such file",
        (paths[1], "--delimiter", ";"): f"{paths[1]}: no column 'instruction'",
        (paths[0], "--delimiter", ";"): "--delimiter: is for CSV files",
        (paths[2], "--encoding", "gbk"): "--encoding: is for JSON or CSV files",
    }.items():
        with pytest.raises(UserError, match=re.escape(message)):
            texts(*flags)


def test_columns_may_be_spelled_otherwise_in_another_file_but_not_in_a_row(tmp_path):
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    rows = [{"document": "D.", "summary": "S."}, {"article": "A.", "highlights": "H."}]
    for path, row in zip(paths, rows, strict=True):
        path.write_text(json_lines([row]))
    assert [row["document"] for row in read_task_rows(DataSettings(SUMMARIZATION, (*map(str, paths),)))] == ["D.", "A."]
    paths[0].write_text(json_lines([rows[0], {"article": "A.", "summary": "S."}]))
    with pytest.raises(
        UserError, match="line 2 has document in 'article', others in 'document'; name one of them with"
    ):
        list(read_task_rows(DataSettings(SUMMARIZATION, (str(paths[0]),))))


# ---- damaged files

ROWS = [GOOD | {"output": f"number {i} " * 5} for i in range(300)]


def not_parquet(path):
    path.write_text("PAR1 no Parquet PAR1")


def truncated(path):
    write_parquet(path, ROWS)
    path.write_bytes(path.read_bytes()[:-100])


def flipped_page(path):
    pyarrow.parquet.write_table(table(ROWS, "input", pa.string()), path, write_page_checksum=True, compression="none")
    content = bytearray(path.read_bytes())
    content[content.index(b"number 7 ") + 2] ^= 1
    path.write_bytes(content)


def flipped_footer(path):
    write_parquet(path, ROWS)
    content = bytearray(path.read_bytes())
    for at in range(len(content) - 400, len(content) - 8, 7):
        content[at] ^= 0xFF
    path.write_bytes(content)


def not_utf8(path):
    broken = pa.array([b"a", b"\xff\xfe"]).view(pa.string())
    pyarrow.parquet.write_table(pa.table({"instruction": ["a"] * 2, "input": broken, "output": ["b"] * 2}), path)


@pytest.mark.parametrize("damage", [not_parquet, truncated, flipped_page, flipped_footer, not_utf8])
def test_a_parquet_file_that_cannot_be_read_is_one_line(tmp_path, damage):
    damage(tmp_path / "d.parquet")
    assert refused(tmp_path / "d.parquet").startswith("not a readable Parquet file: ")


def of_saved(change):
    def damage(path):
        write_saved(path, ROWS)
        change(path)

    return damage


def edited(name, **fields):
    def change(path):
        content = json.loads((path / name).read_text()) | fields
        (path / name).write_text(json.dumps(content))

    return change


def cut(path, share):
    (rows,) = path.glob("*.arrow")
    content = rows.read_bytes()
    rows.write_bytes(content[: int(len(content) * share)])


def flipped(path, at):
    (rows,) = path.glob("*.arrow")
    content = bytearray(rows.read_bytes())
    content[at] ^= 0xFF
    rows.write_bytes(content)


DAMAGED = {
    "empty": lambda path: path.mkdir(),
    "a stranger": lambda path: (path.mkdir(), (path / "chapter").write_text("1")),
    "no state": of_saved(lambda path: (path / "state.json").unlink()),
    "a state that is no JSON": of_saved(lambda path: (path / "state.json").write_text("{")),
    "a state that is a list": of_saved(lambda path: (path / "state.json").write_text("[]")),
    "a state without its files": of_saved(edited("state.json", _data_files=None)),
    "features of no type": of_saved(edited("dataset_info.json", features={"input": {"_type": "None"}})),
    "nothing in the rows": of_saved(lambda path: cut(path, 0)),
    "half of the rows": of_saved(lambda path: cut(path, 0.5)),
    "flipped size": of_saved(lambda path: flipped(path, 6)),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_directory_that_is_no_data_set_or_a_damaged_one_is_one_line(tmp_path, case):
    DAMAGED[case](tmp_path / "d")
    assert refused(tmp_path / "d").startswith("not a readable Hugging Face dataset")


def test_a_flipped_byte_in_what_describes_the_rows_is_one_line_or_harmless(tmp_path):
    write_saved(tmp_path / "d", ROWS[:3])
    expected, refusals = texts(tmp_path / "d"), 0
    (rows,) = (tmp_path / "d").glob("*.arrow")
    content = rows.read_bytes()
    for at in range(0, content.index(b"say"), 3):
        rows.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            read = texts(tmp_path / "d")
        except UserError as error:
            assert "\n" not in str(error)
            refusals += 1
        else:
            assert len(read) <= len(expected)
    assert refusals > 50


def test_arrow_buffers_that_point_beyond_their_end_are_not_followed(tmp_path):
    write_saved(tmp_path / "d", ROWS[:3])
    (rows,) = (tmp_path / "d").glob("*.arrow")
    lengths = [len(row["output"]) for row in ROWS[:3]]
    ends = b"".join(n.to_bytes(4, "little") for n in (lengths[0], lengths[0] + lengths[1]))
    content = rows.read_bytes()
    assert content.count(ends) == 1
    rows.write_bytes(content.replace(ends, b"\xff\xff\xff\x3f" * 2))
    assert refused(tmp_path / "d").startswith("not a readable Hugging Face dataset")


def test_what_a_library_says_at_length_is_cut_short():
    with pytest.raises(UserError) as error, readers._readable("d", "file"):
        raise ValueError("x" * 9999 + "\ny")
    assert str(error.value) == f"d: not a readable file: {'x' * 200}; write it again"


def test_of_a_data_set_of_splits_train_is_read_and_the_others_are_told(tmp_path, capsys):
    data = Dataset.from_list(ROWS)
    DatasetDict({"train": data.select([0, 1]), "test": data}).save_to_disk(str(tmp_path / "d"))
    assert len(texts(tmp_path / "d")) == 2
    assert capsys.readouterr().out == f"{tmp_path / 'd'}: only its split 'train' is read; left out: 'test' (300 rows)\n"
    DatasetDict({"test": data, "dev": data}).save_to_disk(str(tmp_path / "e"))
    assert re.match("no split 'train'; it has test, dev: name", refused(tmp_path / "e"))


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_cannot_be_reached_is_not_waited_for(monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://no-hub.invalid")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", offline)
    begun = time.monotonic()
    assert refused("nobody/no-such-data").startswith(
        "a data set could not be loaded: it is not in the local cache, and no hub"
    )
    assert time.monotonic() - begun < 20  # the libraries try again for minutes
