"""Runs a stage script in this process as a shell would: the same arguments and exit status."""

import runpy
import signal
import sys
from pathlib import Path

from memorization.shell.cli import SIGNALS
from memorization.store.files import parse_jsonl

ROOT = Path(__file__).parents[2]
TWO_RANKS = "--standalone", "--nproc-per-node", "2"  # for torchrun


def run_script(script, *args):
    """Run `python script *args`; return its exit status."""
    argv, handlers = sys.argv, {number: signal.getsignal(number) for number in SIGNALS}
    sys.argv = [script, *map(str, args)]
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.argv = argv
        for number, handler in handlers.items():
            signal.signal(number, handler)
    raise AssertionError(f"{script} did not end in cli.run")


def one_line(capsys):
    """The one line that a script printed on standard error, progress bars aside; fail if there are more."""
    errors = capsys.readouterr().err
    lines = [line for line in errors.splitlines() if line.strip() and "%|" not in line]
    assert len(lines) == 1, errors
    return lines[0]


def read_jsonl(path):
    """The objects of a JSON-lines file."""
    with Path(path).open("rb") as file:
        return [row for _, row in parse_jsonl(file, path)]
