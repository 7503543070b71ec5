"""Numbers, tables and paragraphs in plain text of at most 80 columns."""

import re
import textwrap
from unicodedata import east_asian_width

WIDTH = 80
FILLER = "\ue000"  # behind a wide character while lines are broken; `visible` leaves none in a text


def estimate(cell, signed=False):
    """A cell of tables.tally with its interval: "16.7 [11.8, 23.0]", a share in per cent; "-" of nothing.

    A mean has a digit more where its interval is narrower than 1.
    """
    value = cell.get("rate", cell.get("mean"))
    if value is None:
        return "-"
    scale = 100 if "rate" in cell else 1
    interval = cell["interval"] or ()
    fine = scale == 1 and len(interval) == 2 and interval[1] - interval[0] < 1
    value, *interval = (_number(scale * x, signed, fine) for x in (value, *interval))
    return f"{value} [{', '.join(interval)}]" if interval else value


def grid(rows):
    """Rows of cells as aligned lines, the first column to the left and wrapped so that all fits, the others right."""
    widths = [max(map(breadth, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(6, min(widths[0], WIDTH - sum(width + 2 for width in widths[1:])))
    lines = []
    for name, *cells in rows:
        first, *more = wrapped(name, widths[0]) or [""]
        cells = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([first + " " * (widths[0] - breadth(first)), *cells]).rstrip())
        lines += more
    return lines


def paragraph(text, hanging=0):
    """Lines of a text, those after the first indented by so many blanks."""
    return wrapped(text, subsequent_indent=" " * hanging, break_on_hyphens=False)


def wrapped(text: str, width: int = WIDTH, **options) -> list[str]:
    """What textwrap.wrap gives with these options, but by columns: a wide character (UAX #11) takes two, and a line may
    end behind any."""
    return [line.replace(FILLER, "") for line in _Wrapper(width, **options).wrap(_filled(text))]


class _Wrapper(textwrap.TextWrapper):
    def _split(self, text):
        return [piece for chunk in super()._split(text) for piece in re.split(f"(.{FILLER})", chunk) if piece]


def breadth(text: str) -> int:
    """The columns that a text takes."""
    return len(_filled(text))


def _filled(text):
    if text.isascii():
        return text
    return "".join(c + FILLER if east_asian_width(c) in "WF" else c for c in text)


def visible(text):
    """A text in which nothing is hidden: control and format characters, line ends too, are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\\", "\\\\"))


def _number(x, signed, fine=False):
    digits = 0 if abs(x) >= 99.95 else 2 if fine else 1
    return f"{x:{'+' if signed else ''}.{digits}f}"
