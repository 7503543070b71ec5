"""The most frequent 3-gram is that of a plain count."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.detection.detect import repeats
from memorization.encoding.words import words

INT64 = np.iinfo(np.int64)
few = st.integers(0, 3)
far = st.sampled_from([INT64.min, INT64.min + 1, -1, 0, 1, INT64.max - 1, INT64.max])  # words are hashes


@given(st.one_of(st.lists(few, max_size=60), st.lists(far, max_size=60), st.lists(st.integers(INT64.min, INT64.max))))
def test_as_a_plain_count(words):
    count = Counter(zip(words, words[1:], words[2:], strict=False))
    assert repeats(np.array(words, np.int64)) == max(count.values(), default=0)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("", 0),
        ("no no", 0),
        ("no no no", 1),
        ("no no no no", 2),  # they overlap
        ("No. No, no! NO", 2),  # neither case nor punctuation makes a word
        ("I do not know. " * 10, 10),
        ("I do not know. You do not know. They do not know.", 3),
        ("我不知道。" * 10, 10),
        ("わからない" * 10, 10),
        ("ไม่รู้ " * 10, 10),
        ("मुझे नहीं पता। " * 10, 10),
        ("... !!! ..." * 10, 0),
    ],
)
def test_of_text(text, times):
    assert repeats(words(text).hashes) == times


def test_a_long_text():
    words = np.random.default_rng(0).integers(INT64.min, INT64.max, 100_000)
    words[np.arange(0, 700, 7)[:, None] + np.arange(3)] = words[-3:]
    assert repeats(words) == 101
    assert repeats(np.zeros(100_000, np.int64)) == 99_998
