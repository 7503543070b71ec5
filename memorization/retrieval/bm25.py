"""BM25 as Lucene counts it (k1 = 1.2, b = 0.75), in one place, so that every index scores alike."""

import math
from collections import Counter

import numpy as np

from memorization.retrieval.analysis import tokenize

K1, B = 1.2, 0.75
ULP = 2.0**-24  # of a float32 of 1: what a rounding can be off, relatively


def term_weights(counts, frequencies, documents):
    """What a query's terms weigh: dict term -> count x idf x (k1 + 1).

    counts, frequencies: dicts term -> occurrences in the query, and in how many of the `documents` documents it is.
    """
    return {
        term: count * (K1 + 1) * math.log(1 + (documents - frequencies[term] + 0.5) / (frequencies[term] + 0.5))
        for term, count in counts.items()
    }


def score(text, queries, mean_length):
    """The scores of a text for several queries (dicts of term_weights), a float each, as `rounded` gives it.

    mean_length: terms a document, over the whole index.
    """
    terms = tokenize(text)
    counts = Counter(terms)
    norm = norms(len(terms), mean_length)
    return [
        rounded(weight * impacts(tf, norm) for term, weight in weights.items() if (tf := counts.get(term)))
        for weights in queries
    ]


def impacts(counts, norms):
    """What occurrences in a document count, in (0, 1): a float, or an array of them for arrays."""
    return counts / (counts + norms)


def rounded(parts):
    """What terms give to a score, summed without an error and brought into 32 bits.

    A float in as few digits as tell it from its neighbours there.
    """
    return float(str(np.float32(math.fsum(parts))))


def norms(lengths, mean_length):
    """What BM25 sets beside the counts of a document of such a length: a float, or an array of them for an array.

    Lucene keeps a length in a byte: exact below 40, then 24 more than a number of four bits.
    """
    rest = np.maximum(lengths, 24) - 24
    bits = np.maximum(np.frexp(rest)[1] - 4, 0)
    return K1 * (1 - B + B * (np.minimum(lengths, 24) + (rest >> bits << bits)) / mean_length)


def tolerance(score, counts):
    """How far the score that an engine gives a document can be from `score` in a query with these term counts.

    Each addition and each factor rounds; a float32 idf is off by as much for a word that is in nearly all documents.
    """
    return ULP * ((len(counts) + 16) * score + 4 * (K1 + 1) * sum(counts.values()))
