"""The data of a task: where it is, and the fields of each sample in it."""

from itertools import islice
from math import isfinite

from memorization.cli import UserError
from memorization.encoding.readers import check_columns, read_data


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
            + ' ("": there is none)' * (field in task.source_fields)
            + " (default: %(default)s)",
        )
    instruction.add_argument(
        "--instruction", metavar="TEXT", help="one instruction for all samples, in place of a column"
    )


def read_rows(args, task, limit=None):
    """The rows, dict field -> text, of the samples that args (of add_data_arguments, data not None) name.

    A value is text, or a whole number, a finite float or a boolean, which count as Python spells them, or the number of
    a class, which counts as the class's name. Null is empty in a source field. Half a surrogate pair, which JSON can
    hold, has no UTF-8 form and becomes U+FFFD. Raises UserError for data that is missing, empty or malformed, for a row
    without a column, and for any other value.
    """
    columns = {field: getattr(args, f"{field}_column") for field in task.fields}
    fields = {field: "" for field, column in columns.items() if not column}  # of a sample
    if task.target_field in fields:
        raise UserError(f"--{task.target_field}-column: must name a column of the data")
    if args.instruction is not None:
        fields["instruction"] = _whole(args.instruction)
    columns = {field: column for field, column in columns.items() if field not in fields}
    count, halves = 0, 0
    for count, (where, row) in enumerate(islice(read_data(args.data, columns), limit), 1):  # noqa: B007
        if missing := [column for column in columns.values() if column not in row]:
            if count == 1:
                check_columns(args.data, columns, list(row))
            raise UserError(f"{args.data}: {where} has no {missing[0]!r}, which others have; add it, null if need be")
        for field, column in columns.items():
            try:
                text = _text(row[column], empty=field != task.target_field)
            except ValueError as error:
                raise UserError(f"{args.data}: {where}, column {column!r}: {error}") from None
            fields[field] = _whole(text)
            halves += fields[field] is not text
        yield dict(fields)
    if not count:
        raise UserError(f"{args.data}: no rows in it; name a file with data")
    if halves:
        print(f"{args.data}: half a surrogate pair became U+FFFD in {halves} texts")


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


def _whole(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
