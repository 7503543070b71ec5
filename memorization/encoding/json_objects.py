"""The objects of a JSON file one at a time, in a list or one after the other, as in JSON lines.

Only a piece of the file is in memory. Not read by ijson: its fast parser turns half a surrogate pair into "?" and keeps
the last of two equal names without a word, and its errors name no line.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from memorization.encoding.text_files import open_text
from memorization.shell.cli import UserError
from memorization.store.files import JSON, NOT_JSON, flaw

CHUNK = 1 << 20  # characters that are read at a time; more are in memory only while an object is longer
BLANKS = re.compile("[ \t\n\r\ufeff]*")  # files that were joined have byte order marks between their lines


def read_objects(path: str | Path, encoding: str | None = None) -> Iterator[tuple[str, dict]]:
    """(place, object) of each object in a JSON file: the place is "row 2" in a list, else "line 2".

    Raises UserError naming the line where the file is malformed.
    """
    with open_text(path, encoding) as file:
        text = _Text(path, file)
        first = text.next()
        if not first:
            raise text.error("Expecting value", text.at)
        if first not in "[{":
            raise _no_objects(path)
        yield from _listed(text) if first == "[" else _in_turn(text)


def _no_objects(path):
    return UserError(f"{path}: not a list of objects; give [{{...}}, ...], or one object a line")


def _listed(text):
    text.at += 1
    number, between = 0, "]" if text.next() == "]" else ","
    while between == ",":
        text.next()
        if not isinstance(row := text.value(), dict):
            raise _no_objects(text.path)
        number += 1
        yield f"row {number}", row
        between = text.next()
        text.at += between == ","
    if between != "]":
        raise text.error("Expecting ',' delimiter", text.at)
    text.at += 1
    if text.next():
        raise text.error("Extra data", text.at)


def _in_turn(text):
    while text.next():
        where = f"line {text.line(text.at)}"
        if not isinstance(row := text.value(), dict):
            raise UserError(f"{text.path}: {where} is not a JSON object; each line must be one, as {{...}}")
        yield where, row


class _Text:
    """A JSON text that is read a piece at a time. at: the place in the piece up to which it has been parsed."""

    def __init__(self, path, file):
        self.path, self._file = path, file
        self._piece, self.at = "", 0
        self._line, self._counted = 1, 0  # the line of the place in the piece up to which lines are counted

    def next(self):
        """The next character that is not blank, to which `at` moves; "" at the end."""
        while True:
            self.at = BLANKS.match(self._piece, self.at).end()
            if self.at < len(self._piece) or not self._more():
                return self._piece[self.at : self.at + 1]

    def value(self):
        """The value that begins at `at`, which moves behind it."""
        while True:
            try:
                value, self.at = JSON.raw_decode(self._piece, self.at)
                return value
            except json.JSONDecodeError as error:
                # an error at the end of the piece, or in a string without an end, may be due to where the piece ends
                unclear = error.pos > len(self._piece) - 16 or error.msg.startswith("Unterminated")
                if not (unclear and self._more()):
                    raise self.error(error.msg, error.pos) from None
            except NOT_JSON as error:
                raise self.error(flaw(error), self.at) from None

    def line(self, at):
        """The line of a place in the piece. Places must be asked for in order."""
        self._line += self._piece.count("\n", self._counted, at)
        self._counted = at
        return self._line

    def error(self, message, at):
        return UserError(f"{self.path}: not valid JSON at line {self.line(at)}: {message}; mend that line")

    def _more(self):
        if more := self._file.read(max(CHUNK, len(self._piece) - self.at)):
            self.line(self.at)
            self._piece, self.at, self._counted = self._piece[self.at :] + more, 0, 0
        return bool(more)
