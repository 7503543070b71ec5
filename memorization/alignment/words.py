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

from memorization.alignment.compiled import compiled

CACHE = 1 << 18  # chunks, and words, remembered
LONGEST = 64  # characters of a chunk worth remembering
QUOTES = re.compile(r"``|''|\"")
PUNCTUATION = frozenset(punctuation)
# chunks that need no tokenizer: a word, single hyphens and points inside, perhaps a bracket or a mark at its ends
SIMPLE = re.compile(r"([(\[]?)(\w+(?:[-.]\w+)*)([)\]]?)([,.;:?!]?)")
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
        left, word, right, mark = simple.groups()
        if mark == "." and not right and after.endswith("x"):  # only the last word of a sentence loses its point
            word, mark = word + mark, ""
        return [token for token in (left, word, right, mark) if token]
    tokens = _tokenize(before + chunk + after)
    return tokens[before.startswith("x") : len(tokens) - after.endswith("x")]


def _analyse(chunk, before="x ", after=" x"):
    """(stems, words, bounds, sizes) of a chunk between the strings `before` and `after`, as bytes.

    stems and words are 8 bytes each, a hash of the lower-cased thing, so that no vocabulary is kept; bounds are two
    32-bit integers a word, [start, end) within the chunk; sizes are three: characters, stems, words.
    """
    tokens, lower = _tokens(before, chunk, after), chunk.lower()
    # only contractions with an apostrophe depend on case: "DON't" is one token, "don't" two
    lower_tokens = _tokens(before, lower, after) if "'" in chunk and lower != chunk else map(str.lower, tokens)
    stems = [_stem(token) for token in lower_tokens if len(token) > 2 and token[0].isalnum()]
    words, bounds, end = [], [], 0
    for token in tokens:
        quote = QUOTES.search(chunk, end) if token in ("``", "''") else None
        start = quote.start() if quote else max(chunk.find(token, end), end)
        end = quote.end() if quote else min(start + len(token), len(chunk))
        if not PUNCTUATION.issuperset(chunk[start:end]):
            words.append(token.lower())
            bounds += (start, end)
    sizes = len(chunk), len(stems), len(words)
    return b"".join(map(_digest, stems)), b"".join(map(_digest, words)), _integers(bounds), _integers(sizes)


def _integers(values):
    return array("i", values).tobytes()


_remembered = lru_cache(CACHE)(_analyse)


@compiled
def _lay_out(sizes, bounds, counts, begins, starts):
    """Turn bounds within chunks into bounds within the text; return where each sentence's stems and words end.

    sizes: a row (characters, stems, words) a chunk; counts, begins: of each sentence, the chunks and the start;
    starts: of each chunk, -1 if it comes one blank behind the one before.
    """
    stem_ends, word_ends = np.empty(len(counts), np.int64), np.empty(len(counts), np.int64)
    chunk = stems = words = 0
    for i in range(len(counts)):
        position = begins[i]
        for _ in range(counts[i]):
            if starts[chunk] >= 0:
                position = starts[chunk]
            for k in range(words, words + sizes[chunk, 2]):
                bounds[k, 0] += position
                bounds[k, 1] += position
            position += sizes[chunk, 0] + 1
            stems += sizes[chunk, 1]
            words += sizes[chunk, 2]
            chunk += 1
        stem_ends[i], word_ends[i] = stems, words
    return stem_ends, word_ends


def analyse(text, sentences):
    """All words of a text's sentences, in order.

    Returns (stems, stem_ends, words, word_ends, bounds): stems and words as int64 hashes, for each sentence where its
    stems and where its words end, and the words' bounds as rows [start, end) in characters of the text.
    """
    found, counts, uneven = [], [], []
    for begin, stop in sentences:
        sentence = text[begin:stop]
        chunks = sentence.split()
        counts.append(len(chunks))
        if not chunks:
            continue
        look_up = _remembered if max(map(len, chunks)) <= LONGEST else _analyse
        lead = tail = ""
        quotes = False
        if " ".join(chunks) != sentence:
            ends, starts = [0], []
            for chunk in chunks:
                starts.append(sentence.find(chunk, ends[-1]))
                ends.append(starts[-1] + len(chunk))
            uneven.append((len(found), np.array(starts) + begin))
            lead, tail = sentence[: starts[0]], sentence[ends[-1] :]
            quotes = "'" in sentence or '"' in sentence  # nothing else minds which blank is beside it
        if quotes:
            before = [lead, *("x" + sentence[start - 1] for start in starts[1:])]
            after = [*(sentence[end] + "x" for end in ends[1:-1]), tail]
            found += map(look_up, chunks, before, after)
        elif len(chunks) == 1:
            found.append(look_up(chunks[0], lead, tail))
        else:
            found.append(look_up(chunks[0], lead))
            found += map(look_up, chunks[1:-1])
            found.append(look_up(chunks[-1], "x ", tail))
    stems, words, bounds, sizes = (b"".join(pieces) for pieces in zip(*found, strict=True)) if found else (b"",) * 4
    starts = np.full(len(found), -1, np.int64)
    for first, places in uneven:
        starts[first : first + len(places)] = places
    bounds = np.frombuffer(bytearray(bounds), np.int32).reshape(-1, 2)
    sizes = np.frombuffer(sizes, np.int32).reshape(-1, 3)
    begins = np.array([begin for begin, _ in sentences], np.int64)
    stem_ends, word_ends = _lay_out(sizes, bounds, np.array(counts, np.int64), begins, starts)
    return np.frombuffer(stems, np.int64), stem_ends, np.frombuffer(words, np.int64), word_ends, bounds
