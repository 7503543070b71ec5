"""Plots as SVG, PDF and PNG: the same bytes for the same data."""

import io

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito 2008
MARKERS = "osD^vPX"
FORMATS = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
FORMATS |= {"png": {"Software": None}}
LONGEST = 40  # characters of a label in the legend
STYLE = {"svg.hashsalt": "memorization", "pdf.fonttype": 42, "font.size": 9, "axes.spines.top": False}
STYLE |= {"axes.spines.right": False, "axes.titlesize": 10, "legend.frameon": False, "axes.titlelocation": "left"}


def drawn(plot, formats=tuple(FORMATS)):
    """dict: the format ("svg", "pdf", "png") -> the bytes of a plots.Plot in it."""
    import matplotlib  # a second, for who draws

    matplotlib.use("agg")
    from matplotlib import pyplot
    from matplotlib.ticker import PercentFormatter

    with matplotlib.rc_context(STYLE | {"svg.hashsalt": plot.name}):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
        if plot.log:
            axes.set_xscale("log")
        names = {}  # of categories, in order
        if isinstance(plot.series[0].x[0], str):
            names = {x: place for place, x in enumerate(dict.fromkeys(x for one in plot.series for x in one.x))}
        for place, series in enumerate(plot.series):
            _draw(axes, plot, series, names, place)
        if plot.chance:
            least = min(min(one.x) for one in plot.series)
            guessed = [least ** (step / 100) for step in range(101)]
            axes.plot(guessed, guessed, color="0.5", linewidth=1, linestyle=":", label="chance")
            axes.xaxis.set_major_formatter(PercentFormatter(1))
        if names:
            axes.set_xticks(range(len(names)), [_short(name) for name in names])
            axes.margins(x=0.1)
        axes.set(title=plot.title[0].upper() + plot.title[1:], xlabel=plot.x, ylabel=plot.y)
        highest = max(0.05, *(max(one.high) for one in plot.series))
        axes.set_ylim(-0.02 * highest, 1.04 * highest)  # so that a line at 0 is seen
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if highest > 0.1 else 1))
        axes.grid(axis="y", color="0.9", linewidth=0.6)
        if len(plot.series) > 1 or plot.series[0].held_out:
            axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
        files = {}
        for name in formats:
            file = io.BytesIO()
            figure.savefig(file, format=name, metadata=FORMATS[name], dpi=200)
            files[name] = file.getvalue()
        pyplot.close(figure)
    return files


def _draw(axes, plot, series, names, place):
    run = series.run if any(one.run for one in plot.series) else place  # of a single run each line has its colour
    colour, marker = COLOURS[run % len(COLOURS)], MARKERS[run % len(MARKERS)]
    look = {"color": colour, "linestyle": "--" if series.held_out else "-", "label": _short(series.label)}
    if plot.kind == "line":
        axes.plot(series.x, series.y, linewidth=1.4, drawstyle="steps-post" if plot.chance else "default", **look)
        step = "post" if plot.chance else None
        axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.12, linewidth=0, step=step)
        return
    x = [names[value] for value in series.x] if names else series.x
    if names and len(names) > 1:
        x = [value + 0.5 * (place + 0.5 - len(plot.series) / 2) / len(plot.series) for value in x]
    beyond = [[y - low for y, low in zip(series.y, series.low, strict=True)]]
    beyond.append([high - y for y, high in zip(series.y, series.high, strict=True)])
    look["linestyle"] = "none" if names else look["linestyle"]
    filling = {"markerfacecolor": "white"} if series.held_out else {}
    axes.errorbar(x, series.y, beyond, marker=marker, markersize=4.5, linewidth=1.2, capsize=2.5, **look, **filling)


def _short(text):
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}\u2026"
