"""Our tokens are those of the server's standard analyser."""

import unicodedata

import pytest
from conftest import opened
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memorization.retrieval.analysis import MAX_TOKEN, tokenize
from memorization.retrieval.stopwords import STOP_WORDS

ALPHABETS = [
    "aB1_.,:;'\"- 9z#*\n\t\0",
    "aé1_.,:'\"’·\u00ad\u0301\u200d\ufe0f\ufe0e 9ßİΣς",
    "👍🏽👨👩👧🇩🇪🇫1#*\ufe0f\u20e3\u200d❤☺⚕©®™〰〽 a★☎\U000e0067\U000e007f🏴\u0301\ufe0e",
    "日本々〇〆ひがーカタｶﾞ゛ア１２한국ㄱᄀa1_.,'\u3099、。〽・",
    "ภาษาไทย่ລາວកေမြန်a1.\u200d",
    "אבג'\"״׳1a._ ֹ",
    "ǅĐÅﬀⅣⒶªµ٣٤٫ܐا١۲कि्षੴ௧߀שلم",
]
TEXTS = st.one_of([st.text(alphabet, max_size=40) for alphabet in [*ALPHABETS, "".join(ALPHABETS)]])


@pytest.fixture(scope="module")
def server_tokens(elastic_url):
    indices = opened(["--elastic-url", elastic_url, "--index-xsuffix", "unused"]).client.indices

    def tokens(text):
        return [token["token"] for token in indices.analyze(analyzer="standard", text=text)["tokens"]]

    return tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't take 3.5 mg, e.g. 1,000 U.S.A.", ["don't", "take", "3.5", "mg", "e.g", "1,000", "u.s.a"]),
        ("snake_case _x_ __ wi-fi a:b 3:4 o'", ["snake_case", "_x_", "wi", "fi", "a:b", "3", "4", "o"]),
        ("Don’t NAÏVE ΟΔΟΣ İ", ["don’t", "naïve", "οδοσ", "i"]),
        ("東京 ひら カタカナ 한국어 ภาษาไทย", ["東", "京", "ひ", "ら", "カタカナ", "한국어", "ภาษาไทย"]),
        ("👍🏽👨‍👩‍👧🇩🇪🇫🇷1️⃣", ["👍🏽", "👨‍👩‍👧", "🇩🇪", "🇫🇷", "1️⃣"]),
        ("a\0b \ud800c -- \n", ["a", "b", "c"]),
        ("x" * 300, ["x" * 255, "x" * 45]),
        ("", []),
    ],
)
def test_words_are_those_of_unicode(text, tokens):
    assert tokenize(text) == tokens


def test_stop_words_are_tokens():
    assert len(STOP_WORDS) == 179
    assert all(tokenize(word) == [word] for word in STOP_WORDS)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS)
def test_tokens_are_the_servers(server_tokens, text):
    assert tokenize(text) == server_tokens(text)


def test_every_character_is_a_token_where_the_server_says_so(server_tokens):
    old = unicodedata.ucd_3_2_0  # characters that both sides know
    letters = [c for c in map(chr, range(0x110000)) if old.category(c) not in ("Cn", "Cs", "Co")]
    for start in range(0, len(letters), 9000):  # the server analyses 10,000 tokens at once
        text = "\n\n".join(letters[start : start + 9000])
        assert tokenize(text) == server_tokens(text)


@pytest.mark.parametrize("alphabet", ["ab", "a1.,_", "é'a", "日a", "👍a", "𝒜𝒷", "ภา", "a\u0301", "ｱ", "한", "_"])
def test_long_words_are_cut_as_the_server_cuts_them(server_tokens, alphabet):
    for length in (MAX_TOKEN - 1, MAX_TOKEN, MAX_TOKEN + 1, 2 * MAX_TOKEN + 1, 2000):
        text = (alphabet * length)[:length] + " end"
        assert tokenize(text) == server_tokens(text)


def test_a_line_of_100_000_characters(server_tokens):
    text = "word's 3.5 é, " * 7000
    assert tokenize(text[:30_000]) == server_tokens(text[:30_000])
    assert tokenize(text) == ["word's", "3.5", "é"] * 7000
