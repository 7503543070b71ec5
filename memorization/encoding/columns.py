"""The columns of a data set: which of them holds which field of a task, and what a row has there."""

from collections import Counter
from collections.abc import Collection
from itertools import islice
from typing import Any

from memorization.shell.cli import UserError

SHOWN, LONGEST = 12, 30  # names of columns in a message, and characters of each


class Columns:
    """Which column each field of a task is in, file by file.

    spellings: by field, the names that its column may have: the first that a file has is used; "a.b" is b within a.
    target: the field that no row may lack. alternatives: columns in which the first text of a list counts. lacking: by
    field, how many rows do not have its column; it is empty in them.
    """

    def __init__(self, spellings: dict[str, tuple[str, ...]], target: str, alternatives: Collection[str] = ()):
        self.spellings, self._target, self._alternatives = spellings, target, alternatives
        self.lacking: Counter[str] = Counter()
        self._name: object = None
        self._chosen: dict[str, str] = {}
        self._somewhere: set[str] = set()  # fields for which some file has a column
        self._seen: dict[str, Any] = {}  # the columns of rows that lack a field

    def begin(self, name: object) -> None:
        """Start with the file, or data set, of this name."""
        self._name, self._chosen = name, {}

    def choose(self, row: dict[str, Any]) -> set[str]:
        """Choose the columns of this file by a row. Returns the fields without one.

        Raises UserError where two fields have the same column.
        """
        for field, names in self.spellings.items():
            column = next((name for name in names if _has(row, name)), None)
            if field in self._chosen or column is None:
                continue
            if twin := next((other for other, its in self._chosen.items() if its == column), None):
                raise UserError(
                    f"{self._name}: {_short(column)} is the column of both {twin} and {field}; name another for one "
                    f"with --{twin}-column or --{field}-column"
                )
            self._chosen[field] = column
        self._somewhere |= self._chosen.keys()
        return self.spellings.keys() - self._chosen.keys()

    def are_in(self, row: dict[str, Any]) -> bool:
        """Whether a row has a column for every field."""
        return all(any(_has(row, name) for name in names) for names in self.spellings.values())

    def numbered(self, names: Collection[str] = ()) -> bool:
        """Whether columns are given by their numbers, which are none of the names."""
        given = (name for spellings in self.spellings.values() for name in spellings)
        return any(name.isdecimal() and name not in names for name in given)

    def declare(self, row: dict[str, Any], names: list[str]) -> dict[str, str]:
        """Choose the columns of a file with a header or schema. row: an example of its rows; names: of all its columns.

        Returns the column of each field. Raises UserError if one is missing or occurs twice.
        """
        if self.choose(row):
            raise self.missing(row)
        for column in self._chosen.values():
            if names.count(column if column in row else column.split(".")[0]) > 1:
                raise UserError(f"{self._name}: column {_short(column)} occurs twice in it; rename one of them")
        return self._chosen

    def column(self, field: str) -> str:
        """The column of a field in this file."""
        return self._chosen[field]

    def values(self, where: str, row: dict[str, Any]) -> dict[str, Any]:
        """What a row has in the column of each field, None for nothing. where: the row's line or number.

        Raises UserError for a row without the target, of another structure, or with a list of several texts.
        """
        if len(self._chosen) < len(self.spellings) and self.choose(row):
            self._seen = row | self._seen if len(self._seen) < SHOWN else self._seen
            if self._target not in self._chosen:
                raise self.missing(row)
        return {field: self._value(where, row, field) for field in self.spellings}

    def end(self, name: object) -> None:
        """Raise UserError if a field has no column in any row of any file. name: of all files, for the message."""
        self._name, self._chosen = name, dict.fromkeys(self._somewhere, "")
        if self._seen and len(self._chosen) < len(self.spellings):
            raise self.missing(self._seen)

    def missing(self, row: dict[str, Any] | None) -> UserError:
        """The error for fields without a column. row: has the file's columns; None: its first line may be no header."""
        fields = [field for field in self.spellings if field not in self._chosen]
        columns = ", ".join(" or ".join(map(repr, self.spellings[field])) for field in fields)
        flags = " ".join(f"--{field}-column" for field in fields)
        none = ' (--instruction-column "" if there is none)' if "instruction" in fields else ""
        if row is None:
            numbered = " ".join(f"--{field}-column {number}" for number, field in enumerate(fields, 1))
            return UserError(
                f"{self._name}: no column {columns}; its first line seems to be a row, no header: if so, name columns "
                f"by their numbers, as {numbered}; if not, name the right ones with {flags}{none}"
            )
        return UserError(
            f"{self._name}: no column {columns}; it has {_listed(row)}: name the right one with {flags}{none}"
        )

    def _value(self, where, row, field):
        column = self._chosen.get(field)
        if column in row:
            return row[column]
        if column is None or column.split(".")[0] not in row and field != self._target:
            if other := next((name for name in self.spellings[field] if _has(row, name)), None):
                raise UserError(
                    f"{self._name}: {where} has {field} in {other!r}, others in {column!r}; name one of them with "
                    f"--{field}-column"
                )
            self.lacking[field] += 1
            return None
        try:
            values = values_in(row, column)
        except KeyError:
            raise UserError(
                f"{self._name}: {where} has no {column!r}, which others have; add it, or leave the row out"
            ) from None
        if len(values) > 1 and column not in self._alternatives:
            raise UserError(
                f"{self._name}: {where}, column {column!r}: is a list of {len(values)} values; give a row for each of "
                "them, or name a column that holds one text"
            )
        return values[0] if values else None


def values_in(row: dict[str, Any], column: str) -> list[Any]:
    """The values of a row in a column: one, or all that the lists on the path to it hold.

    "a.b" is b within a, in each object where a is a list; within null it is null. Raises KeyError if there is none.
    """
    if column in row:
        return [row[column]]
    values: list[Any] = [row]
    for name in column.split("."):
        objects = [value for value in values if value is not None]
        if not all(isinstance(value, dict) for value in objects) or objects and not any(name in o for o in objects):
            raise KeyError(column)
        values = [None if value is None else value.get(name) for value in values]
        values = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return values


def _has(row, column):
    try:
        values_in(row, column)
    except KeyError:
        return False
    return True


def _short(name):
    """A column's name for a message, cut short: it may be a whole text."""
    return repr(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")


def _listed(row):
    """The columns of a row for a message: those within an object as "column.name"; lists are marked."""
    names = []
    for name, value in row.items():
        names.append(_short(name) + " (a list, no text)" * isinstance(value, list))
        names += [_short(f"{name}.{inner}") for inner in value] if isinstance(value, dict) else []
    more = len(names) - SHOWN
    return ", ".join(islice(names, SHOWN)) + (f" and {more} more" if more > 0 else "")
