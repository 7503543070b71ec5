"""Plots as SVG, PDF and PNG by matplotlib: the same bytes for the same plot, no window, nothing fetched."""

import io
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from memorization.results.plots import Plot, Series

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito 2008
MARKERS, DASHES = "os^Dv<>", ("-", "--", ":", "-.")
SIZE = (7.2, 3.8)  # inches
WRAPPED = 36  # characters of a line of the legend
CROWD = 6  # categories that have room for their names side by side
DEFAULT = "DejaVu Sans"  # comes with matplotlib
DATELESS = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}


@contextmanager
def settings(text: str, salt: str) -> Iterator[None]:
    """matplotlib's settings for the time of the block. text: all that is drawn; no formula. salt: of ids in SVG.

    The text of an SVG stays text. Elsewhere characters that no installed font has are drawn as boxes.
    """
    import matplotlib

    ours: dict[Any, Any] = {
        "svg.hashsalt": salt,
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.family": families(text),
    }
    with matplotlib.rc_context(matplotlib.rcParamsDefault | ours), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def families(text: str) -> list[str]:
    """The font families to draw a text with: the default, and installed ones for characters that it lacks."""
    from matplotlib import font_manager, ft2font

    fonts: dict[str, str] = {}
    for font in font_manager.fontManager.ttflist:
        if (font.style, font.weight, font.stretch) == ("normal", 400, "normal") and "Last Resort" not in font.name:
            fonts.setdefault(font.name, font.fname)
    missing, chosen = {character for character in text if not character.isascii()}, [DEFAULT]
    for name in sorted(fonts, key=lambda name: (name != DEFAULT, name)) if missing else ():
        face = ft2font.FT2Font(fonts[name])
        having = {character for character in missing if face.scalable and face.get_char_index(ord(character))}
        chosen += [name] if having and name != DEFAULT else []
        missing -= having
    return chosen


def draw(plot: Plot) -> dict[str, bytes]:
    """A plot in each format: "png", "svg" and "pdf" -> the bytes of the file."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    text = "".join([plot.title, plot.x_label, *(f"{one.label}{one.x}" for one in plot.series)])
    with settings(text, plot.name), rc_context({"font.size": 9}):
        rows = sum(len(textwrap.wrap(one.label, WRAPPED)) for one in plot.series)
        height = max(SIZE[1], 1 + 0.17 * rows)
        figure = Figure((SIZE[0], height), dpi=150, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        lines = [*_axes(plot, axes), *(_line(plot, axes, one, number) for number, one in enumerate(plot.series))]
        axes.set_ylim(bottom=0)
        if len(lines) > 1:
            look = {"frameon": False, "handlelength": 3, "fontsize": 8}
            axes.legend(lines, [line.get_label() for line in lines], loc="upper left", bbox_to_anchor=(1.01, 1), **look)
        ConstrainedLayoutEngine().execute(figure)  # once, for every format
        canvases = {"png": FigureCanvasAgg, "svg": FigureCanvasSVG, "pdf": FigureCanvasPdf}
        files = {format: io.BytesIO() for format in canvases}
        for format, file in files.items():  # by the canvases themselves, as savefig draws each twice
            getattr(canvases[format](figure), f"print_{format}")(file, metadata=DATELESS[format])
    return {format: file.getvalue() for format, file in files.items()}


def _axes(plot: Plot, axes: Any) -> list[Any]:
    """Draw all but the series; return the lines that are drawn."""
    from matplotlib.ticker import FuncFormatter

    axes.set_title("\n".join(textwrap.wrap(plot.title, 70)), loc="left", fontsize=10)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if plot.scale == "log":
        axes.set_xscale("log")
        scale, form = (100, "g") if plot.chance else (1, ",.0f")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format(scale * x, form)))
    if plot.scale == "category":
        names = _names(plot)
        labels = ["\n".join(textwrap.wrap(str(name), 14)) for name in names]
        axes.set_xticks(range(len(names)), labels)
        if len(names) > CROWD:
            axes.tick_params("x", rotation=35, rotation_mode="xtick")
        axes.set_xlim(-0.5, len(names) - 0.5)
    if plot.chance:
        x = sorted({point for one in plot.series for point in one.x})
        return axes.plot(x, [100 * point for point in x], color="#777777", linewidth=0.8, label="chance")
    return []


def _line(plot: Plot, axes: Any, one: Series, number: int) -> Any:
    """Draw a series; return what stands for it in a legend."""
    colour, dash = COLOURS[one.colour % len(COLOURS)], DASHES[one.style % len(DASHES)]
    marker = MARKERS[(one.colour + one.colour // len(COLOURS)) % len(MARKERS)]
    y, low, high = ([100 * value for value in values] for values in (one.y, one.low, one.high))
    x = one.x
    label = "\n".join(textwrap.wrap(one.label, WRAPPED))
    if plot.scale == "category":
        names = _names(plot)
        x = [names.index(name) + 0.5 * ((number + 0.5) / len(plot.series) - 0.5) for name in x]
    look = {"color": colour, "marker": marker, "markersize": 4, "label": label, "clip_on": False}
    look["markerfacecolor"] = colour if one.style == 0 else "white"
    if plot.intervals == "bars":
        pairs = ((y, low), (high, y))
        around = [[max(a - b, 0) for a, b in zip(upper, lower, strict=True)] for upper, lower in pairs]
        line = "" if plot.scale == "category" else dash
        return axes.errorbar(x, y, around, linestyle=line, capsize=3, linewidth=1.3, **look)
    step = "steps-post" if plot.chance else "default"
    [line] = axes.plot(x, y, linestyle=dash, linewidth=1.3, markevery=max(len(x) // 8, 1), drawstyle=step, **look)
    if plot.intervals == "band":
        axes.fill_between(x, low, high, color=colour, alpha=0.15 if one.style == 0 else 0.08, linewidth=0)
    return line


def _names(plot: Plot) -> list[str]:
    """The categories on the x axis, those of all series in their order; held-out texts last."""
    names = list(dict.fromkeys(name for one in plot.series for name in one.x))
    return sorted(names, key=lambda name: name == "held out")
