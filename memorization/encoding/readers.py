"""Reading data row by row: JSON, JSON lines, CSV, Parquet, a data set saved or on the hub, parallel text files."""

import csv
import sys
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path

import datasets
import msgspec
import pyarrow as pa
import pyarrow.parquet
from huggingface_hub import constants

from memorization import hub
from memorization.cli import UserError
from memorization.encoding.json_list import not_utf8, read_json_list
from memorization.files import parse_jsonl, read_json

BATCH = 1000  # rows of an Arrow file


def read_data(name, columns):
    """(where it stands, row as a dict) of each row of a data set, which name is the path or hub name of.

    columns: dict field -> spellings of its column, one of which must be there; of JSON, whose rows may differ, that is
    for the caller to see.
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


def read_parallel(paths, fields):
    """(where it stands, row) of each line of parallel text files, one a field. Raises UserError if not as many each."""
    if len(paths) != len(fields):
        raise UserError(f"--data: {len(paths)} files; give one data set, or {len(fields)} parallel text files")
    with ExitStack() as stack:
        files = []
        for path in paths:
            if not Path(path).is_file():
                raise UserError(f"{path}: no such file; check the path")
            files.append(stack.enter_context(Path(path).open(encoding="utf-8-sig", newline="\n")))
        lines = [0] * len(files)
        for number, row in enumerate(zip_longest(*map(_lines, paths, files)), 1):
            lines = [n + (line is not None) for n, line in zip(lines, row, strict=True)]
            if None not in row:
                yield f"line {number}", dict(zip(fields, row, strict=True))
        if len(set(lines)) > 1:
            both = " and ".join(f"{path} {n:,}" for path, n in zip(paths, lines, strict=True))
            raise UserError(f"{both} lines: they are not parallel; give two files with a sample a line in each")


def _lines(path, file):
    try:
        yield from (line.rstrip("\r\n") for line in file)
    except UnicodeDecodeError:
        raise not_utf8(Path(path)) from None


def column_names(row):
    """What the columns of a row are called, those within an object, or in a list of objects, as "column.name"."""
    found = []
    for name, content in row.items():
        inner = content[0] if isinstance(content, list) and content else content
        found += [name, *(f"{name}.{key}" for key in (inner if isinstance(inner, dict) else ()))]
    return found


def value_in(row, column):
    """What a row has in a column; "a.b" is b within a, of a list the first. Raises KeyError if there is none."""
    if column in row:
        return row[column]
    found = row
    for name in column.split("."):
        if not isinstance(found, dict):
            raise KeyError(column)
        found = found[name]
        if isinstance(found, list):
            found = found[0] if found else None
        if found is None:
            return None
    return found


def chosen_columns(name, columns, there):
    """dict field -> its column, the first of its spellings that is there (a list). Raises UserError if none is, or if
    it stands twice."""
    found = {field: [column for column in spelled if column in there] for field, spelled in columns.items()}
    if missing := {field: " or ".join(map(repr, columns[field])) for field, there in found.items() if not there}:
        flags = " ".join(f"--{field}-column" for field in missing)
        none = ' (--instruction-column "" if there is none)' if "instruction" in missing else ""
        raise UserError(
            f"{name}: no column {', '.join(missing.values())}; it has {', '.join(map(repr, there))}: "
            f"name the right one with {flags}{none}"
        )
    columns = {field: spelled[0] for field, spelled in found.items()}
    if twice := [column for column in columns.values() if there.count(column) > 1]:
        raise UserError(f"{name}: column {twice[0]!r} stands twice in it; rename one of them")
    return columns


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
    top = _top(name, columns, data.features.arrow_schema)
    with _readable(name, "Hugging Face dataset"):
        batches = data.select_columns(top).with_format("arrow").iter(BATCH)
        yield from _rows_of(name, batches, _classes(data.features, top))


def _top(name, columns, schema):
    """The columns of an Arrow schema, of the first rank, that hold what is chosen."""
    there, top = [], {}
    for field in schema:
        type = (
            field.type.value_type
            if pa.types.is_nested(field.type) and hasattr(field.type, "value_type")
            else field.type
        )
        inner = [f"{field.name}.{part.name}" for part in type] if pa.types.is_struct(type) else []
        there += [field.name, *inner]
        top |= dict.fromkeys([field.name, *inner], field.name)
    return sorted({top[column] for column in chosen_columns(name, columns, there).values()})


def _classes(features, columns):
    """dict column -> names of its classes, of those that have such."""
    return {column: features[column].names for column in columns if hasattr(features[column], "names")}


def _rows_of(name, batches, classes):
    """The rows of Arrow batches, each looked through for damage first: Arrow itself would read beyond it.

    classes: of _classes; their numbers become names.
    """
    count = 0
    for batch in batches:
        batch.validate(full=True)
        for row in batch.to_pylist():
            count += 1
            for column, names in classes.items():
                if (number := row[column]) is not None:
                    if not 0 <= number < len(names):
                        raise UserError(
                            f"{name}: row {count}, column {column!r}: {number} is none of its {len(names)} classes"
                        )
                    row[column] = names[number]
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
        schema = file.schema_arrow
        top, classes = _top(path, columns, schema), {}
        if b"huggingface" in (schema.metadata or {}):  # written by `datasets`, with what its features are
            classes = _classes(datasets.Features.from_arrow_schema(schema), top)
        yield from _rows_of(path, file.iter_batches(BATCH, columns=top), classes)


def _csv(path, columns):
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if reader.fieldnames:
                chosen_columns(path, columns, reader.fieldnames)
            for row in reader:
                if None in row or None in row.values():
                    expected = len(reader.fieldnames)
                    raise UserError(f"{path}: line {reader.line_num} has not the header's {expected} fields; mend it")
                yield f"line {reader.line_num}", row
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.reader.line_num} is not valid CSV: {error}; mend that line") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None


class Paragraph(msgspec.Struct):
    context: str
    qas: list[dict]


class Article(msgspec.Struct):
    paragraphs: list[Paragraph]


class Squad(msgspec.Struct):
    """SQuAD as published: one object, in which paragraphs lie in articles and questions in paragraphs."""

    data: list[Article]


def _json(path, _):
    with path.open("rb") as file:
        if file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
            yield from _squad(path)
            return
    for number, row in enumerate(read_json_list(path), 1):
        yield f"row {number}", row


def _squad(path):
    try:
        articles = msgspec.convert(read_json(path), Squad).data
    except msgspec.ValidationError as error:
        raise UserError(
            f"{path}: neither a list of objects nor SQuAD's nesting of articles ({error}); give [{{...}}, ...], or one "
            "object a line in a .jsonl file"
        ) from None
    paragraphs = (paragraph for article in articles for paragraph in article.paragraphs)
    questions = ({"context": paragraph.context} | question for paragraph in paragraphs for question in paragraph.qas)
    for number, row in enumerate(questions, 1):
        yield f"question {number}", row


def _jsonl(path, _):
    with path.open("rb") as file:
        for number, row in parse_jsonl(file, path):
            yield f"line {number}", row


READERS = {".json": _json, ".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
