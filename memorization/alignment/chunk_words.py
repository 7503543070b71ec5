"""The words and stems of chunks, the text between two blanks: each chunk is analysed once and known by a number.

Words are Treebank tokens and stems Porter's, both as NLTK gives them. In a run of characters of a script without blanks
between words, each character with its marks is a word, and each two neighbours are a stem (as in Lucene's CJK
analysis); one alone is one.
"""

import re
import sys
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from string import punctuation

import numpy as np
import regex

from memorization.alignment.nltk_parts import PorterStemmer
from memorization.alignment.treebank_tokens import MIDDLE, Context, tokens_of
from memorization.encoding.words import WITHOUT_BLANKS
from memorization.encoding.words import words as uax29_words

QUOTES = re.compile(r"``|''|\"")
PUNCTUATION = frozenset(punctuation)
UNSPACED = regex.compile(rf"(?:{WITHOUT_BLANKS}[\p{{M}}\p{{WB=Extend}}\p{{WB=Format}}\p{{WB=ZWJ}}]*)+", regex.V1)
STEMMER = PorterStemmer()
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it loses nothing

# the row of a chunk: its length in characters, and where its stems and its words begin and end in their arrays
CHARACTERS, STEMS, STEMS_END, WORDS, WORDS_END = range(5)
ROW = 5
# a word: its hash, and its [start, end) in the chunk
HASH, START, END = range(3)
WORD = 3


def hash_of(word: str) -> int:
    """64 bits of a hash, so that no vocabulary is kept."""
    digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, sys.byteorder, signed=True)


@cache
def _stem(word: str) -> int:
    return hash_of(STEMMER.stem(word, to_lowercase=False))


def _analyse(chunk: str, context: Context) -> tuple[list[int], list[int]]:
    """The stems of a chunk in its context (hashes), and its words (WORD numbers each), lower-cased both."""
    if not chunk.isascii() and UNSPACED.search(chunk):
        return _analyse_unspaced(chunk, context)
    tokens, lower = tokens_of(chunk, context), chunk.lower()
    # only contractions with an apostrophe depend on case: "DON't" is one token, "don't" two
    lower_tokens = tokens_of(lower, context) if "'" in chunk and lower != chunk else map(str.lower, tokens)
    stems = [_stem(token) for token in lower_tokens if len(token) > 2 and token[0].isalnum()]
    words: list[int] = []
    end = 0
    for token in tokens:
        quote = QUOTES.search(chunk, end) if token in ("``", "''") else None
        start = quote.start() if quote else max(chunk.find(token, end), end)
        end = quote.end() if quote else min(start + len(token), len(chunk))
        if not PUNCTUATION.issuperset(chunk[start:end]):
            words += (hash_of(token.lower()), start, end)
    return stems, words


def _analyse_unspaced(chunk: str, context: Context) -> tuple[list[int], list[int]]:
    """_analyse() for a chunk that contains runs of a script without blanks.

    What lies between two runs is analysed as a chunk of its own, but marks are no words there.
    """
    stems: list[int] = []
    words: list[int] = []
    previous = 0  # where the last run ends
    for start, end in [*(match.span() for match in UNSPACED.finditer(chunk)), (len(chunk), len(chunk))]:
        if any(map(str.isalnum, chunk[previous:start])):
            before = context.before if previous == 0 else MIDDLE.before
            after = context.after if start == len(chunk) else MIDDLE.after
            piece_stems, piece_words = _analyse(chunk[previous:start], Context(before, after))
            stems += piece_stems
            for k in range(0, len(piece_words), WORD):
                hash, first, last = piece_words[k : k + WORD]
                if any(map(str.isalnum, chunk[previous + first : previous + last])):
                    words += (hash, previous + first, previous + last)
        if start < end:
            characters = uax29_words(chunk[start:end])
            numbers = characters.hashes.view(np.uint64)
            pairs = numbers[:-1] * MIX + numbers[1:] if len(numbers) > 1 else numbers
            stems += pairs.view(np.int64).tolist()
            for hash, (first, last) in zip(characters.hashes.tolist(), characters.bounds.tolist(), strict=True):
                words += (hash, start + first, start + last)
        previous = end
    return stems, words


class GrowingArray:
    """A growing list of numbers in an array that compiled code reads: `array`, of which `size` are in use."""

    def __init__(self) -> None:
        self.array, self.size = np.empty(1024, np.int64), 0

    def extend(self, numbers: Sequence[int]) -> None:
        end = self.size + len(numbers)
        if end > len(self.array):
            self.array = np.concatenate([self.array, np.empty(end, np.int64)])
        self.array[self.size : end] = numbers
        self.size = end


class ChunkWords(dict[str | tuple[str, Context], int]):
    """The number of each chunk, as treebank_tokens.chunks_of() gives it, and by number its words and stems.

    numbers: rows (ROW numbers a chunk), stems (hashes), words (WORD numbers each). characters: of all chunks. An
    interrupt leaves gaps in the arrays at worst.
    """

    def __init__(self) -> None:
        self.numbers, self.characters = (GrowingArray(), GrowingArray(), GrowingArray()), 0

    def __missing__(self, key: str | tuple[str, Context]) -> int:
        chunk, context = (key, MIDDLE) if isinstance(key, str) else key
        chunk_stems, chunk_words = _analyse(chunk, context)
        rows, stems, words = self.numbers
        row = (len(chunk), stems.size, stems.size + len(chunk_stems), words.size, words.size + len(chunk_words))
        self.characters += len(context.before) + len(chunk) + len(context.after)
        stems.extend(chunk_stems)
        words.extend(chunk_words)
        rows.extend(row)
        self[key] = rows.size // ROW - 1
        return self[key]

    def forget(self) -> None:
        _stem.cache_clear()
        self.clear()
        self.__init__()  # type: ignore[misc]  # empty again, in place
