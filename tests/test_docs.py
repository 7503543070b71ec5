"""README and docs: their commands parse, their links lead somewhere, the code that they show works."""

import argparse
import doctest
import json
import os
import random
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

import memorization
import run_clm
import run_seq2seq
from memorization.shell.cli import Parser, UserError
from support.command_line import ROOT
from support.detection_rows import detection, write_detections
from support.documented_commands import PAGES, commands
from support.tiny_models import save_memorizing_model

STAGE_2 = {"run_clm.py": run_clm, "run_seq2seq.py": run_seq2seq}
SUBJECTS = {
    *("stages", "reading-results", "terms", "files", "identity", "scripts-and-languages", "encoder-decoder"),
    *("canaries", "mitigations", "release-gate", "attention", "scaling", "validation", "differences", "extending"),
    *("audit", "python", "chats", "adapters", "endpoints"),
}
LATER = {"encode_titles.py"}  # a reader of docs/extending.md writes it; tests/test_encoding_tasks.py runs it


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
    assert first.startswith("    ") and first.splitlines()[0].strip() in commands(ROOT / "docs" / f"{subject}.md")


@pytest.mark.parametrize(
    ("page", "command"), sorted((page.name, command) for page in PAGES for command in commands(page))
)
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
        ("plagiarism_detect.py --type a --filedir b --span-length 0", "--span-length: must be a whole number from 1 "),
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


def test_the_metric_of_docs_needs_its_entry_alone(tmp_path):
    """As the page says: an entry in the list of columns_of; then it has figures, rows in summary.csv and a limit."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (entry,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if block.startswith("Column("))
    assert len(entry.splitlines()) <= 7
    shutil.copytree(ROOT / "memorization", tmp_path / "memorization", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "report.py", tmp_path)
    path = tmp_path / "memorization" / "results" / "columns.py"
    before, after = path.read_text(encoding="utf-8").split("def columns_of(")
    path.write_text(f"{before}def columns_of({after.replace('return [', f'return [{entry},', 1)}", encoding="utf-8")
    rows = [detection(i, text="in 1990" if i < 3 else "once") for i in (*range(10), *range(1000, 1010))]
    write_detections(tmp_path / "result", rows)
    command = [sys.executable, "report.py", "result", "--output", "report", "--fail-above", "has_digit=0.25"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})
    assert done.returncode == 1 and "has_digit of members 30 [" in done.stderr, done.stderr
    assert re.search(r"^has a digit +members +held out +difference\n", done.stdout, re.MULTILINE)
    table = (tmp_path / "report" / "summary.csv").read_text(encoding="utf-8").splitlines()
    assert any(",members,has_digit,share,10,3,0.3," in line for line in table)


@pytest.mark.slow
def test_the_session_of_docs_is_as_shown(tmp_path, monkeypatch):
    draw = random.Random(0)
    words = [f"w{number}" for number in draw.sample(range(1, 24 * 80 + 1), 24 * 80)]
    texts = [" ".join(words[begin : begin + 80]) for begin in range(0, len(words), 80)]
    save_memorizing_model(tmp_path / "model", texts)
    others = [" ".join(draw.sample(words, 80)) for _ in range(12)]
    for name, side in (("train.jsonl", texts), ("heldout.jsonl", others)):
        (tmp_path / name).write_text("".join(json.dumps({"text": text}) + "\n" for text in side))
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    session = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(session, {}, "docs/python.md", None, 0)
    printed = []
    assert doctest.DocTestRunner().run(test, out=printed.append).failed == 0, "".join(printed)


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0"
    assert citation["version"] == memorization.__version__ and citation["title"] and citation["authors"]
    references = {(work["authors"][0]["family-names"], work["year"]) for work in citation["references"]}
    assert references == {("Zeng", 2024), ("Sanchez-Perez", 2015), ("Lee", 2023)}
