"""Copies are found by their hashes, and all of a text's copies stay on one side."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.encoding.sample_store import Sample, SampleStore, store_samples
from memorization.encoding.split import draw_members, find_copies


@given(st.lists(st.sampled_from(["", "a", "b", "日本", "c" * 50]) | st.text(max_size=2), min_size=1))
def test_repeats_are_those_of_the_texts(texts):
    digests = b"".join(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16] for text in texts)
    first, copies = find_copies(np.frombuffer(digests, np.uint64).reshape(-1, 2))
    assert first.tolist() == [texts.index(text) for text in texts]
    assert copies.tolist() == [texts.count(text) for text in texts]


@given(st.lists(st.integers(0, 9), min_size=2).filter(lambda x: len(set(x)) > 1), st.floats(0.01, 0.99))
def test_a_share_of_the_distinct_samples_is_held_out_with_all_copies(numbers, share):
    first = np.array([numbers.index(number) for number in numbers])
    member = draw_members(first, first, share, seed=1)
    inside, outside = ({numbers[i] for i in np.flatnonzero(side)} for side in (member, ~member))
    assert not inside & outside
    distinct = len(set(numbers))
    assert len(outside) == min(max(round(distinct * share), 1), distinct - 1)


def test_another_seed_gives_another_split():
    first = np.arange(100)
    assert (draw_members(first, first, 0.5, 1) == draw_members(first, first, 0.5, 1)).all()
    assert (draw_members(first, first, 0.5, 1) != draw_members(first, first, 0.5, 2)).any()


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2500])
def test_stored_samples_come_back_in_batches(tmp_path, count):
    texts = [f"text {i % 700}\n日本" for i in range(count)]
    hashes, data = store_samples((Sample(text, (5, 6), 2) for text in texts), tmp_path / "samples")
    samples = SampleStore(tmp_path / "samples")
    batches = [samples[n].to_pylist() for n in range(len(samples))]
    assert [row for batch in batches for row in batch] == [
        {"text": text, "targets": [5, 6], "body": 2} for text in texts
    ]
    assert all(len(batch) == 1000 for batch in batches[:-1])
    assert len(np.unique(hashes, axis=0)) == len(set(texts))
    assert store_samples([Sample(text, (5, 6), 2) for text in texts], tmp_path / "again")[1] == data
    for other in ((5, 7), 2), ((5,), 6), ((5, 6), 1):
        assert not count or store_samples([Sample(text, *other) for text in texts], tmp_path / "parted")[1] != data
    moved = ["".join(texts[:2]), *texts[2:]]  # the same characters otherwise divided
    assert count < 2 or store_samples([Sample(text, (5, 6), 2) for text in moved], tmp_path / "moved")[1] != data


def test_long_texts_make_small_batches(tmp_path):
    texts = ["x" * 3_000_000, "y" * 3_000_000, "z", "u" * 9_000_000, "v"]
    store_samples([Sample(text, ()) for text in texts], tmp_path / "samples")
    samples = SampleStore(tmp_path / "samples")
    assert [len(samples[n]) for n in range(len(samples))] == [1, 2, 1, 1]
