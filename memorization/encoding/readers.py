"""Reading data row by row: JSON, CSV, Parquet, a data set saved, in a directory or on the hub, parallel text files."""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import datasets
import msgspec
import pyarrow as pa
import pyarrow.parquet
from huggingface_hub import constants

from memorization.encoding.columns import LONGEST, Columns
from memorization.encoding.json_objects import read_objects
from memorization.encoding.text_files import COMPRESSED, file_kind, open_text
from memorization.models import hub
from memorization.shell.cli import UserError

Rows = Iterator[tuple[str, dict[str, Any]]]  # of each row its place in the file, and the row
BATCH = 1000  # rows of an Arrow file
DELIMITERS = ",;\t|"
SENTENCE = set(",;.?!。！？，、؟।")  # punctuation that names of columns do not have
SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")  # a saved data set has at least one of these files
SPLITS = {  # of a data set that a flag names: the first that it has is read
    **dict.fromkeys(("--data", "--train-data"), ("train",)),
    "--held-out-data": ("test", "validation", "train"),
}
INFOS = "dataset_infos.json"  # a file of a snapshot that says what is in the others


class Source(NamedTuple):
    """A file or data set. read(name, columns, delimiter, encoding): its Rows."""

    name: str | Path
    read: Callable[[Any, Columns, str | None, str | None], Rows]


def sources(data: Iterable[str], flag: str = "--data") -> list[Source]:
    """The files and data sets of these names, in order: the files of a directory, of a data set one of its splits.

    flag: by which the data is named; it says which split is read (SPLITS).
    """
    return [source for name in data for source in _sources(name, flag)]


def has_held_out_split(name: str) -> bool:
    """Whether a name is of a data set with a split of held-out samples."""
    return file_kind(Path(name)) not in READERS and not {"test", "validation"}.isdisjoint(_splits(name))


def read_sources(
    sources: list[Source],
    columns: Columns,
    delimiter: str | None = None,
    encoding: str | None = None,
    named_by: str = "--data",
) -> Iterator[tuple[str | Path, str, dict[str, Any]]]:
    """The rows of all sources, one at a time.

    delimiter, encoding: of the text files; None: recognized, and UTF-8. named_by: the flag that names the sources.
    Raises UserError where no file has such.
    """
    for flag, value, kinds, readers in (
        ("delimiter", delimiter, "CSV", (_csv,)),
        ("encoding", encoding, "JSON or CSV", (_csv, _json)),
    ):
        if value and not any(source.read in readers for source in sources):
            raise UserError(f"--{flag}: is for {kinds} files, of which {named_by} has none; leave it out")
    for name, read in sources:
        columns.begin(name)
        for where, row in read(name, columns, delimiter, encoding):
            yield name, where, row


def read_parallel(
    paths: Sequence[str], fields: Sequence[str], encoding: str | None = None, named_by: str = "--data"
) -> Rows:
    """The rows of parallel text files, one a field. Raises UserError if they do not have as many lines each."""
    if len(paths) != len(fields):
        raise UserError(f"{named_by}: {len(paths)} files; give one data set, or {len(fields)} parallel text files")
    lengths = []
    for path in paths:
        with open_text(path, encoding, "\n") as file:
            lengths.append(sum(1 for _ in file))
    if len(set(lengths)) > 1:
        both = " and ".join(f"{path} {n:,}" for path, n in zip(paths, lengths, strict=True))
        raise UserError(f"{both} lines: they are not parallel; give two files with a sample a line in each")
    with ExitStack() as stack:
        files = [stack.enter_context(open_text(path, encoding, "\n")) for path in paths]
        for number, lines in enumerate(zip(*files, strict=True), 1):
            yield f"line {number}", {f: line.rstrip("\r\n") for f, line in zip(fields, lines, strict=True)}


def _sources(name, flag):
    split = _chosen(name, _splits(name), flag)
    if isinstance(split, list):
        return [_file(path) for path in split]
    return [Source(Path(name) if Path(name).is_dir() else name, partial(_arrow_rows, split))]


def _splits(name):
    """The splits of a file, directory or data set of the hub, by name: lists of paths, or datasets.Dataset."""
    path = Path(name)
    if path.is_dir():
        return _in_directory(path)
    if file_kind(path) in READERS:
        if not path.is_file():
            raise UserError(f"{name}: no such file; check the path")
        return {"train": [path]}
    if path.is_file():
        raise UserError(
            f"{name}: not a kind of file read here; give {', '.join(READERS)}, or a directory of such files or of a "
            "saved data set"
        )
    return _named(hub.load(_from_hub, name, "a data set"))


def _named(data):
    return dict(data) if isinstance(data, datasets.DatasetDict) else {"train": data}


def _file(path):
    """The Source of a file. Raises UserError for a kind that is not read here."""
    kind = file_kind(path)
    if kind not in READERS or kind == ".parquet" and path.suffix.lower() in COMPRESSED:
        raise UserError(f"{path}: not a kind of file read here; give {', '.join(READERS)}")
    return Source(path, READERS[kind])


def _in_directory(path):
    """The splits in a directory: of the data set that is saved there, or of data files as in a hub's snapshot."""
    kind = "Hugging Face dataset, as save_to_disk writes a directory of, nor a directory of data files"
    with _readable(path, kind, Exception, "name the files to read"):
        if any((path / name).is_file() for name in SAVED):
            return _named(datasets.load_from_disk(str(path)))
        with TemporaryDirectory() as cache:  # a home may be read-only
            splits = datasets.load_dataset_builder(str(path.absolute()), cache_dir=cache).config.data_files
    splits = {str(split): [Path(file) for file in files] for split, files in splits.items()}
    there = {file for file in path.absolute().rglob("*") if file_kind(file) in READERS and file.name != INFOS}
    if others := sorted(there.difference(*splits.values())):
        print(f"{path}: {_counted(others)} of another kind or configuration left out, as {others[0].name}")
    return splits


def _counted(files):
    return f"{len(files):,} file{'s' * (len(files) > 1)}"


def _chosen(name, splits, flag):
    """The split that is read of data that a flag names; prints which others are left out."""
    chosen = next((split for split in SPLITS[flag] if split in splits), None)
    if chosen is None:
        raise UserError(
            f"{name}: no split {SPLITS[flag][0]!r}; it has {', '.join(splits)}: name the directory, or the files, of "
            "one of them"
        )
    sizes = {split: _counted(of) if isinstance(of, list) else f"{len(of):,} rows" for split, of in splits.items()}
    if others := [f"{split!r} ({size})" for split, size in sizes.items() if split != chosen]:
        side = "" if flag == "--data" else f" as {flag[2:]}"
        print(f"{name}: only its split {chosen!r} is read{side}; left out: {', '.join(others)}")
    return splits[chosen]


def _from_hub(name, local_files_only=False):
    if local_files_only:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    return datasets.load_dataset(name)


@contextmanager
def _readable(name, kind, errors=(pa.ArrowException, ValueError, OSError), remedy="write it again"):
    """Raise UserError in place of Arrow's errors for a damaged file. Errors of the system are raised as they are."""
    try:
        yield
    except errors as error:
        if isinstance(error, UserError) or isinstance(error, OSError) and error.errno is not None:
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{name}: not a readable {kind}: {reason[:200]}; {remedy}") from None


def _arrow_rows(data, name, columns, *_):
    """The rows of a datasets.Dataset."""
    top = _top(columns, data.features.arrow_schema)
    with _readable(name, "Hugging Face dataset"):
        batches = data.select_columns(top).with_format("arrow").iter(BATCH)
        yield from _rows_of(name, batches, _classes(data.features, top))


def _top(columns, schema):
    """The top-level columns of an Arrow schema that hold the fields."""
    chosen = columns.declare({field.name: _example(field.type) for field in schema}, schema.names)
    return sorted({column if column in schema.names else column.split(".")[0] for column in chosen.values()})


def _example(type):
    """A value of the structure of an Arrow type."""
    if pa.types.is_struct(type):
        return {field.name: _example(field.type) for field in type}
    if pa.types.is_nested(type) and hasattr(type, "value_type"):
        return [_example(type.value_type)]
    return ""


def _classes(features, columns):
    """The names of the classes of those columns that have classes."""
    return {column: features[column].names for column in columns if hasattr(features[column], "names")}


def _rows_of(name, batches, classes):
    """The rows of Arrow batches. Each is validated first: Arrow itself would read beyond the end of damaged buffers.

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


def _parquet(path, columns, *_):
    with _readable(path, "Parquet file"), pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
        schema = file.schema_arrow
        top, classes = _top(columns, schema), {}
        if b"huggingface" in (schema.metadata or {}):  # written by `datasets`, with what its features are
            classes = _classes(datasets.Features.from_arrow_schema(schema), top)
        yield from _rows_of(path, file.iter_batches(BATCH, columns=top), classes)


def _csv(path, columns, delimiter, encoding):
    csv.field_size_limit(sys.maxsize)
    with open_text(path, encoding) as file:
        blank, first = next(((n, line) for n, line in enumerate(file) if line.strip()), (0, ""))
        if not first:
            return
        delimiter = delimiter or _delimiter(first, columns, "\t" if file_kind(path) == ".tsv" else ",")
        reader = csv.reader(chain([first], file), delimiter=delimiter, strict=True)
        try:
            names, rows = next(reader), reader
            if columns.numbered(names):
                rows, names = chain([names], reader), [str(number) for number in range(1, len(names) + 1)]
                print(f"{path}: read as a file without a header, its columns called 1 to {len(names)}")
            example = dict.fromkeys(names, "")
            if columns.choose(example) and not _is_header(names, rows):
                raise columns.missing(None)
            columns.declare(example, names)
            for row in rows:
                where = f"line {blank + reader.line_num}"
                if row and len(row) != len(names):
                    raise UserError(f"{path}: {where} has not the header's {len(names)} fields; mend it")
                if row:
                    yield where, dict(zip(names, row, strict=True))
        except csv.Error as error:
            raise UserError(
                f"{path}: line {blank + reader.line_num} is not valid CSV: {error}; mend that line"
            ) from None


def _delimiter(line, columns, default):
    """The delimiter of a CSV file's first line: the one that gives the columns of the fields, else the most columns."""
    headers = {}
    for delimiter in (default, *DELIMITERS):
        with suppress(csv.Error):
            headers[delimiter] = next(csv.reader([line], delimiter=delimiter, strict=True))
    fit = (delimiter for delimiter, names in headers.items() if columns.are_in(dict.fromkeys(names, "")))
    if columns.numbered() or not headers:
        return next(fit, default)
    return next(fit, max(headers, key=lambda delimiter: len(headers[delimiter])))


def _is_header(names, rows):
    """Whether the first line of a CSV file is certainly a header: its cells look like names, those below like texts."""
    below = []
    with suppress(csv.Error):
        below = [row for row in islice(rows, 20) if len(row) == len(names)]
    if not below or any(len(name) > LONGEST or set(name) & SENTENCE for name in names):
        return False
    shorter = 2 * sum(map(len, names)) < median(sum(map(len, row)) for row in below)
    words = not any(" " in name for name in names)
    return shorter or words and any(all(" " in cell for cell in column) for column in zip(*below, strict=True))


class Paragraph(msgspec.Struct):
    context: str
    qas: list[dict]


class Article(msgspec.Struct):
    paragraphs: list[Paragraph]


class Squad(msgspec.Struct):
    """SQuAD as published: one object, in which paragraphs lie in articles and questions in paragraphs."""

    data: list[Article]


def _json(path, columns, delimiter, encoding):
    rows = read_objects(path, encoding)
    start = list(islice(rows, 2))
    if len(start) == 1 and isinstance(start[0][1].get("data"), list):
        start = _squad(path, start[0][1])
    yield from chain(start, rows)


def _squad(path, content):
    try:
        articles = msgspec.convert(content, Squad).data
    except msgspec.ValidationError as error:
        raise UserError(
            f"{path}: neither a list of objects nor SQuAD's nesting of articles ({error}); give [{{...}}, ...], or one "
            "object a line"
        ) from None
    paragraphs = (paragraph for article in articles for paragraph in article.paragraphs)
    questions = (question | {"context": paragraph.context} for paragraph in paragraphs for question in paragraph.qas)
    for number, row in enumerate(questions, 1):
        yield f"question {number}", row


READERS = {".json": _json, ".jsonl": _json, ".ndjson": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
