"""Text files, compressed or not, in any encoding. An error is one line that names the file and the remedy."""

import codecs
import io
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from memorization.shell.cli import UserError

UTF_8 = "utf-8-sig"  # skips a byte order mark at the beginning
COMPRESSED = (".gz", ".zst", ".bz2")


def file_kind(path: str | Path) -> str:
    """The suffix that says what is in a file, in lower case: ".jsonl" of "a.jsonl" and of "a.JSONL.gz"."""
    path = Path(str(path).lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def encoding(name: str) -> str:
    """The encoding of a --encoding flag by Python's name. Raises ArgumentTypeError if Python has none of that name."""
    try:
        io.TextIOWrapper(io.BytesIO(), name)
    except (LookupError, ValueError):
        raise ArgumentTypeError(f"{name!r}: is no encoding of text; name one, as utf-8, gbk or latin-1") from None
    name = codecs.lookup(name).name
    return UTF_8 if name == "utf-8" else name


@contextmanager
def open_text(path: str | Path, encoding: str | None = None, newline: str = "") -> Iterator[TextIO]:
    """A text file, open for reading. encoding: None is UTF-8. newline: as `open` takes it.

    Raises UserError if it is missing, or where reading reaches a place that is damaged or in another encoding.
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
    """The UserError for a text file that is not in an encoding; it names the first such line if lines can be found."""
    where, name = "it", "UTF-8" if encoding == UTF_8 else encoding
    if not encoding.startswith(("utf-16", "utf-32")):
        # a damaged file ends early
        with io.TextIOWrapper(_open_bytes(path), "latin-1", newline="\n") as lines, suppress(OSError):
            for number, line in enumerate(lines, 1):
                try:
                    line.encode("latin-1").decode(encoding)
                except UnicodeError:
                    where = f"line {number}"
                    break
    return UserError(f"{path}: {where} is not {name}; name the file's encoding with --encoding, as gbk or latin-1")
