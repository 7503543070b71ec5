"""Text to terms: the words of Unicode Standard Annex #29 (Unicode Text Segmentation), lower-cased.

A term needs a letter, digit, ideograph, kana, Hangul or picture. Where the annex leaves a script without spaces to
dictionaries (Thai and its neighbours), each two neighbouring characters of a run are a term, with their marks: as a
whole, a run with one character changed would share nothing with what it was. Hebrew quotation marks end a word.

No term holds white space of any kind or more than 255 UTF-16 units: terms joined by blanks are split again as they
were by every whitespace tokenizer, that of Lucene included.
"""

import re
from itertools import islice, pairwise

import regex

from memorization.retrieval.stopwords import STOP_WORDS

MAX_TERMS = 1024  # distinct terms of a query: the least limit on clauses that an Elasticsearch server has

# the same words as UNICODE_WORD where all is ASCII, several times as fast
ASCII_WORD = re.compile(r"\w+(?:(?:(?<=[a-z])[.:'](?=[a-z])|(?<=[0-9])[.,;'](?=[0-9]))\w+)*", re.ASCII)
PIECE = re.compile("[\0-\uffff]{1,255}|.{1,127}", re.DOTALL)


def one_of(characters: str) -> str:
    """A pattern of one of the characters, with the marks and format characters that belong to it (rule WB4)."""
    return rf"(?:[{characters}][\p{{WB=Extend}}\p{{WB=Format}}\p{{WB=ZWJ}}]*+)"


def _unicode_word() -> regex.Pattern[str]:
    letter, digit, kana = (
        one_of(r"\p{WB=ALetter}\p{WB=HebrewLetter}"),
        one_of(r"\p{WB=Numeric}"),
        one_of(r"\p{WB=Katakana}"),
    )
    join = one_of(r"\p{WB=ExtendNumLet}--\u202F")  # the narrow blank groups digits, but is white space
    in_word = one_of(r"\p{WB=MidLetter}\p{WB=MidNumLet}\p{WB=SingleQuote}")
    in_number = one_of(r"\p{WB=MidNum}\p{WB=MidNumLet}\p{WB=SingleQuote}")
    picture = one_of(r"\p{Extended_Pictographic}")
    run = rf"(?:{kana}+|(?:{letter}(?:{in_word}?{letter})*|{digit}(?:{in_number}?{digit})*)+)"
    word = rf"(?:{run}|{join}+{run}?)(?:{join}+{run})*{join}*"
    pictures = rf"{picture}(?:(?<=\u200D){picture})*"
    flag, southeast, single = (
        one_of(r"\p{WB=RegionalIndicator}"),
        one_of(r"\p{LB=SA}"),
        one_of(r"\p{Ideographic}\p{Han}\p{Hiragana}"),
    )
    return regex.compile(rf"{word}|{pictures}|{flag}{{1,2}}|{southeast}+|{single}", regex.V1)


UNICODE_WORD, SOUTHEAST = _unicode_word(), regex.compile(one_of(r"\p{LB=SA}"))
ONLY_JOINS = regex.compile(r"[\p{WB=ExtendNumLet}\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*")


def tokenize(text: str) -> list[str]:
    """The terms of a text, in order."""
    if text.isascii():
        terms = ASCII_WORD.findall(text.lower())
    else:
        terms = [word.lower() for word in UNICODE_WORD.findall(text)]
        if SOUTHEAST.search(text):
            terms = [term for word in terms for term in (_pairs(word) if SOUTHEAST.match(word) else [word])]
    if "_" in text or not text.isascii():
        terms = [term for term in terms if not ONLY_JOINS.fullmatch(term)]
    if max(map(len, terms), default=0) > 127:
        terms = [piece for term in terms for piece in PIECE.findall(term)]
    return terms


def _pairs(run: str) -> list[str]:
    """Each two neighbouring characters of a run of a script that is left to dictionaries; one alone if there is one."""
    characters = SOUTHEAST.findall(run)
    return [first + second for first, second in pairwise(characters)] or characters


def query_terms(text: str) -> list[str]:
    """The terms of a query, in order, without stop words; only the first MAX_TERMS distinct ones count."""
    terms = [term for term in tokenize(text) if term not in STOP_WORDS]
    if len(terms) > MAX_TERMS:
        first = set(islice(dict.fromkeys(terms), MAX_TERMS))
        terms = [term for term in terms if term in first]
    return terms
