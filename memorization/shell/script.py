"""What a script imports before all else: from here on Ctrl-C ends it with one line, while slow libraries load too.

A closed standard stream becomes /dev/null: the next file that is opened would take its place, and what libraries print.
Names that are not UTF-8 can be printed.
"""

import os
import sys

from memorization.shell import signals

signals.begin()
for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
    if getattr(sys, name) is None:  # in this order each takes its own number, the lowest that is free
        setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123
sys.stdout.reconfigure(errors="backslashreplace")
