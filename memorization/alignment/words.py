"""Words and stems: Treebank tokens and Porter stems of a sentence, as NLTK gives them, at the price of a look-up.

NLTK's Treebank tokenizer looks no further than a blank-delimited chunk of text and the one character on either side,
save for the end of the sentence. So a chunk is analysed once, in that context, and remembered.
"""

import re
from array import array
from functools import lru_cache
from hashlib import blake2b
from string import punctuation

import numpy as np
from nltk.stem.porter import PorterStemmer
from nltk.tokenize.treebank import TreebankWordTokenizer

CACHE = 1 << 16  # chunks, and words, remembered
LONGEST = 64  # characters of a chunk worth remembering
QUOTES = re.compile(r"``|''|\"")
PUNCTUATION = frozenset(punctuation)
# chunks that need no tokenizer: a word, single hyphens and points inside, one mark behind; no contraction
SIMPLE = re.compile(r"(\w+(?:[-.]\w+)*)([,.;:?!]?)")
CONTRACTED = re.compile(r"(?i)cannot|gimme|gonna|gotta|lemme|wanna")


def _plain(rules):
    return [(re.compile(pattern.pattern), substitution) for pattern, substitution in rules]


class Treebank(TreebankWordTokenizer):
    """NLTK's tokenizer on Python's own `re`: the same rules, without a clock on each substitution."""

    STARTING_QUOTES = _plain(TreebankWordTokenizer.STARTING_QUOTES)
    PUNCTUATION = _plain(TreebankWordTokenizer.PUNCTUATION)
    PARENS_BRACKETS = _plain([TreebankWordTokenizer.PARENS_BRACKETS])[0]
    DOUBLE_DASHES = _plain([TreebankWordTokenizer.DOUBLE_DASHES])[0]
    ENDING_QUOTES = _plain(TreebankWordTokenizer.ENDING_QUOTES)


_tokenize = Treebank().tokenize
_stem = lru_cache(CACHE)(PorterStemmer().stem)


def _digest(word):
    return blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _tokens(before, chunk, after):
    """The tokens of `chunk` in its context, "x" standing for the chunks beside it."""
    simple = SIMPLE.fullmatch(chunk)
    if simple and not CONTRACTED.search(chunk):
        if simple[2] and (simple[2] != "." or not after.endswith("x")):
            return [simple[1], simple[2]]
        return [chunk]
    tokens = _tokenize(before + chunk + after)
    return tokens[before.startswith("x") : len(tokens) - after.endswith("x")]


def _analyse(before, chunk, after):
    """(stems, words, bounds) of a chunk between the strings `before` and `after`.

    stems and words are 8 bytes each, a hash of the lower-cased thing, so that no vocabulary is kept; bounds are two
    32-bit integers a word: [start, end) within the chunk.
    """
    tokens, lower = _tokens(before, chunk, after), chunk.lower()
    lower_tokens = tokens if lower == chunk else _tokens(before, lower, after)
    stems = [_stem(token) for token in lower_tokens if len(token) > 2 and token[0].isalnum()]
    words, bounds, end = [], [], 0
    for token in tokens:
        quote = QUOTES.search(chunk, end) if token in ("``", "''") else None
        start = quote.start() if quote else max(chunk.find(token, end), end)
        end = quote.end() if quote else min(start + len(token), len(chunk))
        if not PUNCTUATION.issuperset(chunk[start:end]):
            words.append(token.lower())
            bounds += (start, end)
    return b"".join(map(_digest, stems)), b"".join(map(_digest, words)), array("i", bounds).tobytes()


_remembered = lru_cache(CACHE)(_analyse)


def _look_up(before, chunk, after):
    return (_remembered if len(chunk) <= LONGEST else _analyse)(before, chunk, after)


def analyse(text, sentences):
    """All words of a text's sentences, in order.

    Returns (stems, stem_ends, words, bounds, word_ends): stems and words as int64 hashes, bounds as rows
    [start, end) in characters of the text, and for each sentence where its stems and where its words end.
    """
    found, starts, sizes = [], [], []
    for begin, stop in sentences:
        chunks = text[begin:stop].split()
        sizes.append(len(chunks))
        if not chunks:
            continue
        before, after, end = [text[begin : text.find(chunks[0], begin)]], [], begin
        for chunk in chunks:
            start = text.find(chunk, end)
            end = start + len(chunk)
            starts.append(start)
            before.append("x" + text[end : end + 1])
            after.append(text[end : end + 1] + "x")
        after[-1] = text[end:stop]
        found += map(_look_up, before, chunks, after)
    stems, words, bounds = zip(*found, strict=True) if found else ((), (), ())
    ends = np.cumsum(sizes, dtype=np.intp)

    def sentence_ends(pieces):
        return np.concatenate(([0], np.cumsum([len(piece) >> 3 for piece in pieces], dtype=np.intp)))[ends]

    spans = np.frombuffer(b"".join(bounds), np.int32).reshape(-1, 2)
    spans = spans + np.repeat(np.array(starts, np.int64), [len(piece) >> 3 for piece in words])[:, None]
    return (
        np.frombuffer(b"".join(stems), np.int64),
        sentence_ends(stems),
        np.frombuffer(b"".join(words), np.int64),
        spans,
        sentence_ends(words),
    )
