"""NLTK's Treebank tokens of a blank-delimited chunk of text, mostly without NLTK."""

import re

from nltk.tokenize.treebank import TreebankWordTokenizer

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


def tokens_of(before, chunk, after):
    """The tokens of `chunk` between the strings `before` and `after`, where "x" stands for the chunks beside it."""
    simple, contracted = SIMPLE.fullmatch(chunk), CONTRACTED.search(chunk)
    if simple and not contracted:
        left, word, right, mark = simple.groups()
        if mark == "." and not right and after.endswith("x"):  # only the last word of a sentence loses its point
            word, mark = word + mark, ""
        return [token for token in (left, word, right, mark) if token]
    tokens = (_tokenize_contracted if contracted else _tokenize)(before + chunk + after)
    return tokens[before.startswith("x") : len(tokens) - after.endswith("x")]
