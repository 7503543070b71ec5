"""The commands of README and docs."""

import re
from pathlib import Path

from support.command_line import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def lines_of_code(text: str) -> list[str]:
    """The lines of a page's blocks of code, indented (not within a list) or fenced; those that "\\" joins as one."""
    lines, fence = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fence = not fence
        elif fence or line.startswith("    "):
            lines.append(line.strip())
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def commands(page: Path) -> list[str]:
    """The lines of a page's code that call python, torchrun, deepspeed, bash or make; each once, in order."""
    variables = r"(?:[A-Z_]+=(?:\"[^\"]*\"|\S*) )*"
    command = re.compile(rf"(?:- run: )?{variables}(?:\.venv/bin/)?(?:python|torchrun|deepspeed|bash|make) ")
    lines = lines_of_code(page.read_text(encoding="utf-8"))
    return [*dict.fromkeys(line for line in lines if command.match(line))]
