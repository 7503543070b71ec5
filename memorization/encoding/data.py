"""Reading the data of a task row by row: JSON, JSON lines, CSV, Parquet, a data set saved or on the hub."""

import csv
import sys
from itertools import islice
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


def add_data_arguments(parser, task):
    """The flags that say where the data of a task is and what its columns are called."""
    parser.add_argument(
        "--data",
        help=".json, .jsonl, .csv or .parquet file, directory of a saved Hugging Face dataset, or hub dataset name "
        "(default: made-up data of the project's own)",
    )
    instruction = parser.add_mutually_exclusive_group()
    for field in task.fields:
        (instruction if field == "instruction" else parser).add_argument(
            f"--{field}-column",
            default=field,
            metavar="NAME",
            help=f"column with the {field}"
            + ' ("": there is none)' * (field in task.source)
            + " (default: %(default)s)",
        )
    instruction.add_argument(
        "--instruction", metavar="TEXT", help="one instruction for all samples, in place of a column"
    )


def read_texts(args, task, limit=None):
    """The texts of the samples that args (of add_data_arguments, data not None) name, one at a time.

    Raises UserError for data that is missing, empty or malformed, or lacks a column.
    """
    columns = {field: getattr(args, f"{field}_column") for field in task.fields}
    given = {field: "" for field, column in columns.items() if not column}
    if task.target in given:
        raise UserError(f"--{task.target}-column: must name a column of the data")
    if args.instruction is not None:
        given["instruction"] = _text(args.instruction)
    columns = {field: column for field, column in columns.items() if field not in given}
    for row in _read(args.data, columns, limit):
        yield task.text(given | {field: _text(row.get(column)) for field, column in columns.items()})


def _text(value):
    text = "" if value is None else str(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can hold, has no UTF-8 form
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _read(name, columns, limit):
    """The first rows of a data set as dicts. columns: dict field -> column that must be there."""
    path = Path(name)
    if path.is_dir():
        rows = _saved(path, columns)
    elif path.suffix in READERS:
        if not path.is_file():
            raise UserError(f"{name}: no such file; check the path")
        rows = READERS[path.suffix](path, columns)
    elif path.is_file():
        raise UserError(f"{name}: not a kind of file read here; give {', '.join(READERS)} or a dataset directory")
    else:
        rows = _arrow_rows(name, hub.load(_from_hub, name, "a data set"), columns)
    count, seen = 0, {}
    for count, row in enumerate(islice(rows, limit), 1):  # noqa: B007
        if not row.keys() <= seen.keys():
            seen |= dict.fromkeys(row)
        yield row
    if not count:
        raise UserError(f"{name}: no rows in it; name a file with data")
    _check(name, columns, seen)


def _check(name, columns, there):
    if missing := {field: column for field, column in columns.items() if column not in there}:
        flags = " ".join(f"--{field}-column" for field in missing)
        none = ' (--instruction-column "" if there is none)' if "instruction" in missing else ""
        raise UserError(
            f"{name}: no column {', '.join(map(repr, missing.values()))}; it has {', '.join(map(repr, there))}: "
            f"name the right one with {flags}{none}"
        )


def _from_hub(name, local_files_only=False):
    if local_files_only:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    return datasets.load_dataset(name, split="train")


def _arrow_rows(name, data, columns):
    """The rows of a datasets.Dataset."""
    _check(name, columns, data.column_names)
    for batch in data.select_columns(sorted(set(columns.values()))).with_format("arrow").iter(BATCH):
        yield from batch.to_pylist()


def _saved(path, columns):
    try:
        data = datasets.load_from_disk(str(path))
    except (OSError, ValueError):
        raise UserError(f"{path}: not a saved Hugging Face dataset; name a directory made by save_to_disk") from None
    if isinstance(data, datasets.DatasetDict):
        if "train" not in data:
            raise UserError(f"{path}: no split 'train'; it has {', '.join(data)}: name the directory of one of them")
        data = data["train"]
    return _arrow_rows(path, data, columns)


def _parquet(path, columns):
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check(path, columns, file.schema_arrow.names)
            for batch in file.iter_batches(BATCH, columns=sorted(set(columns.values()))):
                yield from batch.to_pylist()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file: {error}; write it again") from None


def _csv(path, columns):
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check(path, columns, reader.fieldnames or columns.values())
            for row in reader:
                if None in row or None in row.values():
                    expected = len(reader.fieldnames)
                    raise UserError(f"{path}: line {reader.line_num} has not the header's {expected} fields; mend it")
                yield row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is not valid CSV: {error}; mend that line") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None


def _jsonl(path, _):
    with path.open("rb") as file:
        for _, row in parse_jsonl(file, path):
            yield row


READERS = {".json": lambda path, _: read_json_list(path), ".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
