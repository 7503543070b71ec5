"""Reading data row by row: JSON, JSON lines, CSV, Parquet, a data set saved or on the hub."""

import csv
import sys
from contextlib import contextmanager
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet
from huggingface_hub import constants

from memorization import hub
from memorization.cli import UserError
from memorization.encoding.json_list import not_utf8, read_json_list
from memorization.files import parse_jsonl

BATCH = 1000  # rows of an Arrow file


def read_data(name, columns):
    """(where it stands, row as a dict) of each row of a data set, which name is the path or hub name of.

    columns: dict field -> column that must be there; of JSON, whose rows may differ, that is for the caller to see.
    """
    path = Path(name)
    if path.is_dir():
        return _saved(path, columns)
    if path.suffix in READERS:
        if not path.is_file():
            raise UserError(f"{name}: no such file; check the path")
        return READERS[path.suffix](path, columns)
    if path.is_file():
        raise UserError(f"{name}: not a kind of file read here; give {', '.join(READERS)} or a dataset directory")
    return _arrow_rows(name, hub.load(_from_hub, name, "a data set"), columns)


def check_columns(name, columns, there):
    """Raise UserError if a column is not among those that are there (a list), or stands twice among them."""
    if missing := {field: column for field, column in columns.items() if column not in there}:
        flags = " ".join(f"--{field}-column" for field in missing)
        none = ' (--instruction-column "" if there is none)' if "instruction" in missing else ""
        raise UserError(
            f"{name}: no column {', '.join(map(repr, missing.values()))}; it has {', '.join(map(repr, there))}: "
            f"name the right one with {flags}{none}"
        )
    if twice := [column for column in columns.values() if there.count(column) > 1]:
        raise UserError(f"{name}: column {twice[0]!r} stands twice in it; rename one of them")


def _from_hub(name, local_files_only=False):
    if local_files_only:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    return datasets.load_dataset(name, split="train")


@contextmanager
def _readable(name, kind, errors=(pa.ArrowException, ValueError, OSError)):
    """Raise UserError in place of what Arrow raises for a damaged file; the system's errors pass."""
    try:
        yield
    except errors as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{name}: not a readable {kind}: {said[:200]}; write it again") from None


def _arrow_rows(name, data, columns):
    """The rows of a datasets.Dataset."""
    check_columns(name, columns, data.column_names)
    chosen = sorted(set(columns.values()))
    classes = {column: data.features[column].names for column in chosen if hasattr(data.features[column], "names")}
    with _readable(name, "Hugging Face dataset"):
        for where, row in _rows_of(data.select_columns(chosen).with_format("arrow").iter(BATCH)):
            for column, names in classes.items():
                if (value := row[column]) is not None:
                    if not 0 <= value < len(names):
                        raise UserError(
                            f"{name}: {where}, column {column!r}: {value} is none of its {len(names)} classes"
                        )
                    row[column] = names[value]
            yield where, row


def _rows_of(batches):
    """The rows of Arrow batches, each looked through for damage first: Arrow itself would read beyond it."""
    count = 0
    for batch in batches:
        batch.validate(full=True)
        for row in batch.to_pylist():
            count += 1
            yield f"row {count}", row


def _saved(path, columns):
    with _readable(path, "Hugging Face dataset, as save_to_disk writes a directory of", Exception):
        data = datasets.load_from_disk(str(path))
    if isinstance(data, datasets.DatasetDict):
        if "train" not in data:
            raise UserError(f"{path}: no split 'train'; it has {', '.join(data)}: name the directory of one of them")
        data = data["train"]
    return _arrow_rows(path, data, columns)


def _parquet(path, columns):
    with _readable(path, "Parquet file"), pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
        check_columns(path, columns, file.schema_arrow.names)
        yield from _rows_of(file.iter_batches(BATCH, columns=sorted(set(columns.values()))))


def _csv(path, columns):
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if reader.fieldnames:
                check_columns(path, columns, reader.fieldnames)
            for row in reader:
                if None in row or None in row.values():
                    expected = len(reader.fieldnames)
                    raise UserError(f"{path}: line {reader.line_num} has not the header's {expected} fields; mend it")
                yield f"line {reader.line_num}", row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.reader.line_num} is not valid CSV: {error}; mend that line") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None


def _json(path, _):
    for number, row in enumerate(read_json_list(path), 1):
        yield f"row {number}", row


def _jsonl(path, _):
    with path.open("rb") as file:
        for number, row in parse_jsonl(file, path):
            yield f"line {number}", row


READERS = {".json": _json, ".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
