"""README and docs: their commands parse, their links lead somewhere, the code that they show works."""

import argparse
import re
import runpy
import shlex
import sys
from types import SimpleNamespace

import pytest
import yaml

import memorization
import run_clm
import run_seq2seq
from memorization.results.columns import Column
from memorization.shell.cli import Parser, UserError
from support.command_line import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
STAGE_2 = {"run_clm.py": run_clm, "run_seq2seq.py": run_seq2seq}
SUBJECTS = {
    *("stages", "reading-results", "terms", "files", "identity", "scripts-and-languages", "encoder-decoder"),
    *("canaries", "mitigations", "release-gate", "attention", "scaling", "validation", "differences", "extending"),
}
LATER = {"encode_titles.py"}  # a reader of docs/extending.md writes it; tests/test_encoding_tasks.py runs it


def lines_of_code(text: str) -> list[str]:
    """The lines of a page's blocks of code, indented (not within a list) or fenced; those that "\\" joins as one."""
    lines, fence = [], False
    for line in text.splitlines():
        if line.startswith("```"):
            fence = not fence
        elif fence or line.startswith("    "):
            lines.append(line.strip())
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def commands() -> list[tuple[str, str]]:
    """(page, command) of each line of code that calls a program: python, torchrun, deepspeed, bash or make."""
    variables = r"(?:[A-Z_]+=(?:\"[^\"]*\"|\S*) )*"
    command = re.compile(rf"(?:- run: )?{variables}(?:\.venv/bin/)?(?:python|torchrun|deepspeed|bash|make) ")
    pages = ((page, line) for page in PAGES for line in lines_of_code(page.read_text(encoding="utf-8")))
    return sorted({(page.name, line) for page, line in pages if command.match(line)})


def headings(page) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


class Caught(BaseException):
    """Carries a script's parsed flags out of it."""


def parse(script: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the arguments with the script's own parser and go no further. Raises if they do not parse."""
    if script in STAGE_2:
        STAGE_2[script].parse(arguments)
        return

    kind = Parser if (ROOT / script).parent == ROOT else argparse.ArgumentParser
    parse_args = kind.parse_args

    def caught(parser):
        raise Caught(parse_args(parser, arguments))

    with monkeypatch.context() as patch, pytest.raises(Caught):
        patch.setattr(sys, "argv", [script, *arguments])
        patch.setattr(sys, "path", [str((ROOT / script).parent), *sys.path])
        patch.setattr(kind, "parse_args", caught)
        runpy.run_path(str(ROOT / script), run_name="__main__")


def test_the_readme_is_short_and_links_every_page():
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert pages >= SUBJECTS and len(readme.splitlines()) <= 200
    assert all(f"](docs/{page}.md" in readme for page in pages)


@pytest.mark.parametrize("subject", sorted(SUBJECTS))
def test_a_page_begins_with_a_command(subject):
    page = (ROOT / "docs" / f"{subject}.md").read_text(encoding="utf-8")
    first = page.split("\n\n")[1]
    assert first.startswith("    ") and first.splitlines()[0].strip() in {command for _, command in commands()}


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_parses(page, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = [word for word in shlex.split(command.removeprefix("- run: ")) if not re.match(r"[A-Z_]+=", word)]
    program = words[0].removeprefix(".venv/bin/")
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    elif program == "bash":
        assert (ROOT / words[1]).is_file()
    elif "-m" in words[:2]:
        assert words[2] == "pytest" and all((ROOT / word).is_file() for word in words[3:])
    else:
        number = next(i for i, word in enumerate(words) if word.endswith(".py"))
        if (script := words[number]) not in LATER:
            parse(script, words[number + 1 :], monkeypatch)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("report.py results/a/b --no-such-flag", "--no-such-flag"),
        ("plagiarism_detect.py --type a --filedir b --span-length 0", "--span-length 0: must be "),
        ("benchmarks/known_answers.py --no-such-flag", "--no-such-flag"),
    ],
)
def test_a_wrong_command_does_not_parse(command, message, monkeypatch, capsys):
    script, *arguments = command.split()
    with pytest.raises(SystemExit):
        parse(script, arguments, monkeypatch)
    assert message in capsys.readouterr().err


def test_a_wrong_command_of_stage_2_does_not_parse(monkeypatch):
    with pytest.raises(UserError, match="no_such_flag|no-such-flag"):
        parse("run_clm.py", "--train_file a --output_dir b --config_name c --no-such-flag".split(), monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    text = re.sub(r"^(```.*?^```|    .*?$)", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:memorization|tests|benchmarks|configs|runs|docs)/[\w./-]+)`", text):
        assert (ROOT / name).exists(), name


def test_references_to_pages_in_the_code_exist():
    files = [*ROOT.glob("*.py"), *(ROOT / "memorization").rglob("*.py"), *(ROOT / "memorization").rglob("*.json")]
    names = {name for file in files for name in re.findall(r"docs/[\w-]+\.md", file.read_text(encoding="utf-8"))}
    assert names and all((ROOT / name).is_file() for name in names)


def test_the_metric_of_docs_is_a_column():
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if block.startswith("Column("))
    column = eval(block, {"Column": Column})  # the page is ours
    assert [column.value(SimpleNamespace(generation=SimpleNamespace(text=text))) for text in ("in 1990", "once")] == [
        True,
        False,
    ]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0"
    assert citation["version"] == memorization.__version__ and citation["title"] and citation["authors"]
    references = {(work["authors"][0]["family-names"], work["year"]) for work in citation["references"]}
    assert references == {("Zeng", 2024), ("Sanchez-Perez", 2015), ("Lee", 2023)}
