"""Attention of memorized probes beside that of others, and of one task beside another, head by head."""

import csv
import io
from itertools import combinations
from pathlib import Path
from typing import TypedDict

import msgspec
import numpy as np
from scipy import stats

from memorization.results import drawing
from memorization.results.layout import visible
from memorization.results.statistics import LEVEL, holm
from memorization.shell.cli import UserError
from memorization.store.directories import changed, files_of, read_mark
from memorization.store.files import read_text
from memorization.store.manifests import Kind, checked, identity

MEASURES = ("entropy", "gini", "effective_tokens", "prefix_mass")
TITLES = ("entropy / its maximum", "Gini coefficient", "effective number of tokens", "mass on the prefix")
LEAST = 2  # samples on either side
COLUMNS = ("comparison", "measure", "layer", "head", "n_a", "n_b", "difference", "low", "high", "rank_biserial", "p")


class Studied(TypedDict):
    """A task of an attention study: the generations that it is of, and their contents."""

    name: str
    generations: str
    contents: str


class StudySettings(TypedDict):
    tasks: list[Studied]


class StudyFacts(TypedDict):
    """heat_maps: of the files of the maps, their titles."""

    heat_maps: dict[str, str]


class StudyManifest(msgspec.Struct):
    made_of: StudySettings
    facts: StudyFacts


ATTENTION = Kind("attention", "attention_analysis.py", StudyManifest)


def compare(a, b, boot, seed):
    """Of samples [n, ...] of two groups, arrays of the other axes: difference of means a - b; low, high, its 95 %
    interval (percentile bootstrap over samples, so many draws); rank_biserial, from -1 to 1: the chance that one of a
    is the larger less that of b; p, two-sided (Mann-Whitney, normal approximation with ties; 1 where all are alike).
    """
    rng = np.random.default_rng(seed)
    means = []
    for group in (a, b):
        share = rng.multinomial(len(group), np.full(len(group), 1 / len(group)), boot) / len(group)
        means.append((share @ group.reshape(len(group), -1)).reshape(boot, *group.shape[1:]))
    low, high = np.quantile(means[0] - means[1], (0.025, 0.975), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        test = stats.mannwhitneyu(a, b, axis=0, method="asymptotic")
    return {
        "difference": a.mean(0) - b.mean(0),
        "low": low,
        "high": high,
        "rank_biserial": 2 * test.statistic / (len(a) * len(b)) - 1,
        "p": np.nan_to_num(test.pvalue, nan=1.0),
    }


def groups(tasks):
    """The comparisons that there are: (name, samples a, samples b), with LEAST on both sides.

    tasks: dict name -> (values [members, layers, heads, MEASURES], memorized [members], copies [members]). Within each
    task the memorized less the other members, of all and of as many copies; then each task less each later one. Raises
    UserError for tasks whose models differ in layers or heads.
    """
    found = []
    for name, (values, memorized, copies) in tasks.items():
        sides = {f"{name}, memorized - other": np.ones(len(copies), bool)}
        if len(several := np.unique(copies)) > 1:
            sides |= {f"{name}, memorized - other, of copies {n}": copies == n for n in several.tolist()}
        found += [(title, values[mask & memorized], values[mask & ~memorized]) for title, mask in sides.items()]
    for one, other in combinations(tasks, 2):
        a, b = tasks[one][0], tasks[other][0]
        if a.shape[1:] != b.shape[1:]:
            raise UserError(f"{one} and {other}: their models differ in layers or heads; compare models of one shape")
        found.append((f"{one} - {other}", a, b))
    return [(name, a, b) for name, a, b in found if min(len(a), len(b)) >= LEAST]


def comparisons(tasks, boot, seed):
    """(name, measure, n_a, n_b, what `compare` gives, [layers, heads]) of `groups`, p corrected by Holm for all heads.

    A measure that is not known of a model, the mass on the prefix of an encoder-decoder model, is left out.
    """
    for name, a, b in groups(tasks):
        for index, measure in enumerate(MEASURES):
            of_a, of_b = a[..., index].astype(float), b[..., index].astype(float)
            if np.isnan(of_a).any() or np.isnan(of_b).any():
                continue
            found = compare(of_a, of_b, boot, seed)
            found["p"] = holm(found["p"].ravel()).reshape(found["p"].shape)
            yield name, measure, len(a), len(b), found


def comma_separated(found):
    """A row for each head of comparisons, as CSV with the header COLUMNS; layers and heads are counted from 0."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for name, measure, n_a, n_b, of_heads in found:
        for layer, head in np.ndindex(of_heads["p"].shape):
            numbers = [format(of_heads[column][layer, head], ".6g") for column in COLUMNS[6:]]
            writer.writerow([name, measure, layer, head, n_a, n_b, *numbers])
    return file.getvalue()


def heat_map(name, measure, n_a, n_b, found):
    """A comparison as SVG: differences by layer and head, blue below 0 and red above, * where Holm's p is at most 5 %.

    The same bytes for the same numbers.
    """
    from matplotlib.figure import Figure

    layers, heads = found["p"].shape
    most, name = abs(found["difference"]).max() or 1.0, visible(name)
    with drawing.settings(name, "attention"):
        figure = Figure((2.5 + 0.35 * heads, 1.8 + 0.35 * layers), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(found["difference"], cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
        for layer, head in np.argwhere(found["p"] <= LEVEL):
            dark = abs(found["difference"][layer, head]) > 0.6 * most
            axes.text(head, layer, "*", ha="center", va="center", color="white" if dark else "black")
        title = TITLES[MEASURES.index(measure)]
        axes.set(xlabel="head", ylabel="layer", xticks=range(heads), yticks=range(layers))
        axes.set_title(f"{name}\n{title} (n = {n_a}, {n_b})", fontsize=9)
        figure.colorbar(image, ax=axes, label="difference of means")
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def heat_maps(directory, generations):
    """(title, SVG) of every heat map that attention_analysis.py wrote to a directory, in order.

    generations: those that are looked at, as detections name what made them. Raises UserError for a study that is of
    none of them, or in which a file is not as it was written.
    """
    manifest = checked(Path(directory) / "attention.npz", ATTENTION)
    ours = {identity([task["generations"], task["contents"]]) for task in manifest.made_of["tasks"]}
    if not ours & set(generations):
        raise UserError(f"{directory}: is a study of other generations than those of these results; name theirs")
    maps = manifest.facts["heat_maps"]
    written = files_of(read_mark(directory, "study"))
    if wrong := changed(Path(directory), {name: written.get(name) for name in maps}):
        raise UserError(f"{directory}: {wrong} is not as it was written; run attention_analysis.py again")
    return [(visible(title), read_text(Path(directory) / name)) for name, title in maps.items()]
