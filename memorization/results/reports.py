"""Runs side by side: their figures as text, CSV, Markdown and LaTeX."""

import csv
import io
import re
from typing import NamedTuple

from memorization.results import base, canaries, membership
from memorization.results.counts import HELD_OUT, MEMBERS
from memorization.results.layout import estimate, grid, paragraph
from memorization.results.notes import notes as notes_of
from memorization.results.tables import another, ceilings, heading, how_tested, made_with, verdict
from memorization.store.manifests import Manifest

SCORES = "How well a score tells members from held-out texts, with 95 % intervals:"
FIELDS = (
    "run directory unchecked notes generations generations_a_probe group metric kind n count estimate low high ceiling "
    "against p evidence detectable_difference"
).split()
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", **{c: f"\\{c}" for c in "&%$#_{}"}}


class Run(NamedTuple):
    """A result of stage 5. name: what tells it from the others. label: the same where it is short, else a shorter one.

    summary: of tables.summarize. rows: its Detections. manifest: theirs.
    """

    name: str
    label: str
    directory: str
    summary: dict
    rows: list
    manifest: Manifest


def text(runs, notes):
    """The comparison for the terminal. notes: what the reader must know beside it, a paragraph each."""
    lines = []
    for run in runs:
        lines += paragraph(_described(run), 4)
    body = []
    for title, block in blocks(runs):
        body += [[""] * 4, [title, MEMBERS, HELD_OUT, "difference"], *block]
    lines += ["", "Share in %, or the mean, with its 95 % interval:", *grid(body)]
    if scores := score_blocks(runs):
        head = membership.headings(resolved_rates(runs))
        body = []
        for title, block in scores:
            body += [[""] * len(head), [title, *head[1:]], *block]
        lines += ["", SCORES, *grid(body)]
    for run in runs:
        lines += ["", *paragraph(run.label), *verdict(run.summary), *another(run.summary)]
        lines += ["", *base.lines(run.summary, heading), *canaries.lines(run.summary["canaries"])][:-1]
    said = [line for note in notes for line in paragraph(note)]
    return "\n".join([*said, *lines, "", *_tests(runs)]) + "\n"


def markdown(runs, notes):
    """The comparison as a document in Markdown."""

    def escaped(said):
        return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", said)

    lines = ["# What the models repeat", "", *(f"{escaped(note)}\n" for note in notes)]
    lines += [f"- {escaped(_described(run))}" for run in runs]
    lines += ["", "Share in %, or the mean, with its 95 % interval:", ""]
    lines += [f"| metric | run | {MEMBERS} | {HELD_OUT} | difference |", "|---|---|---:|---:|---:|"]
    for title, block in blocks(runs):
        for name, *cells in block:
            lines.append(f"| {' | '.join(map(escaped, [title, name, *cells]))} |")
    if scores := score_blocks(runs):
        head = membership.headings(resolved_rates(runs))[1:]
        lines += ["", SCORES, "", f"| score | run | {' | '.join(head)} |", f"|---|---|{'---:|' * len(head)}"]
        for title, block in scores:
            lines += [f"| {' | '.join(map(escaped, [title, *cells]))} |" for cells in block]
    for run in runs:
        lines += ["", f"**{escaped(run.label)}**", "", "```", *verdict(run.summary), *another(run.summary)]
        lines += [*base.lines(run.summary, heading), *canaries.lines(run.summary["canaries"]), "```"]
    lines += ["", *_tests(runs)]
    return "\n".join(lines) + "\n"


def latex(runs, notes):
    """The comparison as tabulars that any LaTeX document can \\input: columns, and where there are any, scores and what
    fine-tuning added.
    """
    lines = [f"% {line}" for note in notes for line in paragraph(note)]
    lines += [f"% {_described(run)}" for run in runs]
    lines += ["% Share in %, or the mean, with its 95 % interval"]
    lines += _tabular(("metric", "run", MEMBERS, HELD_OUT, "difference"), blocks(runs))
    if scores := score_blocks(runs):
        lines += [
            "",
            f"% {SCORES}",
            *_tabular(("score", "run", *membership.headings(resolved_rates(runs))[1:]), scores),
        ]
    added = {}
    for side in (MEMBERS, HELD_OUT):
        for run in runs:
            for title, *cells in base.rows(run.summary, side, heading):
                added.setdefault(f"{title}, {side}", []).append([run.label, *cells])
    if added:
        lines += ["", "% What fine-tuning added, the same probes through the base model"]
        lines += _tabular(("metric", "run", "base", "tuned", "paired difference"), added.items())
    return "\n".join(lines) + "\n"


def _tabular(head, blocks):
    """Lines of a LaTeX table. blocks: (title, rows of label and cells)."""

    def escaped(said):
        return "".join(LATEX.get(character, character) for character in said)

    lines = [rf"\begin{{tabular}}{{ll{'r' * len(head[2:])}}}", r"\hline", rf"{' & '.join(map(escaped, head))} \\"]
    for title, block in blocks:
        lines.append(r"\hline")
        for name, *cells in block:
            numbers = (re.sub(r"-(?=\d)", "$-$", escaped(cell)) for cell in cells)
            lines.append(rf"{escaped(title)} & {escaped(name)} & {' & '.join(numbers)} \\")
    return [*lines, r"\hline", r"\end{tabular}"]


def comma_separated(runs):
    """Every cell of every group of every run as a row of FIELDS; rates and means as they are, not in %."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    for run in runs:
        summary = run.summary
        same = {"run": run.name, "directory": run.directory, "unchecked": bool(summary["facts"].get("unchecked"))}
        same["notes"] = "; ".join(note.name for note in notes_of(summary["facts"]))
        same |= {name: summary[name] for name in ("generations", "generations_a_probe")}
        groups = summary["groups"] | {f"{MEMBERS} - {HELD_OUT}": summary["difference"]}
        verdicts = summary["verdict"] or {"column": None}
        if before := summary["base"]:
            groups |= {f"{group}, base": cells for group, cells in before["groups"].items()}
            groups |= {f"{group} - {group}, base": cells for group, cells in before["difference"].items()}
        for column in summary["columns"]:
            for group, cells in groups.items():
                if (cell := cells.get(column["name"])) is None:
                    continue
                low, high = cell["interval"] or (None, None)
                tests = verdicts["groups"] if column["name"] == verdicts["column"] else {}
                tested = {name: value for name, value in tests.get(group, {}).items() if name in FIELDS}
                row = {"group": group, "metric": column["name"], "kind": column["kind"], "low": low, "high": high}
                row |= {name: cell.get(name) for name in ("n", "count", "ceiling")} | tested
                writer.writerow(same | row | {"estimate": cell.get("rate", cell.get("mean"))})
        for name, score in summary["scores"].items():
            tpr = {f"{name}_tpr_{rate}": cell for rate, cell in score["tpr"].items() if cell}
            for metric, cell in ({f"{name}_auc": score["auc"]} | tpr).items():
                low, high = cell["interval"]
                row = {"group": f"{MEMBERS} - {HELD_OUT}", "metric": metric, "kind": "score", "n": sum(score["n"])}
                writer.writerow(same | row | {"estimate": cell["rate"], "low": low, "high": high})
        for group, cells in (summary["another"] or {"groups": {}})["groups"].items():
            for name in ("another", "chance"):
                low, high = cells[name]["interval"]
                row = {"group": group, "metric": f"{name}_of_equally_many", "kind": "share", "n": cells["n"]}
                tested = {test: cells[test] for test in ("p", "evidence")} if name == "another" else {}
                writer.writerow(same | row | tested | {"estimate": cells[name]["rate"], "low": low, "high": high})
        for name, value in (summary["facts"].get("held_out") or {}).items():
            writer.writerow(same | {"group": HELD_OUT, "metric": name, "kind": "perplexity", "estimate": value})
        for row in canaries.records(summary["canaries"]):
            writer.writerow(same | row)
    return file.getvalue()


def _described(run):
    name = run.name if run.name == run.label else f"{run.label}: {run.name}"
    where = [] if run.directory in run.name else [run.directory]
    scheme = run.summary["facts"]["scheme"]
    return "; ".join([name, *where, made_with(run.summary), *([f"queries with {scheme}"] if scheme else [])])


def _tests(runs):
    """How the verdicts were reached, each way once, and how scores are read."""
    tests = dict.fromkeys(tuple(how_tested(run.summary)) for run in runs)
    return [line for test in tests for line in test] + membership.explained([run.summary["scores"] for run in runs])


def blocks(runs):
    """(title, rows of label and three cells) for every column that any run has, after the number of probes and the
    perplexities that stage 2 found."""
    found = {}
    for run in runs:
        groups, changes = run.summary["groups"], run.summary["difference"]
        found.setdefault("probes", []).append(
            [run.label, *(str(groups[side]["n"]) for side in (MEMBERS, HELD_OUT)), ""]
        )
        for name, value in (run.summary["facts"].get("held_out") or {}).items():
            found.setdefault(name.replace("_", " "), []).append([run.label, "", f"{value:.2f}", ""])
        for column in run.summary["columns"]:
            sides = [estimate(groups[side][column["name"]]) for side in (MEMBERS, HELD_OUT)]
            change = estimate(changes[column["name"]], True) if column["name"] in changes else "-"
            found.setdefault(heading(column), []).append([run.label, *sides, change])
            found[heading(column)] += [[f"{run.label}, ceiling", *cells] for cells in ceilings(column, groups)]
    return found.items()


def resolved_rates(runs):
    """The rates of false positives that a score of any run resolves."""
    return membership.resolved([run.summary["scores"] for run in runs])


def score_blocks(runs):
    """(title, rows of label and cells) for every score that any run has."""
    found, rates = {}, resolved_rates(runs)
    for run in runs:
        for score in run.summary["scores"].values():
            found.setdefault(score["heading"], []).append([run.label, *membership.cells(score, rates)])
    return found.items()
