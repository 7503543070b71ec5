"""Columns measured over groups of samples, from one pass over the detections."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from memorization.encoding.probe_sample import octaves
from memorization.results import statistics
from memorization.results.columns import Column
from memorization.results.statistics import Array
from memorization.results.summary import HELD_OUT, MEMBERS, BaseFigure, Counts, Estimate, Figure, Mean, Rate
from memorization.shell.parallel import batches

KEYS = ("id", "turn", "sample", "member", "duplicates", "cluster")  # of a generation
BATCH = 1000  # rows in memory together
Groups = Mapping[str, Array]  # name -> mask of samples


class SampleValues(NamedTuple):
    """Samples in the order of their ids. clusters: int64. probes: how many each has, int64: one a turn.

    values: for each column float64, NaN where it has no value. generations: in all.
    """

    ids: Array
    member: Array
    duplicates: Array
    clusters: Array
    probes: Array
    values: list[Array]
    generations: int
    generations_a_probe: int


class Collector:
    """Gathers the values of detections, batch by batch: no row is kept.

    A sample of several turns or generations has a share if any of them has it, and a score as the best of them; of all
    else, and of a score with a weight, their mean.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns, self._keys = columns, [array("q") for _ in KEYS]
        self._values, self._weights = [array("d") for _ in columns], [array("d") for _ in columns]

    def add(self, batch: Sequence[Any], given: Mapping[str, tuple[Array, Array]] = MappingProxyType({})) -> None:
        """given: of columns by name, float64 values and weights of the batch, NaN where there is no value."""
        for key, name in zip(self._keys, KEYS, strict=True):
            key.extend([getattr(row.generation, name) for row in batch])
        for column, values, weights in zip(self._columns, self._values, self._weights, strict=True):
            if column.name in given:
                of_batch, of_weights = given[column.name]
                values.frombytes(of_batch.tobytes())
                weights.frombytes(of_weights.tobytes())
                continue
            of_rows = [*map(column.value, batch)]
            values.extend([nan if value is None else value for value in of_rows])
            if column.weight:
                weigh, pairs = column.weight, zip(of_rows, batch, strict=True)
                weights.extend([0 if value is None else weigh(row) for value, row in pairs])

    def samples(self) -> SampleValues:
        """The values of all samples so far. They are gathered no longer: there may be no room for both."""
        ids, turns, generations, member, duplicates, clusters = (np.asarray(key) for key in self._keys)
        distinct, first, sample = np.unique(ids, return_index=True, return_inverse=True)
        folded = []
        for number, column in enumerate(self._columns):
            of_rows, weight = np.asarray(self._values[number]), np.asarray(self._weights[number])
            self._values[number] = self._weights[number] = array("d")
            if column.kind == "share" or column.kind == "score" and not column.weight:
                folded.append(np.full(len(first), np.nan))
                np.fmax.at(folded[-1], sample, of_rows)
            else:
                valid = ~np.isnan(of_rows)
                of_rows, of_valid = of_rows[valid], sample[valid]
                count, total = (np.bincount(of_valid, each, len(first)) for each in (None, of_rows))
                if column.weight:
                    several, weight = count > 1, weight[valid]  # one value alone stays what it is, to the last bit
                    total = np.where(several, np.bincount(of_valid, of_rows * weight, len(first)), total)
                    count = np.where(several, np.bincount(of_valid, weight, len(first)), count)
                folded.append(np.divide(total, count, out=np.full(len(first), np.nan), where=count > 0))
        most = int(generations.max()) + 1 if len(generations) else 1
        probes = np.bincount(np.unique(np.stack([sample, turns]), axis=1)[0], minlength=len(first))
        of_samples = (member[first].astype(bool), duplicates[first], clusters[first], probes)
        return SampleValues(distinct, *of_samples, folded, len(ids), most)


def collect(rows: Iterable[Any], columns: Sequence[Column]) -> SampleValues:
    """The values of detections, which may be any iterable: no row is kept but for a batch."""
    collector = Collector(columns)
    for batch in batches(rows, BATCH):
        collector.add(batch)
    return collector.samples()


def group_samples(samples: SampleValues) -> dict[str, Array]:
    """Masks of samples: members by copies (1, 2-3, 4-7, ..., named by those they hold), all members, held out.

    Where the members are one such group it is not named apart.
    """
    scale = np.where(samples.member, octaves(samples.duplicates), -1)
    groups = {}
    for bits in np.unique(scale[samples.member]):
        group = scale == bits
        least, most = samples.duplicates[group].min(), samples.duplicates[group].max()
        groups[f"{least} {'copy' if most == 1 else 'copies'}" if least == most else f"{least}-{most} copies"] = group
    return (groups if len(groups) > 1 else {}) | {MEMBERS: samples.member, HELD_OUT: ~samples.member}


def count_columns(groups: Groups, measured: Iterable[tuple[Column, Array]], clusters: Array) -> Counts:
    """The Counts of columns with their values. clusters: of the samples, int from 0.

    A column without any value is left out; without samples all stay.
    """
    counts = Counts({name: int(mask.sum()) for name, mask in groups.items()}, {})
    for column, values in measured:
        valid = ~np.isnan(values)
        if len(values) and not valid.any():
            continue
        bounds = value_range(column.kind, values)
        of_groups = {name: (values[mask & valid], clusters[mask & valid]) for name, mask in groups.items()}
        members, held_out = of_groups[MEMBERS], of_groups[HELD_OUT]
        difference = (
            _difference(members, held_out, column.kind, bounds) if len(members[0]) and len(held_out[0]) else None
        )
        estimates = {name: estimate(*of_group, column.kind, bounds) for name, of_group in of_groups.items()}
        shown = (column.name, column.heading, column.kind, column.meaning, column.block)
        counts.figures[column.name] = Figure(*shown, estimates, difference)
    return counts


def compare_base(
    groups: Groups, columns: Sequence[Column], values: Sequence[Array], base: Sequence[Array], clusters: Array
) -> dict[str, BaseFigure]:
    """What fine-tuning added. values, base: for each column those of the tuned and of the base model.

    Only samples with a value for both models count.
    """
    figures = {}
    for column, tuned, before in zip(columns, values, base, strict=True):
        valid = ~np.isnan(tuned) & ~np.isnan(before)
        bounds = value_range(column.kind, tuned, before)
        figures[column.name] = figure = BaseFigure({}, {})
        for name, mask in groups.items() if valid.any() else ():
            here = mask & valid
            figure.groups[name] = estimate(before[here], clusters[here], column.kind, bounds)
            if here.any():
                figure.difference[name] = paired_estimate(tuned[here], before[here], clusters[here], column.kind)
    return figures


def value_range(kind: str, *arrays: Array) -> tuple[float, float]:
    """(least, most) of a column's values: 0 and 1, but of a mean those of all that occur."""
    if kind != "mean":
        return 0.0, 1.0
    valid = np.concatenate([values[~np.isnan(values)] for values in arrays])
    return (float(valid.min()), float(valid.max())) if len(valid) else (0.0, 0.0)


def estimate(values: Array, clusters: Array, kind: str, bounds: tuple[float, float]) -> Estimate:
    """The Estimate of a column's values, none of them NaN, in a group. bounds: value_range of the column."""
    n = len(values)
    if kind == "share":
        count = int(values.sum())
        interval = statistics.wilson(*_count(values, clusters)) if n else (0.0, 1.0)
        return Rate(n=n, count=count, rate=count / n if n else None, interval=interval)
    return _estimate(kind, n, *(_mean(values, clusters, bounds) if n else (None, None, None)))


def paired_estimate(values: Array, base: Array, clusters: Array, kind: str) -> Estimate:
    """The mean difference of two values of each sample."""
    if kind == "share":
        pairs = min(statistics.effective(of_model, clusters) for of_model in (values, base))
        return _estimate(kind, len(values), *statistics.paired_difference(values > 0, base > 0, pairs))
    most = float(np.abs(values - base).max())
    return _estimate(kind, len(values), *_mean(values - base, clusters, (-most, most)))


def _difference(a: tuple[Array, Array], b: tuple[Array, Array], kind: str, bounds: tuple[float, float]) -> Estimate:
    """The mean of a column's values less that of others. a, b: values and their clusters."""
    if kind == "share":
        return _estimate(kind, None, *statistics.rate_difference(*_count(*a), *_count(*b)))
    of_a, of_b = _mean(*a, bounds), _mean(*b, bounds)
    if of_a[1] is None or of_b[1] is None:
        return _estimate(kind, None, of_a[0] - of_b[0], None, None)
    return _estimate(kind, None, *statistics.apart(of_a, of_b))


def _count(values: Array, clusters: Array) -> tuple[float, float]:
    """(count, total) of values of 0 or 1, of as many as are independent (statistics.effective)."""
    total = statistics.effective(values, clusters)
    return float(values.sum()) * (total / len(values)), total


def _mean(
    values: Array, clusters: Array, bounds: tuple[float, float]
) -> statistics.ValueAndEnds | tuple[float, None, None]:
    """The mean with an interval no narrower than those of Student's t and statistics.bounded_mean.

    Where few values are all there are, their range is not known, and where few are large, t is too narrow. (mean, None,
    None) of a single cluster.
    """
    by_t = statistics.mean(values, clusters)
    if by_t[1] is None:
        return by_t
    _, low, high = statistics.bounded_mean(values, clusters, *bounds)
    return by_t[0], min(by_t[1], low), max(by_t[2], high)


def _estimate(kind: str, n: int | None, value: float | None, low: float | None, high: float | None) -> Estimate:
    interval = None if low is None or high is None else (low, high)
    return Mean(n=n, mean=value, interval=interval) if kind == "mean" else Rate(n=n, rate=value, interval=interval)
