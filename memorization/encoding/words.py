"""Words of a text in any script, and how long a run of them is (design.md, Terms: Word, Length).

A word is one of Unicode Standard Annex #29 (Unicode Text Segmentation), but that punctuation and symbols end it
wherever they stand: "don't" is two words, and so are "3.14" and "a_b". So no word depends on what follows it: a text
that is cut behind a word has the same words up to there. In scripts that part no words by blanks, where the annex has
no rule but a dictionary, each character with its marks is a word.

Words are compared without case and without what Unicode takes for another spelling of the same (NFKC_Casefold, Unicode
Standard Annex #44): tokenizers normalize, so a model says composed what it read decomposed. What shows nothing
(joiners, soft hyphens, directions) is no part of a word. A word is known by a hash, so that no vocabulary is kept.
"""

import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import regex

from memorization.store.compiled import compiled

# letters of scripts without blanks: those that the annex leaves to dictionaries (Han, kana, Thai, Lao, Khmer, Myanmar,
# Tangut ...), and Tibetan, Yi, Bopomofo, Javanese and Balinese. Han: its radicals too, which are symbols
WITHOUT_BLANKS = (
    r"[[\p{L}\p{Nl}\p{Nd}--[\p{WB=ALetter}\p{WB=HebrewLetter}\p{WB=Numeric}\p{WB=Extend}]]"
    r"[\p{Han}--\p{P}]"
    r"[[\p{Tibetan}\p{Yi}\p{Bopomofo}\p{Javanese}\p{Balinese}]&&\p{L}]]"
)
LETTER = rf"[[\p{{L}}\p{{Nl}}\p{{Nd}}]--{WITHOUT_BLANKS}]"
END = 0x40000  # code points from here on are tags and variation selectors, private or not assigned
TAGS, TAGS_END = 0xE0000, 0xE1000
NOTHING, OF_RUN, ALONE, MARK, HIDDEN, BLANK = range(6)  # what a code point is
WIDE, NARROW = 2, 1  # columns (Unicode Standard Annex #11)


class Words(NamedTuple):
    """The n words of a text. hashes: int64. bounds: [start, end) of each in characters of the text, int32, (n, 2).

    columns: [start, end) of each, int32, (n, 2), so that the run of words begin to end - 1 has the length
    columns[end - 1, 1] - columns[begin, 0]: the columns of its words, and 1 for each place between two of them where
    the text has white space.
    """

    hashes: np.ndarray
    bounds: np.ndarray
    columns: np.ndarray

    def lengths(self, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The length of each of the runs of words [begin, end), none of them empty."""
        return self.columns[np.asarray(ends) - 1, 1] - self.columns[begins, 0]

    def length(self) -> int:
        """The length of the text: of all its words."""
        return int(self.columns[-1, 1] - self.columns[0, 0]) if len(self.columns) else 0


def words(text: str) -> Words:
    """The Words of a text, in order."""
    return Words(*_scan(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32), *_tables()))


@cache
def _tables():
    """The properties of each code point under END for _scan(): (kind, columns, fold, folds).

    kind, columns: uint8. fold, int32: where in `folds` what it is compared as begins; folds: how many numbers, then
    these: a code point, or minus one that is a mark: the order of marks does not matter.
    """
    everything = "".join(map(chr, range(END)))

    def fill(array, pattern, value):
        for match in regex.finditer(f"{pattern}+", everything, regex.V1):
            array[match.start() : match.end()] = value

    kind, columns = np.full(END, NOTHING, np.uint8), np.full(END, NARROW, np.uint8)
    for pattern, value in (
        (LETTER, OF_RUN),
        (WITHOUT_BLANKS, ALONE),
        (r"[\p{M}\p{WB=Extend}]", MARK),
        (r"[\p{WB=Format}\p{WB=ZWJ}[\p{Default_Ignorable_Code_Point}--\u200B]]", HIDDEN),
        (r"\s", BLANK),
    ):
        fill(kind, pattern, value)
    fill(columns, r"[\p{EA=W}\p{EA=F}]", WIDE)
    fill(columns, r"[\p{M}\p{Hangul_Syllable_Type=V}\p{Hangul_Syllable_Type=T}]", 0)  # a syllable's first part is wide
    columns[kind == HIDDEN] = 0
    own = [chr(code) for code in np.flatnonzero((kind == OF_RUN) | (kind == ALONE) | (kind == MARK))]
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", "\0".join(own)).casefold()).split("\0")
    fold, folds = np.zeros(END, np.int32), []
    for character, characters in zip(own, folded, strict=True):
        fold[ord(character)] = len(folds)
        codes = [-ord(one) if unicodedata.combining(one) else ord(one) for one in characters]
        folds += [len(codes), *codes]
    return kind, columns, fold, np.array(folds, np.int32)


@compiled
def _scan(codes, kinds, widths, fold, folds):
    """The fields of Words, of a text as its code points."""
    hashes, bounds = np.empty(len(codes), np.int64), np.empty((len(codes), 2), np.int32)
    columns = np.empty((len(codes), 2), np.int32)
    n, column, blank, i = 0, 0, False, 0  # n: words; column: where they end; blank: white space is behind the last one
    while i < len(codes):
        kind = _kind(codes[i], kinds)
        if kind != OF_RUN and kind != ALONE:
            blank = blank or kind == BLANK
            i += 1
            continue
        column += blank and n > 0
        bounds[n, 0], columns[n, 0], blank = i, column, False
        high, low, marks = 1, 2, 0  # the halves of the hash; the sum of the marks behind the last letter
        following = kind
        while following in (kind, MARK, HIDDEN):
            if following != HIDDEN:
                column += int(widths[codes[i]])
                place = fold[codes[i]]
                for k in range(place + 1, place + 1 + folds[place]):
                    code = int(folds[k])
                    if code < 0:
                        marks += (-code * 0x5BD1E995) & 0xFFFFFFFF
                    else:
                        high, low = _mixed(high, marks, code, 0x5BD1E995), _mixed(low, marks, code, 0x7FEB352D)
                        marks = 0
                bounds[n, 1], columns[n, 1] = i + 1, column
            i += 1
            following = _kind(codes[i], kinds) if i < len(codes) else NOTHING
            if following == ALONE:
                break
        high, low = _mixed(high, marks, 0, 0x5BD1E995), _mixed(low, marks, 0, 0x7FEB352D)
        hashes[n] = (high & 0x7FFFFFFF) << 32 | low
        n += 1
    return hashes[:n].copy(), bounds[:n].copy(), columns[:n].copy()


@compiled
def _kind(code, kinds):
    if code < END:
        return kinds[code]
    return HIDDEN if TAGS <= code < TAGS_END else NOTHING


@compiled
def _mixed(state, marks, code, factor):
    """A hash of 32 bits, of one, the sum of marks and a code point.

    No product has 64 bits: so Python's own numbers, in a run without numba, give the same.
    """
    state = ((state ^ (marks & 0xFFFFFFFF)) * factor) & 0xFFFFFFFF
    state = ((state ^ (state >> 15) ^ code) * factor) & 0xFFFFFFFF
    return state ^ (state >> 13)
