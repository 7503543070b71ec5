"""Our terms: Unicode's words, such that every whitespace tokenizer gives them back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.retrieval.analysis import ASCII_WORD, UNICODE_WORD, tokenize
from memorization.retrieval.stopwords import STOP_WORDS


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Don't take 3.5 mg, e.g. 1,000 U.S.A.", ["don't", "take", "3.5", "mg", "e.g", "1,000", "u.s.a"]),
        ("snake_case _x_ __ wi-fi a:b 3:4 o'", ["snake_case", "_x_", "wi", "fi", "a:b", "3", "4", "o"]),
        ("Don’t NAÏVE ΟΔΟΣ ΑΣ^Β", ["don’t", "naïve", "οδος", "ας", "β"]),
        (
            "東京 ひら カタカナ ｶﾞ 한국어 ภาษาไทย 𗀀𗀁",
            ["東", "京", "ひ", "ら", "カタカナ", "ｶﾞ", "한국어", *"ภา าษ ษา าไ ไท ทย".split(), "𗀀", "𗀁"],
        ),
        ("ก็ ไม่มี x", ["ก็", "ไม่", "ม่มี", "x"]),
        ("👍🏽👨‍👩‍👧🇩🇪🇫🇷1️⃣ ©", ["👍🏽", "👨‍👩‍👧", "🇩🇪", "🇫🇷", "1️⃣", "©"]),
        ("e\u0301a\u0308 \u0301 कि שָׁלוֹם ג'ורג'", ["e\u0301a\u0308", "कि", "שָׁלוֹם", "ג'ורג"]),
        ("10\u202f000 a\u2028b\u3000c", ["10", "000", "a", "b", "c"]),
        ("a\0b \ud800c -- \n", ["a", "b", "c"]),
        ("é ‿ ＿＿ __\u0301", ["é"]),
        ("x" * 300, ["x" * 255, "x" * 45]),
        ("𝒜" * 300, ["𝒜" * 127, "𝒜" * 127, "𝒜" * 46]),
        ("", []),
    ],
)
def test_words_are_those_of_unicode(text, terms):
    assert tokenize(text) == terms


def test_stop_words_are_terms():
    assert len(STOP_WORDS) == 179
    assert all(tokenize(word) == [word] for word in STOP_WORDS)


@given(st.text("aB1_.,:;'\"- 9z#*\n\t\0\x1c"))
def test_ascii_has_one_set_of_words(text):
    assert ASCII_WORD.findall(text.lower()) == [word.lower() for word in UNICODE_WORD.findall(text)]


def is_one_term_to_others(term):
    """Whether neither Java's white space nor Unicode's (Rust's) nor Python's is in it, and Lucene need not cut it."""
    return term.split() == [term] and len(term.encode("utf-16-le")) <= 2 * 255


def test_no_white_space_gets_into_a_term():
    """Python's, which takes in Java's and Unicode's (Rust's); lower case makes none of anything else."""
    characters = [chr(number) for number in range(0x110000)]
    white = [c for c in characters if c.isspace()]
    assert len(white) == 29 and not any(" " in c.lower() or c.lower().isspace() for c in characters if c not in white)
    for c in white:
        assert all(map(is_one_term_to_others, tokenize(f"aé{c}b 1{c}2 カ{c}カ _{c}_ א{c}א ก{c}ก"))), hex(ord(c))


@given(st.text())
def test_terms_stay_whole(text):
    assert all(map(is_one_term_to_others, tokenize(text * 40)))
    terms = tokenize(text)
    assert tokenize(" ".join(terms)) == terms


@pytest.mark.parametrize("unit", ["a", "_", "a_'", "é\u0301", "🇩🇪", "👨‍", "カ_", "ภ", ".'", "\u200d", "1,", "日"])
def test_time_is_linear_in_the_text(unit):
    """A text of a million characters; were it quadratic, this would take hours."""
    most = 2_000_001 if unit == "ภ" else 1_000_001  # where each two neighbours are a term
    assert len("".join(tokenize("é" + unit * (1_000_000 // len(unit))))) <= most
