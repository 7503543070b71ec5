"""Reading a task's data, whatever it comes as: JSON, JSON lines, CSV, Parquet, a saved dataset, a hub name."""

import csv
import sys
from pathlib import Path

import datasets
from huggingface_hub import constants

from memorization import hub
from memorization.cli import UserError
from memorization.files import read_json, read_jsonl

FIELDS = ("instruction", "input", "output")


def add_data_arguments(parser):
    """The flags that say where the data is and what its columns are called."""
    parser.add_argument(
        "--data",
        help=".json, .jsonl, .csv or .parquet file, directory of a saved Hugging Face dataset, or hub dataset name "
        "(default: the project's own made-up dialogues)",
    )
    for field in FIELDS:
        parser.add_argument(f"--{field}-column", default=field, help=f"column with the {field} (default: %(default)s)")


def read_data(args):
    """The rows of args.data as dicts with the keys FIELDS, all str; a missing value is "".

    Raises UserError for a file that is missing, empty or malformed, or lacks a column.
    """
    rows = _read(args.data)
    if len(rows) == 0:
        raise UserError(f"{args.data}: no rows in it; name a file with data")
    columns = {field: getattr(args, f"{field}_column") for field in FIELDS}
    has = (
        rows.column_names if isinstance(rows, datasets.Dataset) else list(dict.fromkeys(k for row in rows for k in row))
    )
    missing = [column for column in columns.values() if column not in has]
    if missing:
        flags = " ".join(f"--{field}-column" for field in FIELDS if columns[field] in missing)
        raise UserError(
            f"{args.data}: no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, has))}: "
            f"name the right one with {flags}"
        )
    return [{field: _text(row.get(column)) for field, column in columns.items()} for row in rows]


def _text(value):
    if value is None:
        return ""
    # a lone surrogate, which JSON can hold, has no UTF-8 form: it becomes the replacement character
    return str(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read(name):
    path = Path(name)
    if path.suffix not in READERS and not path.is_dir():
        if path.is_file():
            raise UserError(f"{name}: not a kind of file read here; give {', '.join(READERS)} or a dataset directory")
        return hub.load(_from_hub, name, "a data set")
    if path.is_dir():
        return _saved(path)
    if not path.is_file():
        raise UserError(f"{name}: no such file; check the path")
    return READERS[path.suffix](path)


def _from_hub(name, local_files_only=False):
    if local_files_only:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    return datasets.load_dataset(name, split="train")


def _saved(path):
    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError):
        raise UserError(f"{path}: not a saved Hugging Face dataset; name a directory made by save_to_disk") from None
    if isinstance(data, datasets.DatasetDict):
        if "train" not in data:
            raise UserError(f"{path}: no split 'train'; it has {', '.join(data)}: name the directory of one of them")
        return data["train"]
    return data


def _json(path):
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: not a list of objects; give [{{...}}, ...], or one object a line in a .jsonl file")
    return rows


def _csv(path):
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    expected = len(reader.fieldnames)
                    raise UserError(f"{path}: line {reader.line_num} has not the header's {expected} fields; mend it")
                rows.append(row)
            return rows
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not valid CSV: {error}; mend that line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8") from None


def _parquet(path):
    import pyarrow

    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file: {error}; write it again") from None


READERS = {".json": _json, ".jsonl": read_jsonl, ".csv": _csv, ".parquet": _parquet}
