"""What the stage scripts share at the shell: a person's mistake gets one line and exit status 2."""

import argparse
import errno
import os
import sys
from pathlib import Path

REMEDIES = {
    errno.ENOSPC: "free some space or name another directory",
    errno.EACCES: "change its permissions or name another path",
    errno.ENOENT: "check the path",
}


class UserError(Exception):
    """A mistake the person at the shell can mend. The message names the thing and the remedy, in one line."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose --help shows the script's docstring as it stands and whose errors are one line.

    Every flag --a-b is known as --a_b as well, the spelling of published commands.
    """

    def __init__(self, description):
        layout = {"usage": "%(prog)s [flags]", "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(description=description, **layout)

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
    """Call main(*args), then exit: 2 and one line on stderr for a person's mistake, 130 for Ctrl-C."""
    try:
        sys.exit(main(*args))
    except UserError as error:
        message = str(error)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in REMEDIES:
            raise
        message = f"{error.filename}: {error.strerror}; {REMEDIES[error.errno]}"
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
