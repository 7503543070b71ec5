"""The data of a task: where it is, and the fields of each sample."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from memorization.encoding.columns import LONGEST, Columns
from memorization.encoding.readers import READERS, has_held_out_split, read_parallel, read_sources, sources
from memorization.encoding.tasks import Task
from memorization.encoding.text_files import COMPRESSED, encoding, file_kind
from memorization.shell.cli import UserError
from memorization.shell.flags import any_text


@dataclass(frozen=True)
class DataSettings:
    """Which rows of which data are the samples of a task, as the flags change it.

    paths: files and data sets, read in this order, or two parallel text files; none: the task's made-up data. limit:
    the first so many samples, of either side of a given split. delimiter: of CSV files (None: as it seems). encoding:
    of text files (None: UTF-8). held_out: of a given split, whose `paths` are of members, the data of held-out samples;
    None: members are drawn. flag: that names `paths`. parse_special_tokens: whether the name of a special token in a
    text is that token. chat: whether texts are turns of a chat. chat_template: a file with another template than the
    tokenizer's.
    """

    task: Task
    paths: tuple[str, ...] = ()
    limit: int | None = None
    delimiter: str | None = None
    encoding: str | None = None
    held_out: tuple[str, ...] | None = None
    flag: str = "--data"
    parse_special_tokens: bool = False
    chat: bool = False
    chat_template: str | None = None

    @property
    def name(self) -> str:
        """What messages call the data."""
        return " and ".join(self.paths) or "made-up data"

    @property
    def split(self) -> Literal["random", "given"]:
        """Whether which samples are held out is drawn, or what the files say."""
        return "random" if self.held_out is None else "given"


def sides(settings: DataSettings) -> list[DataSettings]:
    """What is read, one after the other: of a given split the data of members, and that of held-out samples if any.

    Where no data of held-out samples is named, they are the split `test` or `validation` of the training data.
    """
    if settings.held_out is None:
        return [settings]
    names = settings.held_out or tuple(name for name in settings.paths if has_held_out_split(name))
    return [settings, replace(settings, paths=names, flag="--held-out-data")] if names else [settings]


OF_DATA = ("label_names", "delimiter", "encoding")  # flags that have no effect without data, beside the columns'


def add_template_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names the template of chats."""
    parser.add_argument(
        "--chat-template", metavar="FILE", help="a Jinja template in place of the tokenizer's chat template"
    )


def add_special_tokens_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says what the names of special tokens in texts are."""
    parser.add_argument(
        "--parse-special-tokens",
        action="store_true",
        help="the name of a special token in a text is that token, as in texts that a chat template has rendered, and "
        "the tokenizer adds none of its own (default: it is text)",
    )


def add_data_arguments(parser: argparse.ArgumentParser, task: Task) -> None:
    """The flags for the data of a task: where it is, how it is written, and which columns hold the fields."""
    whole_or_training = parser.add_mutually_exclusive_group(required=task.made_up is None)
    whole_or_training.add_argument(
        "--data",
        nargs="+",
        metavar="PATH",
        help=f"{', '.join(READERS)} files, also {', '.join(COMPRESSED)}, directories of such files or of a saved "
        "Hugging Face dataset, or hub dataset names, read in this order"
        + "; or two text files, a sample a line, as a.de a.en" * task.parallel
        + "; a share of the samples is held out"
        + " (default: made-up data of the project's own)" * bool(task.made_up),
    )
    whole_or_training.add_argument(
        "--train-data",
        nargs="+",
        metavar="PATH",
        help="in place of --data, and as it: the data that the model is, or was, trained on",
    )
    parser.add_argument(
        "--held-out-data",
        nargs="+",
        metavar="PATH",
        help="with --train-data: data of the same kind that it is not trained on (default: the split test or "
        "validation of the training data; without one there is no control)",
    )
    parser.add_argument("--encoding", type=encoding, metavar="NAME", help="of text files, as gbk (default: utf-8)")
    if task.chat:
        parser.add_argument(
            "--chat",
            action="store_true",
            help="texts are turns of a chat: `prompt` and `completion`, or Alpaca's `instruction`, `input`, `output`",
        )
        add_template_argument(parser)
        return
    add_special_tokens_argument(parser)
    instruction = parser.add_mutually_exclusive_group()
    for field in task.fields:
        (instruction if field == "instruction" else parser).add_argument(
            f"--{field}-column",
            type=any_text,
            metavar="NAME",
            help=f"column with the {field}"
            + ' ("": there is none)' * (field in task.source_fields)
            + f" (default: {', '.join(_spellings(task, field))})",
        )
    default = "the column's" if "instruction" in task.fields else repr(task.instruction)
    instruction.add_argument(
        "--instruction",
        type=any_text,
        metavar="TEXT",
        help=f"what every sample begins with (default: {default})".replace("%", "%%"),
    )
    parser.add_argument(
        "--separator",
        type=any_text,
        metavar="TEXT",
        help=f"between source and {task.target_field} (default: {task.separator!r})",
    )
    parser.add_argument(
        "--delimiter", type=_delimiter, metavar="SIGN", help="between the columns of CSV files (default: as it seems)"
    )
    if task.classes is not None:
        parser.add_argument(
            "--label-names",
            type=_label_names,
            metavar="NAME,...",
            help="names of the classes 0, 1, ... of a file that has their numbers only, as negative,positive",
        )


def data_settings(parser: argparse.ArgumentParser, flags: argparse.Namespace, task: Task) -> DataSettings:
    """The settings that the flags of add_data_arguments give. Ends with one line if a flag has no effect."""
    columns = {field: column for field in task.fields if (column := getattr(flags, f"{field}_column")) is not None}
    given = [f"{field}_column" for field in columns]
    given += [name for name in OF_DATA if getattr(flags, name, None) is not None]
    paths, held_out = flags.data or flags.train_data, flags.held_out_data
    if held_out and not flags.train_data:
        parser.error("--held-out-data: goes with --train-data, which names the data of the members; name it too")
    if given and not paths:
        parser.error(f"--{given[0].replace('_', '-')}: says what is in --data, which is missing; name your data by it")
    of_columns = [name for name in given if name.endswith("_column") or name == "delimiter"]
    if paths and of_columns and _is_parallel(paths, task):
        parser.error(
            f"--{of_columns[0].replace('_', '-')}: is for data with columns, which text files have not; leave it out"
        )
    if columns.get(task.target_field) == "":
        parser.error(f"--{task.target_field}-column: must name a column of the data")
    left_out = {field for field, column in columns.items() if not column}
    changes: dict[str, Any] = {
        name: whole_text(text)
        for name in ("instruction", "separator")
        if (text := getattr(flags, name, None)) is not None
    }
    if "instruction" in changes:
        left_out.add("instruction")
    if getattr(flags, "label_names", None):
        changes["classes"] = tuple(flags.label_names)
    changes["source_fields"] = tuple(field for field in task.source_fields if field not in left_out)
    changes["columns"] = task.columns | {field: (column,) for field, column in columns.items()}
    given_split: dict[str, Any] = (
        {"held_out": tuple(held_out or ()), "flag": "--train-data"} if flags.train_data else {}
    )
    own = ("delimiter", "encoding", "parse_special_tokens", "chat", "chat_template")
    options: dict[str, Any] = {name: getattr(flags, name) for name in own if hasattr(flags, name)}
    limit = getattr(flags, "max_samples", None)
    return DataSettings(replace(task, **changes), tuple(paths or ()), limit, **options, **given_split)


def read_task_rows(settings: DataSettings) -> Iterator[dict[str, str]]:
    """The rows, dict field -> text, of the samples, one by one.

    A value is text, or a whole number, a finite float or a boolean, which count as Python spells them, or the number of
    a class, which counts as the class's name. Null is empty in a source field, and so is a column that a row of JSON
    lacks. Half a surrogate pair, which JSON can hold, has no UTF-8 form and becomes U+FFFD. Raises UserError for data
    that is missing, empty or malformed, for a column that is nowhere, for a row without target, and for any other
    value.
    """
    task, data, name = settings.task, settings.paths, settings.name
    if not data and task.made_up:
        yield from task.made_up()[: settings.limit]
        return
    columns = Columns({field: _spellings(task, field) for field in task.fields}, task.target_field, task.alternatives)
    if _is_parallel(data, task):
        rows: Iterator[tuple[Any, str, dict[str, Any]]] = (
            (name, *row) for row in read_parallel(data, task.fields, settings.encoding, settings.flag)
        )
        columns = Columns({field: (field,) for field in task.fields}, task.target_field)
        columns.begin(name)
    else:
        if twice := [path for path in data if data.count(path) > 1]:
            raise UserError(
                f"{settings.flag}: {twice[0]} is named twice; name it once, or each of its samples counts as two"
            )
        named = sources(data, settings.flag)
        rows = read_sources(named, columns, settings.delimiter, settings.encoding, settings.flag)
    count, halves = 0, 0
    for source, where, row in islice(rows, settings.limit):
        count += 1
        fields = columns.values(where, row)
        for field, value in fields.items():
            try:
                text = _text(value, empty=field != task.target_field)
                if task.classes and field == task.target_field:
                    text = _class(text, task.classes)
            except ValueError as error:
                raise UserError(f"{source}: {where}, column {columns.column(field)!r}: {error}") from None
            fields[field] = whole_text(text)
            halves += fields[field] is not text
        yield fields
    if not count:
        raise UserError(f"{name}: no rows in it; name a file with data")
    columns.end(name)
    for field, number in columns.lacking.items():
        print(f"{name}: {number:,} of {count:,} rows have no column for {field}; it is empty there")
    if halves:
        print(f"{name}: half a surrogate pair became U+FFFD in {halves} texts")


def _is_parallel(data, task):
    """Whether the names are of parallel text files: there are several, and not all are of other kinds of data."""
    several = task.parallel and len(data) > 1
    return several and not all(Path(name).is_dir() or file_kind(name) in READERS for name in data)


def _delimiter(text):
    sign = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(sign) != 1 or sign in '"\r\n':
        raise argparse.ArgumentTypeError(f"{text!r}: must be one sign, as ; or \\t")
    return sign


def _label_names(text):
    names = [name.strip() for name in text.split(",")]
    if "" in names or len({*names}) < len(names):
        raise argparse.ArgumentTypeError(f"{text}: must be different names, none of them empty, as negative,positive")
    return names


def _spellings(task, field):
    return task.columns.get(field, (field,))


def _text(value, empty):
    """A value of a text column as text. empty: whether null is an empty text. Raises ValueError with the reason."""
    if value is None and not empty:
        raise ValueError("is null, which is nothing to learn; leave the row out")
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"is {value}, which is no text; give a text, or null for none")
    if isinstance(value, int | float):
        return str(value)
    kind = {list: "a list", dict: "an object", bytes: "bytes"}.get(type(value), f"a {type(value).__name__}")
    raise ValueError(f"is {kind}, which is no text; write it as one, or name another column")


def _class(text, classes):
    """The name of the class with this number. Raises ValueError if there is none."""
    if text.isdecimal() and int(text) < len(classes):
        return classes[int(text)]
    value = repr(text) if len(text) <= LONGEST and " " not in text else f"a text of {len(text)} characters"
    raise ValueError(f"is {value}, no number of the {len(classes)} in --label-names; name all, or leave it out")


def whole_text(text: str) -> str:
    """The text with U+FFFD in place of half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
