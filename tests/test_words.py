"""Words in any script: the segments of UAX #29 that `regex` finds, parted at punctuation; their columns by UAX #11."""

import subprocess
import sys
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from memorization.encoding import words as module
from memorization.encoding.words import words

# of each kind that the rules tell apart, and every script of the known answers
SAMPLE = "aZßİéẹñ09٣५_.,:;'’·-!\"€½²①🙂🇩\u0301\u0302\u0323\u00ad\u200b\u200d\u2060\ufeff\ufe0f \t\n\u00a0\u3000\ud800"
SAMPLE += "שׁ״ب\u064bكि\u093fनाก็ำเກ\u0eb1កាမြབོ་ㄅꀀꦲꦶᬓᬶ你々〇〻𠀀、。「がｶﾞカーｱ゙あ한각ᄀ\u1161\u11a8ﬁÅΣς𝐀Ｈ１ⅣǅɐѢ𑀓"
SAMPLE += "\U000e0100\U000e0041"
ASSIGNED = st.characters(exclude_categories=["Cn", "Cs"])  # to this Python; those of `regex` are more
texts = st.one_of(
    st.text(st.sampled_from(SAMPLE), max_size=40),
    st.text(ASSIGNED, max_size=20),
    st.text(st.sampled_from("ab'. 12你 ")),
)


def words_of(text):
    return [text[start:end] for start, end in words(text).bounds.tolist()]


def in_segments(text):
    """[start, end) of the words of a text, the slow and obvious way."""
    spans, hidden = [], r"[\p{WB=Format}\p{WB=ZWJ}[\p{Default_Ignorable_Code_Point}--\u200B]]"
    mark = rf"[[\p{{M}}\p{{WB=Extend}}]--{hidden}]"
    with_marks = rf"(?:{hidden}*+{mark})*+"
    letter = rf"[[\p{{L}}\p{{Nl}}\p{{Nd}}\p{{Han}}]--[\p{{P}}{mark}{hidden}]]"
    alone = rf"(?:(?={module.WITHOUT_BLANKS}){letter}{with_marks})"
    run = rf"(?!{module.WITHOUT_BLANKS}){letter}{with_marks}"
    word = regex.compile(rf"{alone}|{run}(?:{hidden}*+{run})*", regex.V1)
    bounds = [0, *(match.start() for match in regex.finditer(r"\b", text, regex.WORD)), len(text)]
    for start, end in pairwise(sorted(set(bounds))):
        spans += [match.span() for match in word.finditer(text[:end], start)]
    return spans


def in_columns(text):
    """The length of a text, the slow and obvious way, by the tables of this Python."""
    length, previous = 0, None
    for start, end in in_segments(text):
        length += previous is not None and regex.search(r"\p{White_Space}", text[previous:start]) is not None
        for character in text[start:end]:
            wide = unicodedata.east_asian_width(character) in "WF"
            second = regex.match(r"[\p{Hangul_Syllable_Type=V}\p{Hangul_Syllable_Type=T}]", character)
            shown = unicodedata.category(character)[0] != "M" and unicodedata.category(character) != "Cf" and not second
            length += (2 if wide else 1) * shown
        previous = end
    return length


def compared(word):
    """A word as it is compared, the slow way; marks behind a letter in order."""
    shown = regex.sub(r"[\p{WB=Format}\p{WB=ZWJ}\p{Default_Ignorable_Code_Point}]", "", word)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", shown).casefold())
    parts = regex.findall(r"\P{ccc=0}+|\p{ccc=0}", folded)
    return ["".join(sorted(part)) for part in parts]


@given(texts)
def test_words_are_those_of_the_annex_parted_at_punctuation(text):
    assert [tuple(one) for one in words(text).bounds.tolist()] == in_segments(text)


@given(texts, texts)
def test_words_are_equal_as_nfkc_casefold_has_it(text, other):
    both = words_of(text) + words_of(other)
    hashes = [*words(text).hashes.tolist(), *words(other).hashes.tolist()]
    for word, number in zip(both, hashes, strict=True):
        for second, its in zip(both, hashes, strict=True):
            assert (number == its) == (compared(word) == compared(second)), (word, second)


@given(texts)
def test_a_word_does_not_depend_on_what_follows(text):
    whole = words(text)
    for k, (_, end) in enumerate(whole.bounds.tolist(), 1):
        for one, all_ in zip(words(text[:end]), whole, strict=True):
            assert one.tolist() == all_[:k].tolist()
    assert not any(
        set(regex.findall(r"[\p{P}\p{S}\s]", word)) for word in words_of(text) if not regex.search(r"\p{Han}", word)
    )


@given(texts)
def test_length_is_columns_and_white_space_between_words(text):
    table = words(text)
    assert table.length() == in_columns(text)
    begins, ends = np.triu_indices(len(table.hashes))
    for (start, end), length in zip(
        zip(table.bounds[begins, 0], table.bounds[ends, 1], strict=True),
        table.lengths(begins, ends + 1).tolist(),
        strict=True,
    ):
        assert words(text[start:end]).length() == length


@pytest.mark.parametrize(
    ("text", "expected", "length"),
    [
        ("", [], 0),
        (" . ", [], 0),
        ("don't say 3.14", ["don", "t", "say", "3", "14"], 12),
        ("dmitri@mailbox.org.<|im_end|>", ["dmitri", "mailbox", "org", "im", "end"], 21),
        ("a . . . . . . . . b", ["a", "b"], 3),
        ("snake_case und Straße\u00ad", ["snake", "case", "und", "Straße"], 20),
        ("Это ёлка", ["Это", "ёлка"], 8),
        ("كتابٌ جديد", ["كتابٌ", "جديد"], 9),
        ("किताब पढ़ना", ["किताब", "पढ़ना"], 7),
        ("北京大学，ok", [*"北京大学", "ok"], 10),
        ("カーが ﾃﾞ", ["カ", "ー", "が", "ﾃﾞ"], 9),
        ("한국어 단어", ["한국어", "단어"], 11),
        ("ภาษาไทยก็", [*"ภาษาไทย", "ก็"], 8),
        ("བོད་སྐད།", ["བོ", "ད", "སྐ", "ད"], 4),
        ("ab\ufffd \ud800 cd🙂", ["ab", "cd"], 5),
    ],
)
def test_of_text(text, expected, length):
    assert words_of(text) == expected
    assert words(text).length() == length


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("STRASSE ΣΊΣΥΦΟΣ", "straße σίσυφοσ"),
        (unicodedata.normalize("NFC", "Việt 한국어 がé"), unicodedata.normalize("NFD", "Việt 한국어 がé")),
        ("ＡＢＣ１２３ ﬁn ｶﾞ", "abc123 fin ガ"),
        ("mi\u00adni \u200eabc\u200f नमस्\u200dते", "mini abc नमस्ते"),
    ],
)
def test_other_spellings_of_the_same(one, other):
    assert one != other
    assert words(one).hashes.tolist() == words(other).hashes.tolist()


def test_without_numba_the_words_are_the_same():
    text = SAMPLE.replace("\ud800", "") * 20
    code = f"""
import sys
sys.modules["numba"] = None
from memorization.encoding.words import words
print([one.tolist() for one in words({ascii(text)})])
"""
    plain = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert plain.strip() == str([one.tolist() for one in words(text)])
