"""Running a stage script as the shell would, in this process: its real arguments, its exit status."""

import runpy
import signal
import sys
from pathlib import Path

from memorization.shell.cli import SIGNALS

ROOT = Path(__file__).parents[2]
TWO_RANKS = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run_script(script, *args):
    """The exit status of `python script *args`."""
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
    raise AssertionError(f"{script} did not end through cli.run")


def one_line(capsys):
    """What the script said on standard error, progress bars aside, which must be one line without a traceback."""
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.strip() and "%|" not in line]
    assert len(lines) == 1, said
    return lines[0]
