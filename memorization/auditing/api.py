"""From Python, as in a notebook: audit a model, or load results, and look at them."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memorization.auditing.run_audit import closing_lines, run_audit
from memorization.auditing.settings import add_audit_arguments, audit_settings
from memorization.results.columns import columns_of, pass_columns, score_columns
from memorization.results.comparison import tables_of
from memorization.results.counts import collect
from memorization.results.formats import html
from memorization.results.report import Report, ReportSettings, read_report
from memorization.results.result import Result
from memorization.results.tables import verdict_lines
from memorization.shell.cli import Parser, UserError

if TYPE_CHECKING:
    import pandas

SETTINGS = "probe prefix_length max_new_tokens temperature top_k top_p num_samples encoding".split()  # of generations


class AuditResult:
    """One result of stage 5, or several side by side.

    runs: each with its name, summary (figures, verdict, scores), rows (one a generation, texts included) and manifest.
    page: report.html, if it was written. A notebook shows the tables.
    """

    def __init__(self, report: Report, page: Path | None = None) -> None:
        self._report, self.page = report, page
        self.runs: Sequence[Result] = report.results

    @property
    def verdict(self) -> str:
        """Whether members come out more often than held-out texts do, beyond chance, in words, run by run."""
        several = len(self.runs) > 1
        lines = ([*[run.name] * several, *verdict_lines(run.summary)] for run in self.runs)
        return "\n".join(line for of_run in lines for line in of_run)

    def table(self) -> str:
        """All figures as text, as report.py prints them."""
        return self._report.text()

    def to_pandas(self) -> "pandas.DataFrame":
        """A data frame with a row a sample of each run: its metrics, and the run's settings as columns.

        Of several generations or turns of a sample a share is True if any has it, a mean their mean. Raises UserError
        where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UserError("pandas is not installed; pip install memorization[pandas]") from None
        return pandas.concat([pandas.DataFrame(_samples(run)) for run in self.runs], ignore_index=True)

    def __repr__(self) -> str:
        return "\n".join(closing_lines(self._report))

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._report.notes)
        return f"{notes}<pre>{escape(self.verdict)}</pre>{''.join(map(html, tables_of(self.runs)))}"


def audit(
    *,
    model: str | Path | None = None,
    train_data: str | Path | Sequence[str | Path],
    held_out_data: str | Path | Sequence[str | Path] = (),
    output: str | Path = "audit",
    **flags: Any,
) -> AuditResult:
    """Audit a model as audit.py does, and return the result.

    model: may be left out where an adapter, given by the flag `adapter`, names its base model. flags: any other flag of
    audit.py by its name with underscores: base_model="./llama", members=2000, redact=True; fail_above has no effect
    here. A repeated call with the same settings goes on where the first was, or reads what it finished. Raises
    UserError where audit.py prints one line.
    """
    named = {"model": model, "train_data": train_data, "held_out_data": held_out_data, "output": output} | flags
    parser = _RaisingParser(None)
    add_audit_arguments(parser)
    settings = audit_settings(parser.parse_args([*_as_arguments(named)]))
    if settings.dry_run:
        raise UserError("dry_run: is for the command line; leave it out")
    with redirect_stdout(sys.stderr):  # beside the progress bars
        report = run_audit(settings)
    if report is None:
        raise UserError("audit: only the first of several processes has the result; call it in one")
    return AuditResult(report, settings.output / "report" / "report.html")


def load_results(*paths: str | Path) -> AuditResult:
    """Load results: directories that stage 5 or an audit wrote. Raises UserError for what is none."""
    directories = [directory for path in paths for directory in _results(Path(path))]
    if not directories:
        raise UserError("load_results: names no result; give the directory of one")
    return AuditResult(read_report(ReportSettings(directories)))


def _results(path: Path) -> list[Path]:
    """The directories of the results in a directory that stage 5 or an audit wrote; itself if there are none."""
    path = path / "detections" if (path / "detections").is_dir() else path
    directories = [file.parent for file in path.rglob("result.json")]
    return sorted(directories, key=lambda each: (len(str(each)), str(each))) or [path]


class _RaisingParser(Parser):
    def error(self, message: str) -> Any:
        raise UserError(message)


def _as_arguments(flags: dict[str, Any]) -> Iterator[str]:
    """The command line of keyword arguments."""
    for name, value in flags.items():
        values = [value] if isinstance(value, str | Path) or not isinstance(value, Sequence) else [*value]
        flag = f"--{name.replace('_', '-')}"
        if name == "fail_above":
            yield from (part for limit in values for part in (flag, str(limit)))
        elif value is not None and value is not False and values:
            yield flag
            if name == "prefix_length":  # several are one value
                values = [",".join(map(str, values))]
            yield from (str(one) for one in values if one is not True)


def _samples(run: Result) -> dict[str, Any]:
    """The columns of a run's data frame: settings, what is known of a sample, and its metrics."""
    facts, generations = run.summary.facts, run.manifest.facts["generations"] or {}
    columns = columns_of(
        facts.span_length, facts.loop_repeats, facts.classifier, facts.direction, bool(facts.ner_model)
    )
    columns = [*columns, *pass_columns()]
    names = {column.name for column in columns}
    columns += [column for column in score_columns(facts.classifier) if column.name not in names]
    probes = collect(run.rows, columns)
    settings = {"run": run.name, "model": facts.model} | {name: generations.get(name) for name in SETTINGS}
    metrics = zip(columns, probes.values, strict=True)
    return {
        **settings,
        "id": probes.ids,
        "member": probes.member,
        "copies": probes.duplicates,
        "cluster": probes.clusters,
        **{column.name: values for column, values in metrics},
    }
