"""NLTK's Treebank tokens of a sentence, chunk by chunk.

NLTK's tokenizer looks no further than a chunk, the text between two blanks, and the one character on either side of
it, save for the end of the sentence. So the tokens of a sentence are those of its chunks, each in its context.
"""

import re
from operator import add
from typing import NamedTuple

from memorization.alignment.toolkit import TreebankWordTokenizer


class Context(NamedTuple):
    """What the tokenizer is given on either side of a chunk."""

    before: str
    after: str


NEIGHBOUR = "x"  # stands for the chunk beside a chunk
# where there is one blank between the chunks; the beginning of a sentence is like a blank to every rule, so FIRST would
# be MIDDLE and ALONE would be LAST. Beside other blanks, or blanks at its ends, a quote is in a Context of its own:
#                before after
MIDDLE = Context("x ", " x")
LAST = Context("x ", "")

# chunks that need no tokenizer: a word, single hyphens and points inside, perhaps a bracket or a mark at its ends
SIMPLE = re.compile(r"([(\[]?)(\w+(?:[-.]\w+)*)([)\]]?)([,.;:?!]?)")
CONTRACTED = re.compile(r"(?i)cannot|d'ye|gimme|gonna|gotta|lemme|more'n|wanna|'t(?:i|wa)s")


def _plain(rules):
    return [(re.compile(pattern.pattern), substitution) for pattern, substitution in rules]


class Treebank(TreebankWordTokenizer):
    """NLTK's tokenizer on Python's own `re`: the same rules, without a clock on each substitution."""

    STARTING_QUOTES = _plain(TreebankWordTokenizer.STARTING_QUOTES)
    PUNCTUATION = _plain(TreebankWordTokenizer.PUNCTUATION)
    PARENS_BRACKETS = _plain([TreebankWordTokenizer.PARENS_BRACKETS])[0]
    DOUBLE_DASHES = _plain([TreebankWordTokenizer.DOUBLE_DASHES])[0]
    ENDING_QUOTES = _plain(TreebankWordTokenizer.ENDING_QUOTES)


class Uncontracted(Treebank):
    """For texts that CONTRACTED doesn't find anything in."""

    CONTRACTIONS2 = CONTRACTIONS3 = ()


_tokenize, _tokenize_contracted = Uncontracted().tokenize, Treebank().tokenize


def chunks_of(sentence):
    """(chunks, offsets) of a sentence: its chunks as tokens_of() takes them, and where each begins in the sentence.

    A chunk is a string if its context is MIDDLE, else (string, Context). Where the context makes no difference it is
    MIDDLE or LAST, so that a chunk is seldom more than one thing to remember.
    offsets: None where one blank is between any two chunks, and none before or behind them all.
    """
    chunks = sentence.split()
    if not chunks:
        return [], None
    # only quotes mind which blank is beside them; only they and points mind the end
    quotes = "'" in sentence or '"' in sentence
    joined = " ".join(chunks)
    offsets = None
    if (joined != sentence) if quotes else (len(joined) != len(sentence)):
        offsets, end = [], 0
        for chunk in chunks:
            offsets.append(sentence.find(chunk, end))
            end = offsets[-1] + len(chunk)
    if quotes and offsets:
        ends = list(map(add, offsets, map(len, chunks)))
        before = [sentence[: offsets[0]], *(NEIGHBOUR + sentence[offset - 1] for offset in offsets[1:])]
        after = [*(sentence[end] + NEIGHBOUR for end in ends[:-1]), sentence[ends[-1] :]]
        return list(zip(chunks, map(Context, before, after), strict=True)), offsets
    chunks[-1] = chunks[-1], LAST
    return chunks, offsets


def tokens_of(chunk, context):
    """The tokens of a chunk, a string, in its context."""
    simple, contracted = SIMPLE.fullmatch(chunk), CONTRACTED.search(chunk)
    followed = context.after.endswith(NEIGHBOUR)
    if simple and not contracted:
        left, word, right, mark = simple.groups()
        if mark == "." and not right and followed:  # only the last word of a sentence loses its point
            word, mark = word + mark, ""
        return [token for token in (left, word, right, mark) if token]
    tokens = (_tokenize_contracted if contracted else _tokenize)(context.before + chunk + context.after)
    return tokens[context.before.startswith(NEIGHBOUR) : len(tokens) - followed]
