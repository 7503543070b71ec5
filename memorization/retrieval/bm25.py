"""BM25 as Lucene counts it (k1 = 1.2, b = 0.75), in one place, so that every index scores alike.

An engine adds up float32 numbers in an order of its own, which shows in the last digits. It is asked for a few more
documents than are wanted, and `score` decides among them.
"""

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
    """The scores of a text for several queries (dicts of term_weights), a float each that float32 can hold.

    mean_length: terms a document, over the whole index.
    """
    terms = tokenize(text)
    counts = Counter(terms)
    norm = K1 * (1 - B + B * stored_length(len(terms)) / mean_length)
    sums = (
        math.fsum(weight * tf / (tf + norm) for term, weight in weights.items() if (tf := counts.get(term)))
        for weights in queries
    )
    return [float(str(np.float32(total))) for total in sums]  # in as few digits as tell it from its neighbours


def stored_length(length):
    """Lucene and tantivy keep a length in a byte: exact below 40, then 24 more than a number of four bits."""
    if length < 40:
        return length
    bits = (length - 24).bit_length() - 4
    return 24 + (length - 24 >> bits << bits)


def tolerance(score, counts):
    """How far the score that an engine gives a document can be from `score` in a query with these term counts.

    Each addition and each factor rounds; a float32 idf is off by as much for a word that is in nearly all documents.
    """
    return ULP * ((len(counts) + 16) * score + 4 * (K1 + 1) * sum(counts.values()))
