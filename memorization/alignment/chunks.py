"""What is known of chunks, the text between two blanks: each is analysed once and remembered by a number.

Words are Treebank tokens and stems Porter's, as NLTK gives them, at the price of a look-up. Of a run of characters in a
script that parts no words by blanks, each is a word with its marks, and each two neighbours are a stem (Lucene's CJK
analysis); one alone is one.
"""

import re
import sys
from functools import cache
from hashlib import blake2b
from string import punctuation

import numpy as np
import regex

from memorization.alignment import porter
from memorization.alignment.sentences import NEVER, ending
from memorization.alignment.treebank import MIDDLE, Context, tokens_of
from memorization.encoding.words import WITHOUT_BLANKS, words

REMEMBERED = 1 << 22  # characters of chunks remembered; then all is forgotten
QUOTES = re.compile(r"``|''|\"")
PUNCTUATION = frozenset(punctuation)
UNPARTED = regex.compile(rf"(?:{WITHOUT_BLANKS}[\p{{M}}\p{{WB=Extend}}\p{{WB=Format}}\p{{WB=ZWJ}}]*)+", regex.V1)
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplying by it loses nothing

# what is known of a chunk, one row of ROW numbers: its length in characters, where in Chunks.stems its stems begin and
# end, where in Chunks.words its words do, and how it may end a sentence
CHARACTERS, STEMS, STEMS_END, WORDS, WORDS_END, ENDING = range(6)
ROW = 6
# what is known of a word, WORD numbers: its hash, and its bounds in the chunk
HASH, START, END = range(3)
WORD = 3


def digest(word):
    return blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def hash_of(word):
    return int.from_bytes(digest(word), sys.byteorder, signed=True)


@cache
def _stem(word):
    return hash_of(porter.stem(word))


def _analyse(chunk, context):
    """(stems, words) of a chunk in its context: the hashes of its stems; of its words, WORD numbers each.

    Hashes of the lower-cased things, so that no vocabulary is kept.
    """
    if not chunk.isascii() and UNPARTED.search(chunk):
        return _analyse_unparted(chunk, context)
    tokens, lower = tokens_of(chunk, context), chunk.lower()
    # only contractions with an apostrophe depend on case: "DON't" is one token, "don't" two
    lower_tokens = tokens_of(lower, context) if "'" in chunk and lower != chunk else map(str.lower, tokens)
    stems = [_stem(token) for token in lower_tokens if len(token) > 2 and token[0].isalnum()]
    found, end = [], 0
    for token in tokens:
        quote = QUOTES.search(chunk, end) if token in ("``", "''") else None
        start = quote.start() if quote else max(chunk.find(token, end), end)
        end = quote.end() if quote else min(start + len(token), len(chunk))
        if not PUNCTUATION.issuperset(chunk[start:end]):
            found += (hash_of(token.lower()), start, end)
    return stems, found


def _analyse_unparted(chunk, context):
    """What _analyse() returns, of a chunk in which there are runs of a script without blanks: what is between two of
    them is a chunk of its own, but that no mark is a word.
    """
    stems, found, at = [], [], 0
    for start, end in [*(match.span() for match in UNPARTED.finditer(chunk)), (len(chunk), len(chunk))]:
        if any(map(str.isalnum, chunk[at:start])):
            before = context.before if at == 0 else MIDDLE.before
            after = context.after if start == len(chunk) else MIDDLE.after
            of_piece, parts = _analyse(chunk[at:start], Context(before, after))
            stems += of_piece
            for hash, first, last in zip(parts[HASH::WORD], parts[START::WORD], parts[END::WORD], strict=True):
                if any(map(str.isalnum, chunk[at + first : at + last])):
                    found += (hash, at + first, at + last)
        if start < end:
            hashes, bounds, _ = words(chunk[start:end])
            numbers = hashes.view(np.uint64)
            pairs = numbers[:-1] * MIX + numbers[1:] if len(numbers) > 1 else numbers
            stems += pairs.view(np.int64).tolist()
            for hash, (first, last) in zip(hashes.tolist(), bounds.tolist(), strict=True):
                found += (hash, start + first, start + last)
        at = end
    return stems, found


class _Numbers:
    """A list of numbers in an array that compiled code reads: `array`, of which `size` are in use."""

    def __init__(self):
        self.array, self.size = np.empty(1024, np.int64), 0

    def extend(self, numbers):
        end = self.size + len(numbers)
        if end > len(self.array):
            self.array = np.concatenate([self.array, np.empty(end, np.int64)])
        self.array[self.size : end] = numbers
        self.size = end


class Chunks(dict):
    """{chunk as treebank.chunks_of gives it: its number}, and by number what _analyse() finds, in arrays.

    characters: of all chunks. An interrupt leaves gaps in the arrays at worst.
    """

    def __init__(self):
        self.rows, self.stems, self.words, self.characters = _Numbers(), _Numbers(), _Numbers(), 0

    def __missing__(self, key):
        chunk, context = (key, MIDDLE) if isinstance(key, str) else key
        stems, words = _analyse(chunk, context)
        number, stem, word = self.rows.size // ROW, self.stems.size, self.words.size
        self.characters += len(context.before) + len(chunk) + len(context.after)
        self.stems.extend(stems)
        self.words.extend(words)
        how = ending(chunk) if context is MIDDLE else NEVER
        self.rows.extend((len(chunk), stem, stem + len(stems), word, word + len(words), how))
        self[key] = number
        return number

    def forget(self):
        _stem.cache_clear()
        self.clear()
        self.__init__()
