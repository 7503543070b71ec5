"""Words and stems of a text: Treebank tokens and Porter stems, as NLTK gives them, at the price of a look-up.

A chunk in its context (treebank.py) is analysed once and remembered by a number; a text is the list of the numbers of
its chunks, from which compiled code lays out the arrays of its words.
"""

import re
import sys
import threading
from array import array
from functools import cache
from hashlib import blake2b
from string import punctuation

import numpy as np

from memorization.alignment import porter
from memorization.alignment.compiled import compiled
from memorization.alignment.treebank import MIDDLE, chunks_of, tokens_of

REMEMBERED = 1 << 22  # characters of chunks remembered; then all is forgotten
QUOTES = re.compile(r"``|''|\"")
PUNCTUATION = frozenset(punctuation)

# what is known of a chunk, one row of ROW numbers: its length in characters, where in _Chunks.stems its stems begin and
# end, and where in _Chunks.words its words do
CHARACTERS, STEMS, STEMS_END, WORDS, WORDS_END = range(5)
ROW = 5
# what is known of a word, WORD numbers: its hash, and its bounds in the chunk
HASH, START, END = range(3)
WORD = 3


def _digest(word):
    return blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _hash(word):
    return int.from_bytes(_digest(word), sys.byteorder, signed=True)


@cache
def _stem(word):
    return _hash(porter.stem(word))


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
            words += (_hash(token.lower()), start, end)
    return stems, words


class _Chunks(dict):
    """{chunk as chunks_of() gives it: its number}, and by number what _analyse() finds, in arrays without objects.

    Each array grows in one call, so that an interrupt leaves gaps at worst.
    """

    def __init__(self):
        self.rows, self.stems, self.words, self.characters = array("q"), array("q"), array("q"), 0

    def __missing__(self, key):
        chunk, context = (key, MIDDLE) if isinstance(key, str) else key
        stems, words = _analyse(chunk, context)
        number, stem, word = len(self.rows) // ROW, len(self.stems), len(self.words)
        self.characters += len(context.before) + len(chunk) + len(context.after)
        self.stems.extend(stems)
        self.words.extend(words)
        self.rows.extend((len(chunk), stem, stem + len(stems), word, word + len(words)))
        self[key] = number
        return number

    def forget(self):
        _stem.cache_clear()
        self.clear()
        self.__init__()


_chunks, _lock = _Chunks(), threading.Lock()


@compiled
def _lay_out(numbers, rows, chunk_stems, chunk_words, counts, begins, starts):
    """What analyse() returns, put together from what is known of the chunks.

    numbers: of all chunks of the text, in order; rows, chunk_stems, chunk_words: the arrays of _Chunks; counts, begins:
    of each sentence, how many chunks and where it begins; starts: where each chunk does, in characters of the text, or
    -1 if it comes one character behind the one before, or with its sentence.
    """
    n_stems = n_words = 0
    for number in numbers:
        row = ROW * number
        n_stems += rows[row + STEMS_END] - rows[row + STEMS]
        n_words += (rows[row + WORDS_END] - rows[row + WORDS]) // WORD
    stems, words, bounds = np.empty(n_stems, np.int64), np.empty(n_words, np.int64), np.empty((n_words, 2), np.int32)
    stem_ends, word_ends = np.empty(len(counts), np.int64), np.empty(len(counts), np.int64)
    chunk = stem = word = 0
    for i in range(len(counts)):
        position = begins[i]
        for _ in range(counts[i]):
            row = ROW * numbers[chunk]
            if starts[chunk] >= 0:
                position = starts[chunk]
            for k in range(rows[row + STEMS], rows[row + STEMS_END]):
                stems[stem] = chunk_stems[k]
                stem += 1
            for k in range(rows[row + WORDS], rows[row + WORDS_END], WORD):
                words[word] = chunk_words[k + HASH]
                bounds[word, 0], bounds[word, 1] = position + chunk_words[k + START], position + chunk_words[k + END]
                word += 1
            position += rows[row + CHARACTERS] + 1
            chunk += 1
        stem_ends[i], word_ends[i] = stem, word
    return stems, stem_ends, words, word_ends, bounds


def analyse(text, sentences):
    """All words of a text's sentences, in order.

    Returns (stems, stem_ends, words, word_ends, bounds): stems and words as int64 hashes, for each sentence where its
    stems and where its words end, and the words' bounds as rows [start, end) in characters of the text.
    """
    with _lock:
        if _chunks.characters > REMEMBERED:
            _chunks.forget()
        numbers, counts, begins, placed = [], [], [], []
        for begin, end in sentences:
            chunks, offsets = chunks_of(text[begin:end])
            if offsets:
                placed.append((len(numbers), np.array(offsets) + begin))
            numbers += map(_chunks.__getitem__, chunks)
            counts.append(len(chunks))
            begins.append(begin)
        starts = np.full(len(numbers), -1, np.int64)
        for first, places in placed:
            starts[first : first + len(places)] = places
        numbered = (np.array(numbers, np.int64), _chunks.rows, _chunks.stems, _chunks.words)
        return _lay_out(*numbered, np.array(counts, np.int64), np.array(begins, np.int64), starts)
