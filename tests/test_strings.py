"""Strings on disk against a list in memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.store import strings


@given(
    texts=st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=4)), others=st.sets(st.text(max_size=4))
)
def test_strings_are_found_and_read_even_where_hashes_are_the_same(tmp_path_factory, texts, others):
    path, texts = tmp_path_factory.mktemp("strings") / "x", sorted(texts)
    asked = [*texts, *others]
    for hash in (strings._hash, lambda encoded: len(encoded) % 2):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(strings, "_hash", hash)
            strings.write_strings(path, texts)
            stored = strings.Strings(path)
            numbers = stored.numbers(asked).tolist()
        assert [stored[number] for number in range(len(stored))] == texts
        assert numbers == [texts.index(string) if string in texts else -1 for string in asked]
