"""A seeded sample of probes: so many samples of a side, every number of copies in proportion (design.md, Probes)."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np

from memorization.shell.cli import UserError


class OfProbes(Protocol):
    """Arrays beside each other, an entry a probe: its sample's id, side, copies and cluster (probes.Probes)."""

    ids: np.ndarray
    members: np.ndarray
    duplicates: np.ndarray
    clusters: np.ndarray


def octaves(copies: np.ndarray) -> np.ndarray:
    """The bits of numbers of copies, int: equal for those of a group (1, 2-3, 4-7, ... copies)."""
    return np.frexp(copies)[1]


def draw_samples(
    probes: OfProbes,
    members: int | None,
    held_out: int | None,
    seed: int,
    flags: tuple[str, str] = ("--members", "--held-out"),
) -> np.ndarray:
    """Which of the probes (bool) a random choice of so many members and held-out samples has; None is all of a side.

    All probes of a sample and all samples of a cluster are drawn together; a cluster counts as many samples as it has,
    so the number is met exactly unless every cluster that is left is too large. Of each number of copies the share is
    that of the side, and no group of copies (octaves) is left without a sample. The same sample is likely to be drawn
    again from other probes of the same data. flags: that set the numbers. Raises UserError for a number that is smaller
    than that of the groups.
    """
    ids, first = np.unique(probes.ids, return_index=True)
    member, copies, clusters = (array[first] for array in (probes.members, probes.duplicates, probes.clusters))
    priority = np.random.default_rng(seed).random(int(clusters.max()) + 1)[clusters]
    chosen = np.ones(len(ids), bool)
    for side, number, flag in zip((True, False), (members, held_out), flags, strict=True):
        here = np.flatnonzero(member == side)
        if number is None or number >= len(here):
            continue
        groups = len(np.unique(octaves(copies[here])))
        if number < groups:
            raise UserError(f"{flag} {number}: the samples are of {groups} groups by copies; draw one of each at least")
        chosen[here] = _draw(copies[here], clusters[here], priority[here], number)
    return chosen[np.searchsorted(ids, probes.ids)]


def _draw(copies: np.ndarray, clusters: np.ndarray, priority: np.ndarray, number: int) -> np.ndarray:
    """Which samples of a side are drawn. priority: of each sample's cluster; the lowest go first."""
    _, of_cluster, cluster = np.unique(clusters, return_index=True, return_inverse=True)
    size, most = np.bincount(cluster), np.zeros(len(of_cluster), np.int64)
    np.maximum.at(most, cluster, copies)
    levels, level = np.unique(most, return_inverse=True)
    quotas = _quotas(levels, np.bincount(level, size), number)
    taken, order = np.zeros(len(size), bool), np.argsort(priority[of_cluster])

    def take(candidates: Iterable[int], room: int) -> None:
        for one in candidates:
            if not room:
                break
            if not taken[one] and size[one] <= room:
                taken[one], room = True, room - size[one]

    groups, of_levels = octaves(copies), octaves(levels)
    for group in np.unique(groups)[::-1]:
        candidates = order[np.isin(order, cluster[groups == group])]
        if not taken[candidates].any():
            fits = size[candidates] <= quotas[of_levels == group].sum()
            taken[candidates[fits.argmax() if fits.any() else size[candidates].argmin()]] = True
    for place, quota in enumerate(quotas):
        here = order[level[order] == place]
        left = number - int(size[taken].sum())
        take(here, max(0, min(left, quota - int(size[here][taken[here]].sum()))))
    take(order, max(0, number - int(size[taken].sum())))
    return taken[cluster]


def _quotas(levels: np.ndarray, totals: np.ndarray, number: int) -> np.ndarray:
    """How many samples to draw of each number of copies, `levels`, ascending, that have so many, `totals`.

    In proportion, so that neighbours together are so too; of every group of copies one at the least.
    """
    quotas = np.diff(np.round(np.cumsum(totals) * (number / totals.sum())), prepend=0).astype(np.int64)
    groups = octaves(levels)
    for group in np.unique(groups):
        if not quotas[groups == group].sum():
            quotas[quotas.argmax()] -= 1
            quotas[np.where(groups == group, totals, 0).argmax()] += 1
    return quotas
