"""What the stage scripts share at the shell: flags, one line and status 2 for a person's mistake, signals."""

import argparse
import base64
import errno
import io
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import quote

from memorization.shell import flags

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REMEDIES = {  # for errors of the system; any other gets "name another path"
    FULL: "free some space or name another directory",
    (errno.EACCES, errno.EPERM, errno.EROFS): "change its permissions or name another path",
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG): "check the path",
    (errno.EEXIST, errno.ENOTEMPTY): "move it away or name another path",
    (errno.EMFILE, errno.ENFILE): "allow more open files (ulimit -n) or use fewer processes",
    (errno.EIO,): "check the disk",
    (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS): "its file system can't do that; name another directory",
}
LOOP = re.compile("Symlink loop from ['\"](.*)['\"]", re.DOTALL)  # what Path.resolve says before Python 3.13
SECRETS = (
    "ELASTIC_API_KEY",
    "ELASTIC_PASSWORD",
    "HF_TOKEN",
    "OPENAI_API_KEY",
)  # environment variables that nothing may show

for _name, _mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
    if getattr(sys, _name) is None:  # closed: else the next file that is opened would get its number, and its output
        setattr(sys, _name, open(os.devnull, _mode))  # noqa: SIM115, PTH123


class UserError(Exception):
    """A mistake that the person at the shell can fix. The message names the thing and the remedy, in one line."""


class Interrupted(KeyboardInterrupt):
    """A signal, `number`, has asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Parser(argparse.ArgumentParser):
    """An argument parser whose --help shows the script's docstring as it stands and whose errors are one line.

    Every flag --a-b is known as --a_b as well, the spelling of published commands. A flag without a type is a text that
    is not empty.
    """

    def __init__(self, description: str | None) -> None:
        layout = {"usage": "%(prog)s [flags]", "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(description=description, **layout)  # type: ignore[arg-type]  # a dict of two types
        self.register("type", None, flags.text)
        self.register("type", Path, flags.path)

    def parse_known_args(  # type: ignore[override]  # one signature for the three of typeshed
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        args = sys.argv[1:] if args is None else args
        return super().parse_known_args([self._documented(arg) for arg in args], namespace)

    def _documented(self, arg: str) -> str:
        flag, *value = arg.split("=", 1)
        if not flag.startswith("--") or flag in self._option_string_actions:
            return arg
        return "=".join([flag.replace("_", "-"), *value])

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help shows a command that works)\n")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the machine or of a GPU, did not suffice."""
    signs = ("not enough memory", "can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or isinstance(error, OSError)
        and error.errno == errno.ENOMEM
        or isinstance(error, RuntimeError)
        and any(sign in str(error) for sign in signs)
    )


def run(main: Callable[..., int | None], *args: Any) -> NoReturn:
    """Call main(*args), then exit: 2 and one line on stderr for a person's mistake, 128 + its number for a signal.

    Anything else is a bug of ours: status 1, and one line that names the file with its traceback.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that are not UTF-8 can be printed
    try:
        with _signals_raised():
            status = main(*args)
            try:
                sys.stdout.flush()
            except OSError as error:
                _discard_output()
                error.filename = "standard output"
                raise
        sys.exit(status)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        _discard_output()
        sys.exit(1)
    except KeyboardInterrupt as error:
        sys.exit(128 + getattr(error, "number", signal.SIGINT))
    except Exception as error:
        if os.environ.get("RANK", "0") != "0":
            time.sleep(20)  # what all ranks raise is printed once: the launcher ends the others after the first
        message, status = _message_and_status(error)
    with suppress(OSError):  # nobody reads it
        print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Raise Interrupted at a signal in the block, so that what is temporary is removed. A second signal ends at once.

    A rank of a launcher handles Ctrl-C alone: SIGTERM must end it also where Python can't answer. What is ignored, as
    by nohup, stays so. Forked workers leave Ctrl-C to this process.
    """
    owner, received = os.getpid(), []  # type: int, list[int]

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            if number != signal.SIGINT:
                os._exit(128 + number)
            return
        if received:
            os._exit(128 + number)
        received.append(number)
        if os.environ.get("RANK", "0") == "0":
            by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
            with suppress(OSError):
                line_end = "\n" if os.isatty(2) else ""  # of a progress bar
                os.write(2, f"{line_end}interrupted{by}; run the same command again to go on\n".encode())
        raise Interrupted(number)

    def end_if_lost(unraisable: Any) -> None:
        """End where Python would swallow the exception, as out of __del__."""
        if unraisable.exc_type is Interrupted:
            os._exit(128 + unraisable.exc_value.number)
        hook_before(unraisable)

    hook_before, sys.unraisablehook = sys.unraisablehook, end_if_lost
    handlers_before = {number: signal.getsignal(number) for number in SIGNALS[: 1 if "RANK" in os.environ else 3]}
    for number, handler in handlers_before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    except Exception:
        if received:  # the cause of whatever else was raised
            raise Interrupted(received[0]) from None
        raise
    finally:
        sys.unraisablehook = hook_before
        for number, handler in () if received else handlers_before.items():  # a second signal may still come
            signal.signal(number, handler)


def _message_and_status(error: Exception) -> tuple[str, int]:
    if isinstance(error, UserError):
        return str(error), 2
    if is_out_of_memory(error):
        return "out of memory; lower the batch size, start fewer processes, or take a machine or GPU with more", 2
    if type(error).__name__ == "DistNetworkError":  # of torch
        return f"the processes of this run can't connect ({error}); name a free port by the launcher's --master_port", 2
    if isinstance(error, OSError) and error.errno is not None:
        remedy = next((remedy for numbers, remedy in REMEDIES.items() if error.errno in numbers), "name another path")
        return f"{_shown(error.filename)}: {os.strerror(error.errno)}; {remedy}", 2
    if isinstance(error, RuntimeError) and (loop := LOOP.fullmatch(str(error))):
        return f"{loop[1]}: {os.strerror(errno.ELOOP)}; check the path", 2
    if isinstance(error, UnicodeEncodeError) and (names := [arg for arg in sys.argv[1:] if _shown(arg) != arg]):
        return f"{_shown(names[0])}: not UTF-8, as the libraries need names to be; rename it", 2
    with tempfile.NamedTemporaryFile(
        "w", prefix="memorization-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.write(_without_secrets(traceback.format_exc()))
    return f"a mistake of ours, not of yours; please report it with what is in {file.name}", 1


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(name: str | bytes | None) -> str:
    """A file's name, be it UTF-8 or not. Without a name: the working directory if that is gone."""
    if name is not None:
        return os.fsdecode(name).encode("utf-8", "replace").decode()
    try:
        Path.cwd()
    except OSError:
        return "the working directory"
    return "standard output, or a file without a name"


def _without_secrets(text: str) -> str:
    """A text without the secrets of SECRETS, however a library spells them: escaped, or in an HTTP header."""
    for secret in filter(None, map(os.environ.get, SECRETS)):
        data = os.fsencode(secret)
        basic = base64.b64encode(os.fsencode(os.environ.get("ELASTIC_USER", "")) + b":" + data).decode()
        spellings = {secret, repr(secret)[1:-1], ascii(secret)[1:-1], repr(data)[2:-1], quote(data), basic}
        for spelling in sorted(spellings, key=len, reverse=True):
            text = text.replace(spelling, "***")
    return text
