"""A drawn sample of probes: whole samples and clusters, every group of copies, in proportion, by the seed."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.encoding.probe_sample import draw_samples, octaves
from memorization.shell.cli import UserError


@st.composite
def probes(draw, largest_cluster=4):
    """Probes of 2 to 120 samples in clusters, of 1 to 3 turns each."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = rng.integers(1, largest_cluster + 1, draw(st.integers(2, 40)))
    clusters = np.repeat(np.cumsum([0, *sizes[:-1]]), sizes)
    members = np.repeat(rng.random(len(sizes)) < 0.7, sizes)
    copies = rng.choice(draw(st.lists(st.integers(1, 40), min_size=1, max_size=6)), len(clusters))
    turns = rng.integers(1, 4, len(clusters))
    arrays = np.arange(len(clusters)), members, copies, clusters
    of_probes = (np.repeat(array, turns) for array in arrays)
    return SimpleNamespace(**dict(zip(("ids", "members", "duplicates", "clusters"), of_probes, strict=True)))


def samples_of(probes, member, mask=True):
    """ids, copies and clusters of the samples of a side that the mask chooses."""
    ids, first = np.unique(probes.ids[(probes.members == member) & mask], return_index=True)
    where = np.searchsorted(probes.ids, ids)
    return ids, probes.duplicates[where], probes.clusters[where]


@given(probes(), st.integers(6, 60), st.integers(6, 60), st.integers(0, 3))
def test_a_draw_has_whole_clusters_and_every_group_of_copies(probes, members, held_out, seed):
    chosen = draw_samples(probes, members, held_out, seed)
    assert (chosen == draw_samples(probes, members, held_out, seed)).all()
    for member, number in ((True, members), (False, held_out)):
        ids, copies, clusters = samples_of(probes, member)
        drawn, of_drawn, _ = samples_of(probes, member, chosen)
        assert set(octaves(of_drawn)) == set(octaves(copies))
        assert len(drawn) == len(ids) if number >= len(ids) else len(drawn) <= number + 6 * 4
        for cluster in np.unique(clusters):
            assert len({id in drawn for id in ids[clusters == cluster].tolist()}) == 1
    assert all(len(set(chosen[probes.ids == id])) == 1 for id in probes.ids)  # of all turns


@given(probes(largest_cluster=1), st.integers(6, 40))
def test_without_clusters_the_number_is_exact_and_the_groups_are_in_proportion(probes, number):
    chosen = draw_samples(probes, number, None, 5)
    ids, copies, _ = samples_of(probes, True)
    _, of_drawn, _ = samples_of(probes, True, chosen)
    assert len(of_drawn) == min(number, len(ids)) and chosen[~probes.members].all()
    groups = np.unique(octaves(copies))
    for group in groups if len(ids) else ():
        expected = min(number, len(ids)) * (octaves(copies) == group).mean()
        short = sum(number * (octaves(copies) == other).mean() < 1 for other in groups)  # they are given one
        assert abs((octaves(of_drawn) == group).sum() - expected) <= 1 + short


def test_each_sample_is_as_likely_as_another_of_as_many_copies():
    copies = np.repeat([1, 2, 3], [60, 30, 10])
    probes = SimpleNamespace(ids=np.arange(100), members=copies > 0, duplicates=copies, clusters=np.arange(100))
    often = np.mean([draw_samples(probes, 20, None, seed) for seed in range(1000)], 0)
    assert often[:60].mean() == pytest.approx(0.2) and often[60:].mean() == pytest.approx(0.2)
    assert abs(often - 0.2).max() < 0.07  # over five standard deviations


def test_clusters_that_fit_make_the_number_exact_and_too_large_ones_do_not_hide_their_group():
    copies, clusters = np.array([1] * 10 + [8] * 5), np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9] + [10] * 5)
    probes = SimpleNamespace(ids=np.arange(15), members=copies > 0, duplicates=copies, clusters=clusters)
    assert draw_samples(probes, 12, None, 0).sum() == 12
    small = draw_samples(probes, 3, None, 0)  # the five of 8 copies are a cluster
    assert small[10:].all() and small.sum() == 6


def test_fewer_than_one_of_each_group_are_refused():
    copies = np.array([1, 1, 2, 4, 16])
    probes = SimpleNamespace(ids=np.arange(5), members=copies > 0, duplicates=copies, clusters=np.arange(5))
    with pytest.raises(UserError, match="--members 3: the samples are of 4 groups by copies; draw one of each"):
        draw_samples(probes, 3, None, 0)
