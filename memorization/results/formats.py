"""Tables, numbers and paragraphs in each format: plain text of at most 80 columns, Markdown, LaTeX, HTML and CSV."""

import csv
import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from typing import Any, NamedTuple
from unicodedata import east_asian_width

from memorization.results.summary import Estimate

WIDTH = 80
FILLER = "\ue000"  # behind a wide character while lines are broken; `visible` leaves none in a text
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", **{c: f"\\{c}" for c in "&%$#_{}"}}


class Table(NamedTuple):
    """A table of text, for any format. columns: their headings.

    grouped: whether rows with one first cell belong together, as of a metric in several runs. Numbers are in all
    columns but the first, of a grouped table the first two.
    """

    columns: Sequence[str]
    rows: list[list[str]]
    title: str = ""
    grouped: bool = False

    def groups(self) -> list[tuple[str, list[list[str]]]]:
        """(first cell, the other cells of its rows) of a grouped table."""
        return [(first, [row[1:] for row in rows]) for first, rows in groupby(self.rows, lambda row: row[0])]

    def without(self, column: int) -> "Table":
        """The table without a column."""
        columns, *rows = ([*row[:column], *row[column + 1 :]] for row in (self.columns, *self.rows))
        return self._replace(columns=columns, rows=rows)


def plain(table: Table) -> list[str]:
    """A table as lines of plain text. Each group of a grouped table has a heading of its own."""
    if table.grouped:
        blank = [""] * (len(table.columns) - 1)
        rows = [line for title, group in table.groups() for line in (blank, [title, *table.columns[2:]], *group)][1:]
    else:
        rows = [list(table.columns), *table.rows]
    return [*([*paragraph(table.title), ""] if table.title else []), *_aligned(rows)]


def _aligned(rows: list[list[str]]) -> list[str]:
    """Rows of cells as lines: the first column to the left and wrapped so that all fits, the others to the right."""
    widths = [max(map(breadth, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(6, min(widths[0], WIDTH - sum(width + 2 for width in widths[1:])))
    lines = []
    for name, *cells in rows:
        first, *more = wrapped(name, widths[0]) or [""]
        cells = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([first + " " * (widths[0] - breadth(first)), *cells]).rstrip())
        lines += more
    return lines


def markdown(table: Table) -> list[str]:
    """A table as lines of Markdown."""
    names = 2 if table.grouped else 1
    lines = [table.title, ""] if table.title else []
    lines += [f"| {' | '.join(table.columns)} |", f"|{'---|' * names}{'---:|' * (len(table.columns) - names)}"]
    return lines + [f"| {' | '.join(map(escape_markdown, row))} |" for row in table.rows]


def escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def latex(table: Table) -> list[str]:
    """A table as lines of LaTeX: a tabular that any document can \\input."""
    names = 2 if table.grouped else 1
    lines = [f"% {table.title}"] if table.title else []
    lines += [rf"\begin{{tabular}}{{{'l' * names}{'r' * (len(table.columns) - names)}}}", r"\hline"]
    lines.append(rf"{' & '.join(map(_escape_latex, table.columns))} \\")
    for row, before in zip(table.rows, [None, *table.rows], strict=False):
        if before is None or (table.grouped and row[0] != before[0]):
            lines.append(r"\hline")
        numbers = (re.sub(r"-(?=\d)", "$-$", _escape_latex(cell)) for cell in row[names:])
        lines.append(rf"{' & '.join([*map(_escape_latex, row[:names]), *numbers])} \\")
    return [*lines, r"\hline", r"\end{tabular}"]


def _escape_latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def html(table: Table) -> str:
    """A grouped table as HTML; the first cell of a group stands once, beside its first row."""
    rows = []
    for title, group in table.groups():
        for place, cells in enumerate(group):
            first = "" if place else f'<th scope="rowgroup" rowspan="{len(group)}">{escape(title)}</th>'
            rows.append(f"<tr>{first}{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    head = f"<thead><tr>{columns}</tr></thead>"
    return f'<div class="wide" tabindex="0"><table>{head}<tbody>{"".join(rows)}</tbody></table></div>'


def comma_separated(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as CSV with a header."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()


def shown(estimate: Estimate | None, signed: bool = False) -> str:
    """An estimate with its interval: "16.7 [11.8, 23.0]", a rate in per cent; "-" of nothing.

    A mean has a digit more where its interval is narrower than 1. A low end that nothing bounds is "-" too.
    """
    if estimate is None or estimate.value is None:
        return "-"
    scale, interval = estimate.scale, estimate.interval
    if interval is None:
        return _number(scale * estimate.value, signed)
    low, high = interval
    fine = scale == 1 and low is not None and high - low < 1
    ends = ("-" if end is None else _number(scale * end, signed, fine) for end in interval)
    return f"{_number(scale * estimate.value, signed, fine)} [{', '.join(ends)}]"


def _number(x: float, signed: bool, fine: bool = False) -> str:
    digits = 0 if abs(x) >= 99.95 else 2 if fine else 1
    return f"{x:{'+' if signed else ''}.{digits}f}"


def spaced(blocks: Iterable[list[str]]) -> list[str]:
    """The lines of blocks, with an empty line between them; empty blocks are left out."""
    return [line for block in blocks if block for line in ("", *block)][1:]


def paragraph(text: str, hanging: int = 0) -> list[str]:
    """Lines of a text, those after the first indented by so many blanks."""
    return wrapped(text, subsequent_indent=" " * hanging, break_on_hyphens=False)


def wrapped(text: str, width: int = WIDTH, **options: Any) -> list[str]:
    """What textwrap.wrap gives with these options, but by columns: a wide character (UAX #11) takes two, and a line may
    end behind any."""
    return [line.replace(FILLER, "") for line in _Wrapper(width, **options).wrap(_filled(text))]


class _Wrapper(textwrap.TextWrapper):
    def _split(self, text: str) -> list[str]:
        return [piece for chunk in super()._split(text) for piece in re.split(f"(.{FILLER})", chunk) if piece]


def breadth(text: str) -> int:
    """The columns that a text takes."""
    return len(_filled(text))


def _filled(text: str) -> str:
    if text.isascii():
        return text
    return "".join(c + FILLER if east_asian_width(c) in "WF" else c for c in text)


def visible(text: str) -> str:
    """A text in which nothing is hidden: control and format characters, line ends too, are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\\", "\\\\"))
