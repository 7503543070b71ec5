"""Token metrics of extraction against their definition."""

from hypothesis import given
from hypothesis import strategies as st

from memorization.extraction.matches import exact_match, matched_tokens

tokens = st.lists(st.integers(0, 2), max_size=12)


@given(tokens, tokens)
def test_matched_tokens_is_the_length_of_the_common_start(generation, suffix):
    n = matched_tokens(generation, suffix)
    assert generation[:n] == suffix[:n]
    assert n == min(len(generation), len(suffix)) or generation[n] != suffix[n]


@given(tokens, tokens, st.integers(1, 12))
def test_an_exact_match_reproduces_k_tokens_or_the_whole_suffix(generation, suffix, limit):
    generation = generation[:limit]
    assert exact_match(generation, suffix, limit) == (generation[: len(suffix)] == suffix[:limit])
