"""What is known of chunks, the text between two blanks: each is analysed once and remembered by a number.

Words are Treebank tokens and stems Porter's, as NLTK gives them, at the price of a look-up.
"""

import re
import sys
from functools import cache
from hashlib import blake2b
from string import punctuation

import numpy as np

from memorization.alignment import porter
from memorization.alignment.sentences import NEVER, ending
from memorization.alignment.treebank import MIDDLE, tokens_of

REMEMBERED = 1 << 22  # characters of chunks remembered; then all is forgotten
QUOTES = re.compile(r"``|''|\"")
PUNCTUATION = frozenset(punctuation)

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
    tokens, lower = tokens_of(chunk, context), chunk.lower()
    # only contractions with an apostrophe depend on case: "DON't" is one token, "don't" two
    lower_tokens = tokens_of(lower, context) if "'" in chunk and lower != chunk else map(str.lower, tokens)
    stems = [_stem(token) for token in lower_tokens if len(token) > 2 and token[0].isalnum()]
    words, end = [], 0
    for token in tokens:
        quote = QUOTES.search(chunk, end) if token in ("``", "''") else None
        start = quote.start() if quote else max(chunk.find(token, end), end)
        end = quote.end() if quote else min(start + len(token), len(chunk))
        if not PUNCTUATION.issuperset(chunk[start:end]):
            words += (hash_of(token.lower()), start, end)
    return stems, words


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
