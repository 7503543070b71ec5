"""Attention of memorized probes beside that of others, and of one task beside another, head by head."""

import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import NamedTuple, TypedDict

import msgspec
import numpy as np
from scipy import stats

from memorization.results import drawing
from memorization.results.formats import comma_separated, visible
from memorization.results.statistics import LEVEL, Array, holm
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


class HeadFigures(NamedTuple):
    """What two groups of samples differ in, arrays [layers, heads]. difference: of the means, a - b.

    low, high: its 95 % interval (percentile bootstrap over samples). rank_biserial: from -1 to 1, the chance that one
    of a is the larger less that of b. p: two-sided (Mann-Whitney, normal approximation with ties; 1 if all are alike).
    """

    difference: Array
    low: Array
    high: Array
    rank_biserial: Array
    p: Array


class AttentionComparison(NamedTuple):
    """Two groups of n_a and n_b samples compared in a measure. p of the heads is corrected by Holm."""

    name: str
    measure: str
    n_a: int
    n_b: int
    heads: HeadFigures


Task = tuple[Array, Array, Array]  # values [members, layers, heads, MEASURES], memorized, copies


def compare_samples(a: Array, b: Array, boot: int, seed: int) -> HeadFigures:
    """Compare two groups of samples [n, layers, heads]. boot: draws of the bootstrap."""
    rng = np.random.default_rng(seed)
    means = []
    for group in (a, b):
        share = rng.multinomial(len(group), np.full(len(group), 1 / len(group)), boot) / len(group)
        means.append((share @ group.reshape(len(group), -1)).reshape(boot, *group.shape[1:]))
    low, high = np.quantile(means[0] - means[1], (0.025, 0.975), axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        test = stats.mannwhitneyu(a, b, axis=0, method="asymptotic")
    rank_biserial = 2 * test.statistic / (len(a) * len(b)) - 1
    return HeadFigures(a.mean(0) - b.mean(0), low, high, rank_biserial, np.nan_to_num(test.pvalue, nan=1.0))


def sample_groups(tasks: Mapping[str, Task]) -> list[tuple[str, Array, Array]]:
    """The comparisons that there are: (name, samples a, samples b), with LEAST on both sides.

    Within each task the memorized less the other members, of all and of as many copies; then each task less each later
    one. Raises UserError for tasks whose models differ in layers or heads.
    """
    groups = []
    for name, (values, memorized, copies) in tasks.items():
        sides = {f"{name}, memorized - other": np.ones(len(copies), bool)}
        if len(several := np.unique(copies)) > 1:
            sides |= {f"{name}, memorized - other, of copies {n}": copies == n for n in several.tolist()}
        groups += [(title, values[mask & memorized], values[mask & ~memorized]) for title, mask in sides.items()]
    for one, other in combinations(tasks, 2):
        a, b = tasks[one][0], tasks[other][0]
        if a.shape[1:] != b.shape[1:]:
            raise UserError(f"{one} and {other}: their models differ in layers or heads; compare models of one shape")
        groups.append((f"{one} - {other}", a, b))
    return [(name, a, b) for name, a, b in groups if min(len(a), len(b)) >= LEAST]


def compare_heads(tasks: Mapping[str, Task], boot: int, seed: int) -> Iterator[AttentionComparison]:
    """All comparisons of sample_groups.

    A measure that is not known of a model, the mass on the prefix of an encoder-decoder model, is left out.
    """
    for name, a, b in sample_groups(tasks):
        for index, measure in enumerate(MEASURES):
            of_a, of_b = a[..., index].astype(float), b[..., index].astype(float)
            if np.isnan(of_a).any() or np.isnan(of_b).any():
                continue
            heads = compare_samples(of_a, of_b, boot, seed)
            corrected = holm(heads.p.ravel()).reshape(heads.p.shape)
            yield AttentionComparison(name, measure, len(a), len(b), heads._replace(p=corrected))


def comparisons_csv(comparisons: Iterable[AttentionComparison]) -> str:
    """A row for each head of comparisons, as CSV with the header COLUMNS; layers and heads are counted from 0."""
    rows = (
        [name, measure, layer, head, n_a, n_b, *(format(numbers[layer, head], ".6g") for numbers in heads)]
        for name, measure, n_a, n_b, heads in comparisons
        for layer, head in np.ndindex(heads.p.shape)
    )
    return comma_separated(COLUMNS, rows)


def heat_map(comparison: AttentionComparison) -> str:
    """A comparison as SVG: differences by layer and head, blue below 0 and red above, * where Holm's p is at most 5 %.

    The same bytes for the same numbers.
    """
    from matplotlib.figure import Figure

    heads, name = comparison.heads, visible(comparison.name)
    rows, columns = heads.p.shape
    most = abs(heads.difference).max() or 1.0
    with drawing.settings(name, "attention"):
        figure = Figure((2.5 + 0.35 * columns, 1.8 + 0.35 * rows), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(heads.difference, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
        for layer, head in np.argwhere(heads.p <= LEVEL):
            dark = abs(heads.difference[layer, head]) > 0.6 * most
            axes.text(head, layer, "*", ha="center", va="center", color="white" if dark else "black")
        title = TITLES[MEASURES.index(comparison.measure)]
        axes.set(xlabel="head", ylabel="layer", xticks=range(columns), yticks=range(rows))
        axes.set_title(f"{name}\n{title} (n = {comparison.n_a}, {comparison.n_b})", fontsize=9)
        figure.colorbar(image, ax=axes, label="difference of means")
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def heat_maps(directory: Path, generations: Iterable[str]) -> list[tuple[str, str]]:
    """(title, SVG) of every heat map that attention_analysis.py wrote to a directory, in order.

    generations: those of the report, as detections name what made them. Raises UserError for a study that is of none of
    them, or in which a file is not as it was written.
    """
    manifest = checked(directory / "attention.npz", ATTENTION)
    ours = {identity([task["generations"], task["contents"]]) for task in manifest.made_of["tasks"]}
    if not ours & set(generations):
        raise UserError(f"{directory}: is a study of other generations than those of these results; name theirs")
    maps = manifest.facts["heat_maps"]
    written = files_of(read_mark(directory, "study"))
    if name := changed(directory, {name: written.get(name) for name in maps}):
        raise UserError(f"{directory}: {name} is not as it was written; run attention_analysis.py again")
    return [(visible(title), read_text(directory / name)) for name, title in maps.items()]
