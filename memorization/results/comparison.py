"""Results side by side as text, Markdown, LaTeX and CSV."""

from collections.abc import Iterator, Sequence
from typing import Any

from memorization.results import tables
from memorization.results.facts import notes_of
from memorization.results.formats import Table, comma_separated, escape_markdown, latex, markdown, paragraph, plain
from memorization.results.result import Result
from memorization.results.summary import HELD_OUT, MEMBERS, Estimate, Mean

FIELDS = (
    "run directory unchecked notes generations generations_a_probe group metric kind n count estimate low high ceiling "
    "against p evidence detectable_difference"
).split()


def as_text(results: Sequence[Result], notes: Sequence[str]) -> str:
    """The comparison for the terminal. notes: what the reader must know beside it, a paragraph each."""
    lines = [line for note in notes for line in paragraph(note)]
    lines += [line for result in results for line in paragraph(described(result), 4)]
    for table in tables_of(results):
        lines += ["", *plain(table)]
    for result in results:
        lines += ["", *paragraph(result.label), *tables.outcome_lines(result.summary)]
    return "\n".join([*lines, "", *_how_measured(results)]) + "\n"


def as_markdown(results: Sequence[Result], notes: Sequence[str]) -> str:
    """The comparison as a document in Markdown."""
    lines = ["# What the models repeat", "", *(f"{escape_markdown(note)}\n" for note in notes)]
    lines += [f"- {escape_markdown(described(result))}" for result in results]
    for table in tables_of(results):
        lines += ["", *markdown(table)]
    for result in results:
        lines += ["", f"**{escape_markdown(result.label)}**", "", "```", *tables.outcome_lines(result.summary), "```"]
    return "\n".join([*lines, "", *_how_measured(results)]) + "\n"


def as_latex(results: Sequence[Result], notes: Sequence[str]) -> str:
    """The comparison as tabulars: columns, and where there are any, scores and what fine-tuning added."""
    lines = [f"% {line}" for note in notes for line in paragraph(note)]
    lines += [f"% {described(result)}" for result in results]
    for table in [*tables_of(results), *_base_comparison(results)]:
        lines += ["", *latex(table)]
    return "\n".join(lines) + "\n"


def as_csv(results: Sequence[Result]) -> str:
    """Every figure of every group of every result as a row of FIELDS; rates and means as they are, not in %."""
    records = (record for result in results for record in _records(result))
    return comma_separated(FIELDS, ([record.get(field) for field in FIELDS] for record in records))


def described(result: Result) -> str:
    name = result.name if result.name == result.label else f"{result.label}: {result.name}"
    directory = [] if result.directory in result.name else [result.directory]
    scheme = result.summary.facts.scheme
    return "; ".join(
        [name, *directory, tables.measured_with(result.summary), *([f"queries with {scheme}"] if scheme else [])]
    )


def tables_of(results: Sequence[Result]) -> list[Table]:
    """The tables of all columns and, if there are any, of all scores, side by side."""
    scores = tables.score_table([(result.label, result.summary.scores) for result in results])
    return [_figures(results), *([scores] if scores.rows else [])]


def _figures(results: Sequence[Result]) -> Table:
    """Every column that any result has, after the number of samples and the perplexities that stage 2 measured."""
    rows: dict[str, list[list[str]]] = {}
    for result in results:
        counts, perplexities = result.summary.counts, result.summary.facts.held_out or {}
        for name, *numbers in tables.number_rows(result.summary):
            rows.setdefault(name, []).append([result.label, *numbers])
        for name, value in perplexities.items():
            rows.setdefault(name.replace("_", " "), []).append([result.label, "", f"{value:.2f}", ""])
        for figure in counts.figures.values():
            rows.setdefault(figure.title, []).extend(tables.figure_rows([figure], result.label))
    title = "Share in %, or the mean, with its 95 % interval:"
    return Table(("metric", "run", MEMBERS, HELD_OUT, "difference"), _flat(rows), title, True)


def _base_comparison(results: Sequence[Result]) -> list[Table]:
    rows: dict[str, list[list[str]]] = {}
    pairs = [(result, table) for result in results for table in tables.base_tables(result.summary)]
    for result, table in sorted(pairs, key=lambda pair: pair[1].columns[0] != MEMBERS):
        for title, *cells in table.rows:
            rows.setdefault(f"{title}, {table.columns[0]}", []).append([result.label, *cells])
    title = "What fine-tuning added, the same probes through the base model"
    columns = ("metric", "run", "base", "tuned", "paired difference")
    return [Table(columns, _flat(rows), title, True)] if rows else []


def _flat(groups: dict[str, list[list[str]]]) -> list[list[str]]:
    return [[title, *row] for title, rows in groups.items() for row in rows]


def _how_measured(results: Sequence[Result]) -> list[str]:
    """How the verdicts were reached, each way once, and how scores are read."""
    ways = dict.fromkeys(tuple(tables.how_tested(result.summary)) for result in results)
    return [line for way in ways for line in way] + tables.how_scored([result.summary.scores for result in results])


def _records(result: Result) -> Iterator[dict[str, Any]]:
    """The figures of a result as rows of FIELDS."""
    summary = result.summary
    same = {
        "run": result.name,
        "directory": result.directory,
        "unchecked": summary.facts.unchecked,
        "notes": "; ".join(note.name for note in notes_of(summary)),
        "generations": summary.generations,
        "generations_a_probe": summary.generations_a_probe,
    }

    def record(group: str, metric: str, kind: str, estimate: Estimate, **fields: Any) -> dict[str, Any]:
        low, high = estimate.interval or (None, None)
        numbers = {"n": estimate.n, "estimate": estimate.value, "low": low, "high": high, "ceiling": estimate.ceiling}
        count = None if isinstance(estimate, Mean) else estimate.count
        return same | {"group": group, "metric": metric, "kind": kind, "count": count} | numbers | fields

    for figure in summary.counts.figures.values():
        decides = summary.verdict is not None and summary.verdict.column == figure.name
        tests = summary.verdict.groups if summary.verdict and decides else {}
        for group, estimate in figure.groups.items():
            test = tests.get(group)
            fields = ("against", "p", "evidence", "detectable_difference")
            tested = {name: getattr(test, name) for name in fields} if test else {}
            yield record(group, figure.name, figure.kind, estimate, **tested)
        if figure.difference:
            yield record(f"{MEMBERS} - {HELD_OUT}", figure.name, figure.kind, figure.difference)
        if summary.base and (base := summary.base.get(figure.name)):
            for group, estimate in base.groups.items():
                yield record(f"{group}, base", figure.name, figure.kind, estimate)
            for group, estimate in base.difference.items():
                yield record(f"{group} - {group}, base", figure.name, figure.kind, estimate)
    for name, score in summary.scores.items():
        rates = {f"{name}_auc": score.auc} | {f"{name}_tpr_{rate}": cell for rate, cell in score.tpr.items() if cell}
        for metric, rate in rates.items():
            yield record(f"{MEMBERS} - {HELD_OUT}", metric, "score", rate, n=sum(score.n))
    for group, of_group in summary.another.groups.items() if summary.another else ():
        tested = {"p": of_group.p, "evidence": of_group.evidence}
        yield record(group, "another_of_equally_many", "share", of_group.another, n=of_group.n, **tested)
        yield record(group, "chance_of_equally_many", "share", of_group.chance, n=of_group.n)
    for name, value in (summary.facts.held_out or {}).items():
        yield same | {"group": HELD_OUT, "metric": name, "kind": "perplexity", "estimate": value}
    for group, canaries in summary.canaries.groups.items() if summary.canaries else ():
        for name, side in (("planted", canaries.planted), ("control", canaries.control)):
            yield record(f"{name} canaries, {group}", "exposure", "mean", side.exposure, n=side.n)
            yield record(f"{name} canaries, {group}", "extracted", "share", side.extracted)
        bound = canaries.epsilon
        numbers = {"n": bound.guesses, "count": bound.correct, "estimate": bound.bound, "low": bound.bound}
        yield same | {"group": f"canaries, {group}", "metric": "epsilon_lower_bound", "kind": "bound", **numbers}
