"""NLTK's Treebank tokens of a sentence, chunk by chunk.

Makes TreebankWordTokenizer in reference.preprocess() fast. NLTK's rules look no further than a chunk, the text between
two blanks, and one character on either side of it, except at the end of the sentence. So the tokens of a sentence are
those of its chunks, each in its context.
"""

import re
from collections.abc import Sequence
from operator import add
from typing import NamedTuple

from memorization.alignment.nltk_parts import TreebankWordTokenizer


class Context(NamedTuple):
    """What the tokenizer reads on either side of a chunk."""

    before: str
    after: str


NEIGHBOUR = "x"  # stands for the chunk beside a chunk
# With one blank between chunks. To every rule the beginning of a sentence is like a blank, so the first chunk's context
# is MIDDLE, and that of the only one LAST. A quote beside other blanks has a Context of its own.
MIDDLE = Context(before="x ", after=" x")
LAST = Context(before="x ", after="")

# chunks that need no tokenizer: a word, single hyphens and points inside, perhaps a bracket or a mark at its ends
SIMPLE = re.compile(r"([(\[]?)(\w+(?:[-.]\w+)*)([)\]]?)([,.;:?!]?)")
CONTRACTED = re.compile(r"(?i)cannot|d'ye|gimme|gonna|gotta|lemme|more'n|wanna|'t(?:i|wa)s")


def _plain(rules):
    return [(re.compile(pattern.pattern), substitution) for pattern, substitution in rules]


class Treebank(TreebankWordTokenizer):
    """NLTK's tokenizer with Python's own `re`: the same rules, without a timeout on each substitution."""

    STARTING_QUOTES = _plain(TreebankWordTokenizer.STARTING_QUOTES)
    PUNCTUATION = _plain(TreebankWordTokenizer.PUNCTUATION)
    PARENS_BRACKETS = _plain([TreebankWordTokenizer.PARENS_BRACKETS])[0]
    DOUBLE_DASHES = _plain([TreebankWordTokenizer.DOUBLE_DASHES])[0]
    ENDING_QUOTES = _plain(TreebankWordTokenizer.ENDING_QUOTES)


class Uncontracted(Treebank):
    """For texts without a match of CONTRACTED."""

    CONTRACTIONS2 = CONTRACTIONS3 = ()


_tokenize, _tokenize_contracted = Uncontracted().tokenize, Treebank().tokenize


def chunks_of(sentence: str) -> tuple[Sequence[str | tuple[str, Context]], list[int] | None]:
    """The chunks of a sentence as tokens_of() takes them, and where each begins in the sentence.

    A chunk is a string if its context is MIDDLE, else (string, Context). Where the context makes no difference it is
    MIDDLE or LAST, so that few chunks occur in more than one. The offsets are None where single blanks part the chunks
    and none is at the ends.
    """
    chunks = sentence.split()
    if not chunks:
        return [], None
    # only quotes depend on which blank is beside them; only quotes and points depend on the end
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
    return [*chunks[:-1], (chunks[-1], LAST)], offsets


def tokens_of(chunk: str, context: Context) -> list[str]:
    """The tokens of a chunk in its context."""
    simple, contracted = SIMPLE.fullmatch(chunk), CONTRACTED.search(chunk)
    followed = context.after.endswith(NEIGHBOUR)
    if simple and not contracted:
        left, word, right, mark = simple.groups()
        if mark == "." and not right and followed:  # only the last word of a sentence loses its point
            word, mark = word + mark, ""
        return [token for token in (left, word, right, mark) if token]
    tokens = (_tokenize_contracted if contracted else _tokenize)(context.before + chunk + context.after)
    return tokens[context.before.startswith(NEIGHBOUR) : len(tokens) - followed]
