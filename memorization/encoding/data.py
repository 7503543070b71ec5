"""The data of a task: where it is, and the fields of each sample in it."""

from dataclasses import replace
from itertools import islice
from math import isfinite

from memorization.cli import UserError
from memorization.encoding.readers import chosen_columns, column_names, read_data, read_parallel, value_in


def add_data_arguments(parser, task):
    """The flags that say where the data of a task is, what its columns are called and what stands around them."""
    parser.add_argument(
        "--data",
        nargs="+" if task.parallel else 1,
        required=task.made_up is None,
        metavar="PATH",
        help=".json, .jsonl, .csv or .parquet file, directory of a saved Hugging Face dataset, or hub dataset name"
        + "; or two text files, a sample a line, as a.de a.en" * task.parallel
        + " (default: made-up data of the project's own)" * bool(task.made_up),
    )
    instruction = parser.add_mutually_exclusive_group()
    for field in task.fields:
        (instruction if field == "instruction" else parser).add_argument(
            f"--{field}-column",
            metavar="NAME",
            help=f"column with the {field}"
            + ' ("": there is none)' * (field in task.source_fields)
            + f" (default: {', '.join(_spellings(task, field))})",
        )
    default = "the column's" if "instruction" in task.fields else repr(task.instruction)
    instruction.add_argument(
        "--instruction", metavar="TEXT", help=f"what every sample begins with (default: {default})".replace("%", "%%")
    )
    parser.add_argument(
        "--separator", metavar="TEXT", help=f"between source and {task.target_field} (default: {task.separator!r})"
    )
    if task.classes is not None:
        parser.add_argument(
            "--label-names",
            metavar="NAME,...",
            help="names of the classes 0, 1, ... of a file that has their numbers only, as negative,positive",
        )


def configured(task, args):
    """The task as args, of add_data_arguments, change it. Raises UserError if the target is to have no column."""
    given = {field: column for field in task.fields if (column := getattr(args, f"{field}_column")) is not None}
    if given.get(task.target_field) == "":
        raise UserError(f"--{task.target_field}-column: must name a column of the data")
    left_out = {field for field, column in given.items() if not column}
    changes = {name: _whole(text) for name in ("instruction", "separator") if (text := getattr(args, name)) is not None}
    if "instruction" in changes:
        left_out.add("instruction")
    if getattr(args, "label_names", None):
        changes["classes"] = tuple(args.label_names.split(","))
    fields = tuple(field for field in task.source_fields if field not in left_out)
    columns = task.columns | {field: (column,) for field, column in given.items()}
    return replace(task, source_fields=fields, columns=columns, **changes)


def read_rows(data, task, limit=None):
    """The rows, dict field -> text, of the samples of a data set, or of two parallel text files, one at a time.

    data: list of one name or of two paths. A value is text, or a whole number, a finite float or a boolean, which count
    as Python spells them, or the number of a class, which counts as the class's name. Null is empty in a source field.
    Half a surrogate pair, which JSON can hold, has no UTF-8 form and becomes U+FFFD. Raises UserError for data that is
    missing, empty or malformed, for a row without a column, and for any other value.
    """
    columns, name = {field: _spellings(task, field) for field in task.fields}, " and ".join(data)
    if len(data) == 1:
        rows = read_data(name, columns)
    else:
        rows, columns = read_parallel(data, task.fields), {field: (field,) for field in task.fields}
    count, halves = 0, 0
    for count, (where, row) in enumerate(islice(rows, limit), 1):
        if count == 1:
            columns = chosen_columns(name, columns, column_names(row))
        fields = {}
        for field, column in columns.items():
            try:
                text = _text(value_in(row, column), empty=field != task.target_field)
                if task.classes and field == task.target_field:
                    text = _class(text, task.classes)
            except KeyError:
                raise UserError(
                    f"{name}: {where} has no {column!r}, which others have; add it, null if need be"
                ) from None
            except ValueError as error:
                raise UserError(f"{name}: {where}, column {column!r}: {error}") from None
            fields[field] = _whole(text)
            halves += fields[field] is not text
        yield fields
    if not count:
        raise UserError(f"{name}: no rows in it; name a file with data")
    if halves:
        print(f"{name}: half a surrogate pair became U+FFFD in {halves} texts")


def _spellings(task, field):
    return task.columns.get(field, (field,))


def _text(value, empty):
    """A value of a text column as text. Raises ValueError saying why it is none. empty: null is."""
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
    """The name of the class whose number the text is. Raises ValueError if it is none."""
    if text.isdecimal() and int(text) < len(classes):
        return classes[int(text)]
    raise ValueError(f"is {text[:40]!r}, no number of the {len(classes)} in --label-names; name all, or leave it out")


def _whole(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
