"""Stems are those of NLTK's Porter stemmer in its default mode."""

import random
from itertools import product
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from memorization.alignment.porter import ENDINGS2, ENDINGS3, ENDINGS4, stem
from memorization.store.files import read_json

DIALOGUES = Path(__file__).parents[1] / "../shared/data/chatdoctor5k.json"
NLTK = PorterStemmer().stem
ENDINGS = ("", *ENDINGS2, *ENDINGS3, *ENDINGS4, *"s sses ies ss ied eed ed ing y e ll logi at bl iz *d 's -".split())


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=12), st.lists(st.sampled_from(ENDINGS), max_size=3).map("".join))
@example("y" * 70, "ing")
@example("\u0130", "ational")
def test_any_text_with_any_endings(text, endings):
    word = (text + endings).lower()
    assert stem(word) == NLTK(word)


def test_all_pairs_of_endings():
    rng = random.Random(0)
    for endings in product(ENDINGS, ENDINGS):
        word = "".join(rng.choices("aeioubtlswxyyz", k=rng.randrange(5))) + "".join(endings)
        assert stem(word) == NLTK(word)


def test_a_vocabulary():
    if not DIALOGUES.exists():
        pytest.skip("needs ../shared/data")
    texts = (text for row in read_json(DIALOGUES) for text in row.values() if isinstance(text, str))
    words = {word.strip(".,?!()").lower() for text in texts for word in text.split()}
    assert [word for word in words if stem(word) != NLTK(word)] == [] and len(words) > 5_000
