"""Text files, compressed or not, in any encoding. What is wrong with one is told in a line that names the remedy."""

import codecs
import io
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from memorization.shell.cli import UserError

UTF_8 = "utf-8-sig"  # a byte order mark at the beginning is no text
COMPRESSED = (".gz", ".zst", ".bz2")


def file_kind(path: str | Path) -> str:
    """The suffix that says what is in a file, in lower case: ".jsonl" of "a.jsonl" and of "a.JSONL.gz"."""
    path = Path(str(path).lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def encoding(name: str) -> str:
    """The encoding of a --encoding flag, as Python names it. Raises ArgumentTypeError if Python knows none so named."""
    try:
        io.TextIOWrapper(io.BytesIO(), name)
    except (LookupError, ValueError):
        raise ArgumentTypeError(f"{name!r}: is no encoding of text; name one, as utf-8, gbk or latin-1") from None
    name = codecs.lookup(name).name
    return UTF_8 if name == "utf-8" else name


@contextmanager
def open_text(path: str | Path, encoding: str | None = None, newline: str = "") -> Iterator[TextIO]:
    """A text file, open for reading in the time of the block. encoding: None is UTF-8. newline: as `open` takes it.

    Raises UserError if it is missing, damaged or in another encoding, the last two when the block comes to that place.
    """
    encoding = encoding or UTF_8
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file; check the path")
    try:
        with io.TextIOWrapper(_open_bytes(path), encoding, newline=newline) as file:
            yield file
    except UnicodeError:
        raise _of_another_encoding(path, encoding) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise UserError(f"{path}: not a readable {Path(path).suffix} file: {error}; compress it again") from None


def _open_bytes(path):
    path = Path(path)
    if path.suffix.lower() not in COMPRESSED:
        return path.open("rb")
    codec = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}[path.suffix.lower()]
    return pa.CompressedInputStream(pa.OSFile(str(path)), codec)


def _of_another_encoding(path, encoding):
    """The UserError for a text file that is not in an encoding, naming its first such line where lines are bytes."""
    where, name = "it", "UTF-8" if encoding == UTF_8 else encoding
    if not encoding.startswith(("utf-16", "utf-32")):
        # what a damaged file has no more is not looked at
        with io.TextIOWrapper(_open_bytes(path), "latin-1", newline="\n") as lines, suppress(OSError):
            for number, line in enumerate(lines, 1):
                try:
                    line.encode("latin-1").decode(encoding)
                except UnicodeError:
                    where = f"line {number}"
                    break
    return UserError(f"{path}: {where} is not {name}; name the file's encoding with --encoding, as gbk or latin-1")
