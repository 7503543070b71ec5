"""Plots as SVG, PDF and PNG by matplotlib: the same bytes for the same plot, no window, nothing fetched."""

import io
import textwrap

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito 2008
MARKERS, DASHES = "os^Dv<>", ("-", "--", ":", "-.")
SIZE = (7.2, 3.8)  # inches
WRAPPED = 36  # characters of a line of the legend
CROWD = 6  # categories that have room for their names side by side
DATELESS = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None, "ModDate": None}}


def draw(plot):
    """dict format ("png", "svg", "pdf") -> the bytes of a plots.Plot."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {"svg.hashsalt": plot.name, "svg.fonttype": "path", "font.size": 9}
    with matplotlib.rc_context(matplotlib.rcParamsDefault | settings):
        lines = sum(len(textwrap.wrap(one.label, WRAPPED)) for one in plot.series)
        height = max(SIZE[1], 1 + 0.17 * lines)
        figure = Figure((SIZE[0], height), dpi=150, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        _axes(plot, axes)
        for number, one in enumerate(plot.series):
            _line(plot, axes, one, number)
        axes.set_ylim(bottom=0)
        if len(plot.series) > 1 or plot.chance:
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, handlelength=3, fontsize=8)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # it is laid out once, for every format
        canvases = {"png": FigureCanvasAgg, "svg": FigureCanvasSVG, "pdf": FigureCanvasPdf}
        files = {format: io.BytesIO() for format in canvases}
        for format, file in files.items():  # by the canvases themselves, as savefig draws each twice
            getattr(canvases[format](figure), f"print_{format}")(file, metadata=DATELESS[format])
    return {format: file.getvalue() for format, file in files.items()}


def _axes(plot, axes):
    from matplotlib.ticker import FuncFormatter

    axes.set_title("\n".join(textwrap.wrap(_plain(plot.title), 70)), loc="left", fontsize=10)
    axes.set_xlabel(_plain(plot.x_label))
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
        labels = ["\n".join(textwrap.wrap(_plain(str(name)), 14)) for name in names]
        axes.set_xticks(range(len(names)), labels)
        if len(names) > CROWD:
            axes.tick_params("x", rotation=35, rotation_mode="xtick")
        axes.set_xlim(-0.5, len(names) - 0.5)
    if plot.chance:
        x = sorted({point for one in plot.series for point in one.x})
        axes.plot(x, [100 * point for point in x], color="#777777", linewidth=0.8, label="chance")


def _line(plot, axes, one, number):
    colour, dash = COLOURS[one.colour % len(COLOURS)], DASHES[one.style % len(DASHES)]
    marker = MARKERS[(one.colour + one.colour // len(COLOURS)) % len(MARKERS)]
    y, low, high = ([100 * value for value in values] for values in (one.y, one.low, one.high))
    x = one.x
    label = "\n".join(textwrap.wrap(_plain(one.label), WRAPPED))
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
        axes.errorbar(
            x, y, around, linestyle="" if plot.scale == "category" else dash, capsize=3, linewidth=1.3, **look
        )
        return
    step = "steps-post" if plot.chance else "default"
    axes.plot(x, y, linestyle=dash, linewidth=1.3, markevery=max(len(x) // 8, 1), drawstyle=step, **look)
    if plot.intervals == "band":
        axes.fill_between(x, low, high, color=colour, alpha=0.15 if one.style == 0 else 0.08, linewidth=0)


def _names(plot):
    """The categories on the x axis, those of all series in their order; held-out texts last."""
    names = list(dict.fromkeys(name for one in plot.series for name in one.x))
    return sorted(names, key=lambda name: name == "held out")


def _plain(text):
    return text.replace("$", r"\$")  # no formula
