"""A task's data: what counts as text, and that whatever else is in a file is named by its row and column."""

import argparse
import json
import re
import time
from datetime import date
from decimal import Decimal
from math import inf, nan

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from memorization.cli import UserError
from memorization.encoding import readers
from memorization.encoding.data import add_data_arguments, configured, read_rows
from memorization.encoding.tasks import DIALOGUE, SEPARATOR

GOOD = {"instruction": "say", "input": "a", "output": "b"}
TYPES = {"instruction": pa.string(), "input": pa.string(), "output": pa.string()}


def texts(path, *flags, limit=None):
    parser = argparse.ArgumentParser()
    add_data_arguments(parser, DIALOGUE)
    args = parser.parse_args(["--data", str(path), *flags])
    task = configured(DIALOGUE, args)
    return [*map(task.text, read_rows(args.data, task, limit))]


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
    ("value", "said"),
    [(["a"], "is a list"), ({"a": 1}, "is an object"), ({"a": [[]] * 1000}, "is an object")],
    ids=["list", "object", "huge object"],
)
def test_a_value_of_json_that_is_no_text_is_named_by_row_and_column(tmp_path, write, value, said):
    rows = [GOOD] * 3
    for column in GOOD:
        write(tmp_path / "d.json", [*rows, {**GOOD, column: value}, GOOD])
        where = "row 4" if write is write_json else "line 5"
        if write is write_jsonl:
            (tmp_path / "d.json").replace(tmp_path / "d.jsonl")
        line = refused(tmp_path / ("d.json" if write is write_json else "d.jsonl"))
        assert line.startswith(f"{where}, column {column!r}: {said}, which is no text; ")


@pytest.mark.parametrize("write", [write_parquet, write_saved])
@pytest.mark.parametrize(
    ("value", "type", "said"),
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
def test_a_value_of_arrow_that_is_no_text_is_named_by_row_and_column(tmp_path, write, value, type, said):
    write(tmp_path / "d.parquet", [*[GOOD | {"input": None}] * 1200, GOOD | {"input": value}], "input", type)
    assert refused(tmp_path / "d.parquet").startswith(f"row 1201, column 'input': {said}, which is no text; ")


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


@pytest.mark.parametrize("write", [write_json, write_jsonl])
def test_a_row_without_a_column_is_named(tmp_path, write):
    path = tmp_path / ("d.json" if write is write_json else "d.jsonl")
    write(path, [GOOD, GOOD, {"instruction": "say", "output": "b", "x": 1}])
    where = "row 3" if write is write_json else "line 4"
    assert refused(path) == f"{where} has no 'input', which others have; add it, null if need be"
    assert len(texts(path, limit=2)) == 2 and len(texts(path, "--input-column", "")) == 3
    write(path, [{"instruction": "say", "output": "b", "x": 1}, GOOD])
    assert refused(path).startswith("no column 'input'; it has 'instruction', 'output', 'x': ")


HEADER = b"instruction,input,output\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"instruction,input,input,output\na,b,c,d\n", "column 'input' stands twice"),
        (HEADER + b"a,b\n", "line 2 has not the header's 3 fields"),
        (HEADER + b"a,b,c,d\n", "line 2 has not the header's 3 fields"),
        (HEADER + b'a,b,"c\n', "line 2 is not valid CSV: unexpected end of data"),
        (HEADER, "no rows in it"),
        (b"", "no rows in it"),
        (b"\n\n", "no rows in it"),
        (HEADER.decode().encode("utf-16"), "line 1 is not UTF-8"),
        (HEADER.decode().encode("utf-16-le"), "no column 'instruction'"),
        (b"instruction;input;output\na;b;c\n", "no column 'instruction'"),
    ],
)
def test_a_csv_file_that_will_not_do(tmp_path, content, said):
    (tmp_path / "d.csv").write_bytes(content)
    assert refused(tmp_path / "d.csv").startswith(said)


def test_a_csv_file_with_a_mark_a_nul_and_a_column_twice_that_is_not_read(tmp_path):
    (tmp_path / "d.csv").write_bytes(b"\xef\xbb\xbfinstruction,x,x,input,output\r\nsay,1,2,a\0,b\r\n")
    assert texts(tmp_path / "d.csv") == [f"say a\0{SEPARATOR}b"]


def test_an_arrow_column_that_stands_twice_is_refused(tmp_path):
    names = ["instruction", "input", "input", "output"]
    pyarrow.parquet.write_table(pa.table([["a"]] * 4, names), tmp_path / "d.parquet")
    assert refused(tmp_path / "d.parquet").startswith("column 'input' stands twice")


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
            found = texts(tmp_path / "d")
        except UserError as error:
            assert "\n" not in str(error)
            refusals += 1
        else:
            assert len(found) <= len(expected)
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


def test_data_sets_of_splits_need_one_called_train(tmp_path):
    data = Dataset.from_list(ROWS)
    DatasetDict({"train": data.select([0, 1]), "test": data}).save_to_disk(str(tmp_path / "d"))
    assert len(texts(tmp_path / "d")) == 2
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
