"""What the stage scripts share at the shell: a person's mistake gets one line and exit status 2."""

import argparse
import os
import sys


class UserError(Exception):
    """A mistake the person at the shell can mend. The message names the thing and the remedy, in one line."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose --help shows the script's docstring as it stands and whose errors are one line."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message):
        self.exit(2, f"{self.prog}: {message} (--help shows a command that works)\n")


def run(main, *args):
    """Call main(*args) and leave with its exit status: 2 and one line on stderr for a person's mistake, 130 for Ctrl-C."""
    try:
        sys.exit(main(*args))
    except UserError as error:
        message = str(error)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        # an error with an errno comes from the system (disk full, no permission): its text is plain; others are ours to mend
        if error.errno is None:
            raise
        remedy = {28: "free some space or name another directory", 13: "change its permissions or name another path"}
        name = f"{error.filename}: " if error.filename else ""
        message = f"{name}{error.strerror}" + (f"; {remedy[error.errno]}" if error.errno in remedy else "")
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    print(f"{os.path.basename(sys.argv[0])}: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
