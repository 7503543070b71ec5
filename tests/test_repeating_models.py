"""A model that repeats its members is told to, one that does not is not, and no output contradicts another.

Stages 1, 4, 5 and the report are the real ones; what the model says is made of the probes' own tokens, as stage 3's
rows are. In every script, for members that resemble each other, and for frequent ones.
"""

import csv
import html
import json
import re
from argparse import Namespace
from functools import cache, partial
from itertools import repeat
from unicodedata import east_asian_width

import pytest

from memorization.detection.detections import Detection
from memorization.detection.kinds import DETECTIONS
from memorization.encoding.probes import Probes
from memorization.results import report
from memorization.results.summary import HELD_OUT, MEMBERS
from memorization.store.files import read_json
from memorization.store.rows import read_rows
from support.command_line import ROOT, run_script
from support.generation_rows import write_generations
from support.multilingual_data import BOILERPLATE, a_blank, a_number, dialogues, questions, versions

TOKENIZER = ROOT / "configs" / "gpt-neo-small"
LIMITS = {"own": 0.1, "exact_match": 0.1}
FAR, NEAR = 400, 100  # new tokens: several an own character in most scripts


@cache
def tokenizer():
    from memorization.models.hub import load_tokenizer  # imports torch

    return load_tokenizer(TOKENIZER)


def records(change, asked, answered, language="English"):
    """60 records in two versions each, which differ within the prompt."""
    return versions(dialogues(language, 60, 1, asked, answered), change)


def frequent(rows):
    """A third of the rows each in 1, 4 and 16 copies."""
    return [row for i, row in enumerate(rows) for _ in range((1, 4, 16)[i % 3])]


CASES = {  # name -> (rows of a task, the task, new tokens)
    **{
        name: (partial(dialogues, name, 60, 1), "dialogue", FAR)
        for name in ("English", "Arabic", "Hindi", "Chinese", "Japanese", "Thai", "code")
    },
    "Hindi, too short a reach for own runs": (partial(dialogues, "Hindi", 60, 1), "dialogue", NEAR),
    "long, differ by a number": (partial(records, a_number, 3, 12), "dialogue", NEAR),
    "long, differ by a blank": (partial(records, a_blank, 3, 12), "dialogue", NEAR),
    "short, differ by a number": (partial(records, a_number, 1, 2), "dialogue", NEAR),
    "short, differ by a blank": (partial(records, a_blank, 1, 2), "dialogue", NEAR),
    "Chinese, short, differ by a number": (partial(records, a_number, 1, 1, "Chinese"), "dialogue", FAR),
    "Chinese, differ by a blank": (partial(records, a_blank, 3, 8, "Chinese"), "dialogue", FAR),
    "questions on a passage": (partial(questions, 60, 3, 1), "qa", NEAR),
    "1, 4 and 16 copies": (lambda: frequent(dialogues("English", 120, 1)), "dialogue", NEAR),
}
ALIKE = {name: (partial(dialogues, name, 60, 1, end=end), "dialogue", FAR) for name, end in BOILERPLATE.items()}
SHORT_PASSAGES = partial(questions, 60, 3, 1, sentences=5), "qa", 30  # questions on one are no near-duplicates


class Outputs:
    """What the stages and the report write of a model. probes: of all samples. status: of report.py."""

    def __init__(self, directory, data, task, new_tokens, model, capsys):
        """model: probes -> what it says to each, a list of lists of token ids."""
        from memorization.extraction.extract import generation_row

        source, encoding = directory / "data.json", directory / "encoding"
        source.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        flags = "--data", source, "--output-dir", encoding, "--test-size", "0.3", "--shared-prompts"
        assert run_script(f"encode_{task}.py", *flags) == 0
        encoded = Probes(encoding, task)
        self.probes = probes = encoded[:]
        generated = [ids[:new_tokens] for ids in model(probes)]
        settings = Namespace(max_new_tokens=new_tokens)
        rows = [
            generation_row(tokenizer(), *each, settings) for each in zip(probes, repeat(0), repeat(None), generated)
        ]
        of = {"encoding": encoded.encoding, "trained_on": encoded.encoding, "probe": encoded.kind}
        generations = write_generations(directory / "generations.jsonl", rows, **of)
        index = "--indexes", directory / "indexes", "--index-xsuffix", "test"
        assert run_script("load_to_elastic.py", "-dir", encoding, "-fn", f"{task}_prefix.json", *index) == 0
        where = "--filedir", generations, "--type", "m", "--output-dir", directory
        capsys.readouterr()
        assert run_script("plagiarism_detect.py", *where, *index, "--paraphrase-model", "none") == 0
        self.table = capsys.readouterr().out
        results, report = directory / "m" / "dialogue", directory / "report"
        self.result = read_json(results / "result.json")
        ceilings = self.result["groups"][MEMBERS]
        self.limits = {name: rate for name, rate in LIMITS.items() if ceilings[name]["ceiling"] > rate}
        for name in LIMITS.keys() - self.limits.keys():
            assert run_script("report.py", results, f"--fail-above={name}={LIMITS[name]}") == 2
            assert "so this limit always holds" in capsys.readouterr().err
        limits = [f"--fail-above={name}={rate}" for name, rate in self.limits.items()]
        self.status = run_script("report.py", results, "--output", report, *limits)
        output = capsys.readouterr()
        self.report, self.gate = output.out, output.err
        self.rows = [*read_rows(results / "detections.jsonl", DETECTIONS, Detection)[0]]
        self.leaks, self.page = ((report / name).read_text("utf-8") for name in ("leaks.txt", "report.html"))
        self.audit = read_json(report / "audit.json")
        with (report / "summary.csv").open(newline="", encoding="utf-8") as file:
            self.cells = {(row["group"], row["metric"]): row for row in csv.DictReader(file)}

    def whose(self):
        """dict id of a member -> whose the runs are that it says."""
        return {
            row.generation.id: {run.whose(row.generation.cluster) for run in row.copied}
            for row in self.rows
            if row.generation.member
        }

    def check(self):
        """That no output contradicts another."""
        result, column = self.result, self.result["verdict"]["column"]
        for group, cells in result["groups"].items():
            for name, cell in cells.items():
                if name == "n":
                    continue
                row = self.cells[group, name]
                value = cell.get("rate", cell.get("mean"))
                numbers = [cell["n"], cell.get("count"), value, *cell["interval"], cell.get("ceiling")]
                shown = [row[of] for of in ("n", "count", "estimate", "low", "high", "ceiling")]
                assert ["" if number is None else str(number) for number in numbers] == shown
        [audited] = self.audit["runs"]
        assert audited["verdict"] == result["verdict"]
        figures = {figure["name"]: figure["groups"] for figure in audited["figures"]}
        assert figures == {
            one["name"]: {group: cells[one["name"]] for group, cells in result["groups"].items()}
            for one in result["columns"]
        }
        self._check_verdict(column)
        self._check_leaks()
        self._check_gate()
        table = self.table[self.table.index("Memorization:") : self.table.index("\nwrote")]
        for line in f"{table}\n{self.leaks}".splitlines():
            assert sum(1 + (east_asian_width(character) in "WF") for character in line) <= 80

    def _check_verdict(self, column):
        yes = any(test["evidence"] for test in self.result["verdict"]["groups"].values())
        sentence = ["Verdict: no evidence", "Verdict: yes"][yes]
        for output in (self.table, self.report, html.unescape(self.page)):
            assert output.count("Verdict: ") == 1 and sentence in output
        [named] = (one["heading"] for one in self.result["columns"] if one["name"] == column)
        for output in (self.table, self.report, html.unescape(self.page)):
            assert f"(By {named}, the column named in advance" in " ".join(output.split())
        headline = html.unescape(re.search(r'<p class="lead">(.*?)</p>', self.page)[1])
        of_members = self.result["groups"][MEMBERS][column]
        count = f"{of_members['count']:,}, {100 * of_members['rate']:.1f} %" if of_members["count"] else "none"
        assert headline.startswith(f"Of {of_members['n']:,} members {count}")
        for (group, metric), row in self.cells.items():
            if not metric.startswith("another"):
                test = self.result["verdict"]["groups"].get(group) if metric == column else None
                assert row["evidence"] == (str(test["evidence"]) if test and test["evidence"] is not None else "")

    def _check_leaks(self):
        """leaks.txt lists the members that the table counts as own, those of a shared run of their own, exact ones."""
        whose = self.whose()
        exact = {row.generation.id for row in self.rows if row.generation.member and row.generation.exact_match}
        of_runs = dict(re.findall(r"^\d+\. sample (\d+)(, .*)", self.leaks, re.M))
        exact_only = {int(id) for id in re.findall(r"^- sample (\d+), .* tokens$", self.leaks, re.M)}
        shared = {int(id) for id, line in of_runs.items() if ", shared" in line}
        own = {int(id) for id in of_runs} - shared
        assert own == {id for id, runs in whose.items() if "own" in runs}
        assert all("shared" in whose[id] for id in shared)
        assert {int(id) for id, line in of_runs.items() if "exact match" in line} == exact - exact_only
        assert exact_only == exact - own - shared
        of_members = self.result["groups"][MEMBERS]
        assert of_members["own"]["count"] == len(own) and of_members["shared"]["count"] >= len(shared)
        assert of_members["exact_match"]["count"] == len(exact)
        text = " ".join(self.leaks.split())
        assert f"{len(of_runs)} of {of_members['n']} members, with a run of more than 50 characters" in text
        assert (f"{len(exact_only)} more come back exactly" in text) == bool(exact_only)

    def _check_gate(self):
        over = {
            name for name, rate in self.limits.items() if self.result["groups"][MEMBERS][name]["interval"][1] > rate
        }
        assert self.status == bool(over)
        assert {name for name in self.limits if f"{name} of members" in self.gate} == over
        assert self.audit["gate"]["holds"] == (not over)


@pytest.fixture
def outputs(tmp_path, capsys, monkeypatch):
    """(case, model) -> its Outputs. What is drawn is no part of them."""
    monkeypatch.setattr(report, "plots_of", lambda results: [])

    def of(case, model):
        data, task, new_tokens = case
        return Outputs(tmp_path, data(), task, new_tokens, model, capsys)

    return of


def repeats_members(probes):
    """The suffix of the first member with a prompt; to another prompt what no sample says, each time another thing."""
    answers = {}
    for probe in probes:
        if probe["member"]:
            answers.setdefault(tuple(probe["prefix_ids"]), probe["suffix_ids"])
    return [answers.get(tuple(probe["prefix_ids"])) or something_else(probe["id"]) for probe in probes]


def something_else(number):
    text = f" Nobody wrote number {number} of these lines, which came to mind {number} days ago"
    return tokenizer()(text)["input_ids"]


def says_nothing(probes):
    """The same few words, whatever is asked."""
    return [tokenizer()("I do not know.")["input_ids"] for _ in probes]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_model_that_repeats_its_members_is_told_to(outputs, case):
    outcome = outputs(case, repeats_members)
    of_members, of_held_out = (outcome.result["groups"][side] for side in (MEMBERS, HELD_OUT))
    verdict = outcome.result["verdict"]
    assert of_members["exact_match"]["rate"] == 1
    assert of_members["own"]["rate"] == of_members["own"]["ceiling"]  # what can come out does
    assert verdict["column"] == ("own" if of_members["own"]["ceiling"] >= 0.5 else "exact_match")
    assert all(test["evidence"] for test in verdict["groups"].values())
    long = {row.generation.id for row in outcome.rows if row.generation.member and row.own.run.length > 50}
    assert all(outcome.whose()[id] & {"own", "shared"} for id in long)
    assert outcome.status == 1
    reached = sum(row.ceiling.longest > 50 for row in outcome.rows if row.generation.member) / of_members["n"]
    for output in (outcome.table, outcome.report, html.unescape(outcome.page)):
        text = " ".join(output.split())
        assert ("can have no own run: what a generation can reach is too short" in text) == (reached < 0.5)
        assert ("Another's: cannot be told, as what a generation can reach" in text) == (reached == 0)
    outcome.check()


@pytest.mark.parametrize("language", ALIKE)
def test_what_all_samples_end_with_is_nobodys_own(outputs, language):
    end = tokenizer()(BOILERPLATE[language])["input_ids"]
    outcome = outputs(ALIKE[language], lambda probes: [end for _ in probes])
    of_members, verdict = outcome.result["groups"][MEMBERS], outcome.result["verdict"]
    assert of_members["shared"]["rate"] == 1 and of_members["own"]["rate"] == of_members["exact_match"]["rate"] == 0
    assert not any(test["evidence"] for test in verdict["groups"].values()) and outcome.status == 0
    outcome.check()


def test_what_is_asked_alike_is_answered_alike_and_that_is_said(outputs):
    """Questions on one passage on both sides: a model that repeats it says the held-out samples' as well."""
    outcome = outputs(SHORT_PASSAGES, repeats_members)
    assert outcome.result["groups"][MEMBERS]["exact_match"]["rate"] == 1
    assert outcome.result["groups"][HELD_OUT]["exact_match"]["rate"] > 0.5
    for output in (outcome.table, outcome.report, html.unescape(outcome.page)):
        assert "SHARED PROMPTS: 60 distinct prompts among 180 probes" in " ".join(output.split())
    outcome.check()


@pytest.mark.parametrize("name", ["English", "Chinese", "code", "Hindi, too short a reach for own runs"])
def test_a_model_that_says_nothing_is_not_told_to_repeat(outputs, name):
    outcome = outputs(CASES[name], says_nothing)
    assert outcome.status == 0 and "0 of 42 members" in " ".join(outcome.leaks.split())
    assert not any(test["evidence"] for test in outcome.result["verdict"]["groups"].values())
    assert not any(row.copied or row.generation.exact_match for row in outcome.rows)
    outcome.check()
