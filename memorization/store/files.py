"""Files between the stages: written whole or not at all, by one process at a time, read with errors that help."""

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from math import isinf
from pathlib import Path
from typing import Any

import msgspec

from memorization.shell.cli import UserError


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Let a system error that names no file, as a full disk's does, name `path`, also where a library wraps it."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    except Exception as error:
        if match := re.search(r"\(os error (\d+)\)", str(error)):  # as libraries written in Rust say it
            number = int(match[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise


@contextmanager
def replacing(path: str | Path, directory: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, remove it when it does not.

    The block makes a file, or with `directory` a directory. The caller holds the lock of `path` and knows that what is
    there may go. A device or a pipe is yielded as it is. Raises UserError where a directory would take the place of a
    file or the other way round.
    """
    path = Path(path)
    if _is_device(path):
        with naming(path):
            yield path
        return
    if path.exists() and path.is_dir() != directory:
        raise UserError(f"{path}: is {'no' if directory else 'a'} directory; name another, or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    temporary, old = beside(path)
    try:
        with naming(path):
            yield temporary
        if path.is_dir():
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        _remove(temporary)


def recover(path: Path) -> None:
    """Clear what a killed writer of `path` left: a half-written new one goes, one that was moved away comes back."""
    temporary, old = beside(path)
    _remove(temporary)
    if old.exists() and not path.exists():
        old.rename(path)
    _remove(old)


def beside(path: Path) -> tuple[Path, Path]:
    """The names under which a new `path` is written, and the old one waits until it is there."""
    return path.with_name(f".{path.name}.memorization-new"), path.with_name(f".{path.name}.memorization-old")


def lock_path(path: Path) -> Path:
    """The file that is the lock of `path`; one that a killed process left is taken over by the next."""
    return path.with_name(f".{path.name}.memorization-lock")


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_apart(outputs: Iterable[str | Path], inputs: Iterable[str | Path]) -> None:
    """Raise UserError if writing an output would replace an input: if it is the same, or holds it."""
    for output in outputs:
        place = Path(output).resolve()
        for path in inputs:
            if place in (Path(path).resolve(), *Path(path).resolve().parents):
                raise UserError(f"{output}: would be written over {path}, which is read; name another output")


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Hold the lock of a result during the block: one process writes it at a time.

    The lock is a file beside `path` that the kernel releases when the process dies. Directories made for it are removed
    if they stay empty. Raises UserError if another process has it. A device or a pipe has no lock.
    """
    path = Path(path)
    if _is_device(path):
        yield
        return
    new_directories = [directory for directory in path.parents if not directory.exists()]
    try:
        with _locked(path):
            yield
    finally:
        with suppress(OSError):  # not empty
            for directory in new_directories:
                directory.rmdir()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    name = lock_path(path)
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = name.open("a")
        except FileNotFoundError:  # another process has removed the empty directory
            continue
        with file as lock:
            try:
                with naming(name):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{path}: another process is writing it; wait until that ends") from None
            except OSError:  # a file system without locks
                name.unlink()
                raise
            if not os.fstat(lock.fileno()).st_nlink:
                continue  # its last holder has just removed it
            try:
                yield
            finally:
                name.unlink(missing_ok=True)
            return


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8, line ends as given) to `path`, whole or not at all; a lone surrogate as \\ud800."""
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def _finite(text: str) -> float:
    if isinf(number := float(text)):
        raise ValueError(f"{text} is no finite number")
    return number


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names: set[str] = set()
    for name, _ in pairs:
        if name in names:
            raise ValueError(f"{name!r} stands twice in an object")
        names.add(name)
    return dict(pairs)


# what msgspec.convert raises; the latter for a lone surrogate
NOT_OF_SHAPE = (msgspec.ValidationError, UnicodeEncodeError)

# all JSON of people is parsed by this: numbers are finite, and no name stands twice in an object
JSON = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number, object_pairs_hook=_once)
NOT_JSON = (ValueError, RecursionError)  # what it raises


def flaw(error: Exception) -> str:
    """What one of NOT_JSON says, in a few words."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if str(error).startswith("Exceeds the limit"):
        return "a number of too many digits"
    return getattr(error, "msg", str(error))


def read_json(path: str | Path, shape: Any = Any, foreign: bool = False) -> Any:
    """The value in a JSON file, as msgspec converts it to the type `shape`.

    foreign: written by a library that writes NaN and Infinity. Raises UserError for a missing or malformed file,
    naming the line, and for one of another shape.
    """
    text = read_text(path)
    try:
        value = json.loads(text) if foreign else JSON.decode(text)
    except NOT_JSON as error:
        line = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{path}: not valid JSON{line}: {flaw(error)}; mend that") from None
    try:
        return msgspec.convert(value, shape)
    except NOT_OF_SHAPE as error:
        raise UserError(f"{path}: {error}; mend that, or write the file anew") from None


def parse_jsonl(lines: Iterable[bytes], name: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line of JSON that is not blank, one at a time.

    Raises UserError naming `name` and the number of a malformed line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = JSON.decode(line.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise UserError(f"{name}: line {number} is not UTF-8; convert the file to UTF-8") from None
        except NOT_JSON as error:
            raise UserError(f"{name}: line {number} is not valid JSON: {flaw(error)}; mend or remove it") from None
        if not isinstance(row, dict):
            raise UserError(f"{name}: line {number} is not a JSON object; each line must be one, as {{...}}")
        yield number, row


def read_text(path: str | Path) -> str:
    """A UTF-8 text file, line ends as they are. Raises UserError if it is missing or not UTF-8."""
    path = Path(path)
    _check_file(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start} is not UTF-8; convert the file to UTF-8") from None


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path}: is a directory; name a file")
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path, or run the stage that writes it first")


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a directory and below it."""
    path = Path(path)
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(f"{file.relative_to(path)} {fingerprint(file)}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprints(paths: Iterable[str | Path]) -> dict[str, str | None]:
    """dict path -> fingerprint; None for one that does not exist, which is a name on a hub."""
    return {str(path): fingerprint(path) if Path(path).exists() else None for path in paths}
