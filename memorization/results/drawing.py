"""Plots as SVG, PDF and PNG by matplotlib: the same bytes for the same plot, no window, nothing fetched."""

import io
import textwrap
import warnings
from contextlib import contextmanager

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito 2008
MARKERS, DASHES = "os^Dv<>", ("-", "--", ":", "-.")
SIZE = (7.2, 3.8)  # inches
WRAPPED = 36  # characters of a line of the legend
CROWD = 6  # categories that have room for their names side by side
DEFAULT = "DejaVu Sans"  # comes with matplotlib
DATELESS = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}


@contextmanager
def settings(text, salt):
    """matplotlib's settings for the time of the block, to draw these characters and no formula. salt: of ids in SVG.

    The text of an SVG stays text. Characters that no installed font has are drawn as boxes elsewhere, without a word.
    """
    import matplotlib

    ours = {"svg.hashsalt": salt, "svg.fonttype": "none", "text.parse_math": False, "font.family": families(text)}
    with matplotlib.rc_context(matplotlib.rcParamsDefault | ours), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def families(text):
    """The font families to draw a text with: the default one, and installed ones for characters that it has not."""
    from matplotlib import font_manager, ft2font

    fonts = {}
    for font in font_manager.fontManager.ttflist:
        if (font.style, font.weight, font.stretch) == ("normal", 400, "normal") and "Last Resort" not in font.name:
            fonts.setdefault(font.name, font.fname)
    missing, chosen = {character for character in text if not character.isascii()}, [DEFAULT]
    for name in sorted(fonts, key=lambda name: (name != DEFAULT, name)) if missing else ():
        font = ft2font.FT2Font(fonts[name])
        having = {character for character in missing if font.scalable and font.get_char_index(ord(character))}
        chosen += [name] if having and name != DEFAULT else []
        missing -= having
    return chosen


def draw(plot):
    """dict format ("png", "svg", "pdf") -> the bytes of a plots.Plot."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    text = "".join([plot.title, plot.x_label, *(f"{one.label}{one.x}" for one in plot.series)])
    with settings(text, plot.name), rc_context({"font.size": 9}):
        rows = sum(len(textwrap.wrap(one.label, WRAPPED)) for one in plot.series)
        height = max(SIZE[1], 1 + 0.17 * rows)
        figure = Figure((SIZE[0], height), dpi=150, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        lines = [*_axes(plot, axes), *(_line(plot, axes, one, number) for number, one in enumerate(plot.series))]
        axes.set_ylim(bottom=0)
        if len(lines) > 1:
            axes.legend(
                lines,
                [line.get_label() for line in lines],
                loc="upper left",
                bbox_to_anchor=(1.01, 1),
                frameon=False,
                handlelength=3,
                fontsize=8,
            )
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out once, for every format
        canvases = {"png": FigureCanvasAgg, "svg": FigureCanvasSVG, "pdf": FigureCanvasPdf}
        files = {format: io.BytesIO() for format in canvases}
        for format, file in files.items():  # by the canvases themselves, as savefig draws each twice
            getattr(canvases[format](figure), f"print_{format}")(file, metadata=DATELESS[format])
    return {format: file.getvalue() for format, file in files.items()}


def _axes(plot, axes):
    """Draw all but the series; the lines that are drawn."""
    from matplotlib.ticker import FuncFormatter

    axes.set_title("\n".join(textwrap.wrap(plot.title, 70)), loc="left", fontsize=10)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    if plot.scale == "log":
        axes.set_xscale("log")
        said = (lambda x, _: f"{100 * x:g}") if plot.chance else (lambda x, _: f"{x:,.0f}")
        axes.xaxis.set_major_formatter(FuncFormatter(said))
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


def _line(plot, axes, one, number):
    """Draw a series; what stands for it in a legend."""
    colour, dash = COLOURS[one.colour % len(COLOURS)], DASHES[one.style % len(DASHES)]
    marker = MARKERS[(one.colour + one.colour // len(COLOURS)) % len(MARKERS)]
    y, low, high = ([100 * value for value in values] for values in (one.y, one.low, one.high))
    x = one.x
    label = "\n".join(textwrap.wrap(one.label, WRAPPED))
    if plot.scale == "category":
        names = _names(plot)
        x = [names.index(name) + 0.5 * ((number + 0.5) / len(plot.series) - 0.5) for name in x]
    filled = colour if one.style == 0 else "white"
    look = {
        "color": colour,
        "marker": marker,
        "markersize": 4,
        "markerfacecolor": filled,
        "label": label,
        "clip_on": False,
    }
    if plot.intervals == "bars":
        around = [
            [max(a - b, 0) for a, b in zip(y, low, strict=True)],
            [max(b - a, 0) for a, b in zip(y, high, strict=True)],
        ]
        line = "" if plot.scale == "category" else dash
        return axes.errorbar(x, y, around, linestyle=line, capsize=3, linewidth=1.3, **look)
    step = "steps-post" if plot.chance else "default"
    [line] = axes.plot(x, y, linestyle=dash, linewidth=1.3, markevery=max(len(x) // 8, 1), drawstyle=step, **look)
    if plot.intervals == "band":
        axes.fill_between(x, low, high, color=colour, alpha=0.15 if one.style == 0 else 0.08, linewidth=0)
    return line


def _names(plot):
    """The categories on the x axis, those of all series in their order; held-out texts last."""
    names = list(dict.fromkeys(name for one in plot.series for name in one.x))
    return sorted(names, key=lambda name: name == "held out")
