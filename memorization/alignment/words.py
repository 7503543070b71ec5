"""Words and stems: Treebank tokens and Porter stems of a sentence, as NLTK gives them, at the price of a look-up.

NLTK's Treebank tokenizer looks no further than a blank-delimited chunk of text and the one character on either side,
save for the end of the sentence. So a chunk is analysed once, in that context, and remembered.
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
from memorization.alignment.treebank import tokens_of

REMEMBERED = 1 << 22  # characters of chunks remembered; then all is forgotten
QUOTES = re.compile(r"``|''|\"")
PUNCTUATION = frozenset(punctuation)


def _digest(word):
    return blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _hash(word):
    return int.from_bytes(_digest(word), sys.byteorder, signed=True)


@cache
def _stem(word):
    return _hash(porter.stem(word))


def _analyse(chunk, before, after):
    """(stems, words) of a chunk between the strings `before` and `after`.

    Hashes of the lower-cased things, so that no vocabulary is kept; a word's is followed by its bounds in the chunk.
    """
    tokens, lower = tokens_of(before, chunk, after), chunk.lower()
    # only contractions with an apostrophe depend on case: "DON't" is one token, "don't" two
    lower_tokens = tokens_of(before, lower, after) if "'" in chunk and lower != chunk else map(str.lower, tokens)
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
    """{chunk or (chunk, before, after): its number}, and by number what _analyse finds, in arrays without objects.

    A chunk alone stands between two others. Each array grows in one call, so that an interrupt leaves gaps at worst.
    """

    def __init__(self):
        self.rows = array("q")  # of each chunk: characters; where its stems, then its words, begin and end
        self.stems, self.words, self.characters = array("q"), array("q"), 0

    def __missing__(self, key):
        chunk, before, after = (key, "x ", " x") if isinstance(key, str) else key
        stems, words = _analyse(chunk, before, after)
        number, stem, word = len(self.rows) // 5, len(self.stems), len(self.words)
        self.characters += len(before) + len(chunk) + len(after)
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

    numbers: of all chunks, in order; rows, chunk_stems, chunk_words: the arrays of _Chunks; counts, begins: of each
    sentence, the chunks and the start; starts: of each chunk, -1 if it comes one character behind the one before.
    """
    size = np.zeros(2, np.int64)
    for number in numbers:
        size[0] += rows[5 * number + 2] - rows[5 * number + 1]
        size[1] += (rows[5 * number + 4] - rows[5 * number + 3]) // 3
    stems, words, bounds = np.empty(size[0], np.int64), np.empty(size[1], np.int64), np.empty((size[1], 2), np.int32)
    stem_ends, word_ends = np.empty(len(counts), np.int64), np.empty(len(counts), np.int64)
    chunk = stem = word = 0
    for i in range(len(counts)):
        position = begins[i]
        for _ in range(counts[i]):
            row = 5 * numbers[chunk]
            if starts[chunk] >= 0:
                position = starts[chunk]
            for k in range(rows[row + 1], rows[row + 2]):
                stems[stem] = chunk_stems[k]
                stem += 1
            for k in range(rows[row + 3], rows[row + 4], 3):
                words[word] = chunk_words[k]
                bounds[word, 0], bounds[word, 1] = position + chunk_words[k + 1], position + chunk_words[k + 2]
                word += 1
            position += rows[row] + 1
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
        numbers, counts, uneven = [], [], []
        for begin, stop in sentences:
            sentence = text[begin:stop]
            chunks = sentence.split()
            counts.append(len(chunks))
            if not chunks:
                continue
            # only quotes mind which blank is beside them, and the beginning; only they and points, the end
            quotes = "'" in sentence or '"' in sentence
            joined = " ".join(chunks)
            even = joined == sentence if quotes else len(joined) == len(sentence)
            if not even:
                ends, starts = [0], []
                for chunk in chunks:
                    starts.append(sentence.find(chunk, ends[-1]))
                    ends.append(starts[-1] + len(chunk))
                uneven.append((len(numbers), np.array(starts) + begin))
            if quotes and not even:
                before = [sentence[: starts[0]], *("x" + sentence[start - 1] for start in starts[1:])]
                after = [*(sentence[end] + "x" for end in ends[1:-1]), sentence[ends[-1] :]]
                chunks = zip(chunks, before, after, strict=True)
            elif quotes and len(chunks) == 1:
                chunks = [(sentence, "", "")]
            else:
                chunks[-1] = chunks[-1], "x ", ""
                if quotes:
                    chunks[0] = chunks[0], "", " x"
            numbers += map(_chunks.__getitem__, chunks)
        starts = np.full(len(numbers), -1, np.int64)
        for first, places in uneven:
            starts[first : first + len(places)] = places
        counts, begins = np.array(counts, np.int64), np.array([begin for begin, _ in sentences], np.int64)
        known = _chunks.rows, _chunks.stems, _chunks.words
        return _lay_out(np.array(numbers, np.int64), *known, counts, begins, starts)
