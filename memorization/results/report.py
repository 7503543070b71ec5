"""The files of a report on any number of results."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from memorization.results import comparison, redact
from memorization.results.attention import heat_maps
from memorization.results.audit import audit_json
from memorization.results.cases import CASES, Chosen, choose, hidden_lines, read_cases
from memorization.results.drawing import draw
from memorization.results.facts import joint_notes
from memorization.results.formats import paragraph
from memorization.results.gate import Limit, Outcome, apply_limits
from memorization.results.leaks import HEAD, leaks
from memorization.results.page import report_page
from memorization.results.plots import plot_csv, plots_of
from memorization.results.records import records_csv
from memorization.results.result import Result, read_results
from memorization.results.run_names import encodings_of
from memorization.store.directories import building, check_ours
from memorization.store.files import locked


@dataclass(frozen=True)
class ReportSettings:
    """output: a directory for the files, None: text alone. attention: directories of studies, shown on the page.

    redact: whether files show masked texts. cases: how many the page and leaks.txt show at the most.
    """

    results: list[Path]
    output: Path | None = None
    attention: tuple[Path, ...] = ()
    limits: tuple[Limit, ...] = ()
    redact: bool = False
    cases: int = CASES


class Report(NamedTuple):
    """notes: what the reader must know beside the figures, a paragraph each. outcomes: of the limits.

    heat_maps: (title, SVG) of the studies of attention. chosen: what the page and leaks.txt show of each result.
    """

    results: list[Result]
    notes: list[str]
    outcomes: list[Outcome]
    heat_maps: list[tuple[str, str]]
    chosen: list[Chosen]

    def text(self) -> str:
        """The report for the terminal."""
        return comparison.as_text(self.results, self.notes)

    def hidden(self) -> list[str]:
        """Lines that say which cases the page and leaks.txt do not show, if any."""
        lines = hidden_lines([result.label for result in self.results], self.chosen)
        return paragraph(f"The page and leaks.txt show {'; '.join(lines)}; --cases N shows more.") if lines else []


def read_report(settings: ReportSettings) -> Report:
    """Read the results, and apply the limits. Raises UserError for an output that is not ours to replace, too."""
    if settings.output:
        check_ours(settings.output, "report")
    results = read_results(settings.results)
    outcomes = apply_limits(settings.limits, results)
    generations = [result.manifest.made_of["generations"] for result in results]
    studies = [image for directory in settings.attention for image in heat_maps(directory, generations)]
    chosen = choose([result.case_index for result in results], settings.cases)
    return Report(results, _notes(results), outcomes, studies, chosen)


def write_report(report: Report, output: Path, masked: bool) -> list[str]:
    """Write the files of a report to a directory, whole or not at all. Return their names; plots are one."""
    files = _files(report, masked)
    with locked(output), building(output, "report") as (temporary, _):
        (temporary / "plots").mkdir()
        for name, content in files.items():
            content = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
            (temporary / name).write_bytes(content)
    return sorted({name.partition("/")[0] for name in files})


def _notes(results: Sequence[Result]) -> list[str]:
    notes = joint_notes((result.label, result.summary) for result in results)
    encodings = encodings_of([result.manifest for result in results])
    if len(set(encodings)) > 1:
        pairs = zip(results, encodings, strict=True)
        which = ", ".join(f"{result.label} {(encoding or 'unknown')[:12]}" for result, encoding in pairs)
        notes.append(f"Not of the same data or split, so members and held-out texts differ (encoding: {which}).")
    for what in ("generations", "turns"):
        several = [
            result.summary.generations_a_probe > 1 if what == "generations" else result.summary.has_turns
            for result in results
        ]
        if any(several):
            notes.append(f"Of several {what} a sample: a share counts the samples of which any does so.")
    return notes


def _files(report: Report, masked: bool) -> dict[str, str | bytes]:
    """The contents of all files, by name."""
    results, notes, outcomes, maps, chosen = report
    cases = [
        read_cases(result.rows, result.case_index, one, result.base)
        for result, one in zip(results, chosen, strict=True)
    ]
    if masked:
        regions = (result.summary.facts.regions for result in results)
        cases = [redact.redacted(of_result, of) for of_result, of in zip(cases, regions, strict=True)]
    preface = ["\n".join(line for note in notes for line in paragraph(note))] if notes else []
    preface += ["\n".join(lines)] if (lines := report.hidden()) else []
    sections = [
        leaks(result.name, of_result, result.case_index.leaking, result.summary.facts.span_length)
        for result, of_result in zip(results, cases, strict=True)
    ]
    files: dict[str, str | bytes] = {
        "summary.csv": comparison.as_csv(results),
        "summary.md": comparison.as_markdown(results, notes),
        "summary.tex": comparison.as_latex(results, notes),
        "leaks.txt": "\n\n".join([HEAD + redact.NOTE if masked else HEAD, *preface, *sections]),
        "audit.json": audit_json(results, outcomes),
        "records.csv": records_csv({result.name: result.records for result in results}),
    }
    drawings = []
    for plot in tqdm(plots_of(results), "draw", unit="plot", disable=None):
        formats = draw(plot)
        drawings.append((plot.title, formats["svg"]))
        files[f"plots/{plot.name}.csv"] = plot_csv(plot)
        files |= {f"plots/{plot.name}.{kind}": content for kind, content in formats.items()}
    drawings += [(title, svg.encode()) for title, svg in maps]
    return files | {"report.html": report_page(results, cases, chosen, notes, drawings, masked)}
