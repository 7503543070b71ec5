"""The parts of the embedded index: its search against looking at every document, its strings against a dict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.retrieval import parts, postings
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.store import strings
from support.indexes import MADE_OF

WORDS = [f"word{i}" for i in range(8)]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=40).map(" ".join), min_size=1, max_size=60)


@given(
    texts=TEXTS,
    seed=st.integers(0, 100),
    k=st.integers(1, 7),
    full=st.sampled_from([1, 9, 50, 1 << 24]),
    block=st.sampled_from([1, 8, 4096]),
    lookup=st.sampled_from([0, 1, 32]),
    rare=st.sampled_from([1, 4, 100]),
)
def test_the_best_are_those_of_looking_at_every_document(tmp_path_factory, texts, seed, k, full, block, lookup, rare):
    """With parts and blocks of any size, scans as well as searches."""
    rng, index = np.random.default_rng(seed), EmbeddedIndex(tmp_path_factory.mktemp("index"), "test")
    queries = [" ".join(rng.choice(WORDS, rng.integers(1, 12))) for _ in range(5)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(parts, "FULL", full)
        patched.setattr(postings, "BLOCK", block)
        patched.setattr(postings, "LOOKUP", lookup)
        patched.setattr(postings, "RARE", rare)
        for module, name in ((parts, "best"), (postings, "_least"), (postings, "_gather")):  # plain Python reads these
            function = getattr(module, name)
            patched.setattr(module, name, getattr(function, "py_func", function))
        index.load(((str(i), text) for i, text in enumerate(texts)), MADE_OF)
        found = index.search(queries, k)
    every = index.search(queries, len(texts) + 1)  # so many that nothing can be left out
    assert found == [hits[:k] for hits in every]
    for query, hits in zip(queries, every, strict=True):
        words = set(query.split())
        assert {hit.id for hit in hits} == {str(i) for i, text in enumerate(texts) if words & set(text.split())}


@given(
    known=st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)), others=st.sets(st.text(max_size=4))
)
def test_strings_are_found_and_read_even_where_hashes_are_the_same(tmp_path_factory, known, others):
    path, known = tmp_path_factory.mktemp("strings") / "x", sorted(known)
    asked = [*known, *others]
    for hash in (strings._hash, lambda encoded: len(encoded) % 2):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(strings, "_hash", hash)
            strings.write_strings(path, known)
            stored = strings.Strings(path)
            numbers = stored.numbers(asked).tolist()
        assert [stored[number] for number in range(len(stored))] == known
        assert numbers == [known.index(string) if string in known else -1 for string in asked]
