"""Numbers, tables and paragraphs in plain text of at most 80 columns."""

import textwrap

WIDTH = 80


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
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[0] = max(6, min(widths[0], WIDTH - sum(width + 2 for width in widths[1:])))
    lines = []
    for name, *cells in rows:
        first, *more = textwrap.wrap(name, widths[0]) or [""]
        cells = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
        lines += more
    return lines


def paragraph(text, hanging=0):
    """Lines of a text, those after the first indented by so many blanks."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * hanging, break_on_hyphens=False)


def visible(text):
    """A text in which nothing is hidden: control and format characters, line ends too, are written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\\", "\\\\"))


def _number(x, signed, fine=False):
    digits = 0 if abs(x) >= 99.95 else 2 if fine else 1
    return f"{x:{'+' if signed else ''}.{digits}f}"
