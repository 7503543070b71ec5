"""The objects of a JSON list one at a time: of a file of gigabytes only a piece is in memory."""

import json
import re

from memorization.cli import UserError
from memorization.files import JSON, NOT_JSON, flaw

CHUNK = 1 << 20  # characters that are read at a time, and the most that is in memory while no object is longer
BLANKS = re.compile(r"[ \t\n\r]*")


def read_json_list(path):
    """The objects in the list that a JSON file holds. Raises UserError naming the line where it is malformed."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _objects(_Text(path, file))
    except UnicodeDecodeError:
        raise not_utf8(path) from None


def not_utf8(path):
    """The UserError for a file that is not UTF-8, naming its first such line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return UserError(f"{path}: line {number} is not UTF-8; convert the file to UTF-8")
    raise AssertionError(f"{path} is UTF-8")


def _objects(text):
    no_list = UserError(
        f"{text.path}: not a list of objects; give [{{...}}, ...], or one object a line in a .jsonl file"
    )
    first = text.next()
    if not first:
        raise text.error("Expecting value", 0)
    if first != "[":
        raise no_list
    text.at += 1
    between = "]" if text.next() == "]" else ","
    while between == ",":
        text.next()
        if not isinstance(row := text.value(), dict):
            raise no_list
        yield row
        between = text.next()
        text.at += between == ","
    if between != "]":
        raise text.error("Expecting ',' delimiter", text.at)
    text.at += 1
    if text.next():
        raise text.error("Extra data", text.at)


class _Text:
    """A JSON text that is read a piece at a time. at: the place in the piece up to which it is done with."""

    def __init__(self, path, file):
        self.path, self._file = path, file
        self._piece, self.at, self._line = "", 0, 1

    def next(self):
        """The next character that is not blank, where `at` goes; "" at the end."""
        while True:
            self.at = BLANKS.match(self._piece, self.at).end()
            if self.at < len(self._piece) or not self._more():
                return self._piece[self.at : self.at + 1]

    def value(self):
        """The value that begins at `at`, which goes behind it."""
        while True:
            try:
                value, self.at = JSON.raw_decode(self._piece, self.at)
                return value
            except json.JSONDecodeError as error:
                # what seems wrong at the end of the piece, or a string without an end, may go on in the next
                unclear = error.pos > len(self._piece) - 16 or error.msg.startswith("Unterminated")
                if not (unclear and self._more()):
                    raise self.error(error.msg, error.pos) from None
            except NOT_JSON as error:
                raise self.error(flaw(error), self.at) from None

    def error(self, message, at):
        line = self._line + self._piece.count("\n", 0, at)
        return UserError(f"{self.path}: not valid JSON at line {line}: {message}; mend that line")

    def _more(self):
        more = self._file.read(max(CHUNK, len(self._piece) - self.at))
        self._line += self._piece.count("\n", 0, self.at)
        self._piece, self.at = self._piece[self.at :] + more, 0
        return bool(more)
