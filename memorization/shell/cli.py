"""What the stage scripts share at the shell: a person's mistake gets one line and exit status 2."""

import argparse
import base64
import errno
import os
import re
import signal
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from memorization.shell import flags, signals

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REMEDIES = {  # the system's errors; any other that names its number gets the last
    FULL: "free some space or name another directory",
    (errno.EACCES, errno.EPERM, errno.EROFS): "change its permissions or name another path",
    (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG): "check the path",
    (errno.EEXIST, errno.ENOTEMPTY): "move it away or name another path",
    (errno.EMFILE, errno.ENFILE): "allow more open files (ulimit -n) or use fewer processes",
    (errno.EIO,): "check the disk",
    (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS): "its file system can't do that; name another directory",
}
LOOP = re.compile("Symlink loop from ['\"](.*)['\"]", re.DOTALL)  # what Path.resolve says before Python 3.13
SECRETS = ("ELASTIC_API_KEY", "ELASTIC_PASSWORD", "HF_TOKEN")  # environment variables that nothing may show


class UserError(Exception):
    """A mistake the person at the shell can mend. The message names the thing and the remedy, in one line."""


def is_out_of_memory(error):
    """Whether an error says that memory, of the machine or of a GPU, did not suffice, in one of the ways it is said."""
    signs = ("not enough memory", "can't allocate memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    named = named or isinstance(error, OSError) and error.errno == errno.ENOMEM
    return named or isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


class Parser(argparse.ArgumentParser):
    """An argument parser whose --help shows the script's docstring as it stands and whose errors are one line.

    Every flag --a-b is known as --a_b as well, the spelling of published commands. A flag
    without a type is a text that is not empty.
    """

    def __init__(self, description):
        layout = {"usage": "%(prog)s [flags]", "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(description=description, **layout)
        self.register("type", None, flags.text)
        self.register("type", Path, flags.path)

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else args
        return super().parse_known_args([self._documented(arg) for arg in args], namespace)

    def _documented(self, arg):
        flag, *value = arg.split("=", 1)
        if not flag.startswith("--") or flag in self._option_string_actions:
            return arg
        return "=".join([flag.replace("_", "-"), *value])

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help shows a command that works)\n")


def run(main, *args):
    """Call main(*args), then exit: 2 and one line on stderr for a person's mistake, 128 + its number for a signal.

    What is neither is a mistake of ours: 1, and one line that names the file with its traceback.
    """
    try:
        with signals.raised():
            status = main(*args)
            _flush()
        sys.exit(status)
    except UserError as error:
        message, status = str(error), 2
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        _forget_output()
        sys.exit(1)
    except KeyboardInterrupt as error:
        sys.exit(signals.say(getattr(error, "number", signal.SIGINT)))
    except Exception as error:
        if is_out_of_memory(error):
            message = "out of memory; lower the batch size, start fewer processes, or take a machine or GPU with more"
            status = 2
        elif isinstance(error, OSError) and error.errno is not None:
            remedy = next((told for numbers, told in REMEDIES.items() if error.errno in numbers), "name another path")
            message, status = f"{_shown(error.filename)}: {os.strerror(error.errno)}; {remedy}", 2
        elif isinstance(error, RuntimeError) and (loop := LOOP.fullmatch(str(error))):
            message, status = f"{loop[1]}: {os.strerror(errno.ELOOP)}; check the path", 2
        elif isinstance(error, UnicodeEncodeError) and (strange := [arg for arg in sys.argv[1:] if not _is_utf8(arg)]):
            message, status = f"{_shown(strange[0])}: not UTF-8, as the libraries need names to be; rename it", 2
        else:
            message, status = _report(), 1
    with suppress(OSError):  # nobody to tell it to
        print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def _flush():
    """Write out what was printed while an error can still be told."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _forget_output()
        error.filename = "standard output"
        raise


def _forget_output():
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _shown(name):
    """A file's name, be it UTF-8 or not. Without a name: the working directory if that is gone."""
    if name is not None:
        return os.fsdecode(name).encode("utf-8", "replace").decode()
    try:
        Path.cwd()
    except OSError:
        return "the working directory"
    return "standard output, or a file without a name"


def _is_utf8(name):
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _report():
    text = traceback.format_exc()
    for secret in filter(None, map(os.environ.get, SECRETS)):
        for spelling in sorted(_spellings(secret), key=len, reverse=True):
            text = text.replace(spelling, "***")
    with tempfile.NamedTemporaryFile(
        "w", prefix="memorization-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
    ) as file:
        file.write(text)
    return f"a mistake of ours, not of yours; please report it with what is in {file.name}"


def _spellings(secret):
    """How a secret is written in a message of a library: as it is, escaped, or in an HTTP header."""
    data = os.fsencode(secret)
    basic = base64.b64encode(os.fsencode(os.environ.get("ELASTIC_USER", "")) + b":" + data).decode()
    return {secret, repr(secret)[1:-1], ascii(secret)[1:-1], repr(data)[2:-1], quote(data), basic}
