"""Generations that repeat themselves."""

import numpy as np


def repeats(words):
    """How often the most frequent word 3-gram of a text occurs, overlapping occurrences counted: 0 under three words.

    words: int64 ids of the text's words in order, as `memorization.encoding.words.words(text).hashes`.
    """
    if len(words) < 3:
        return 0
    grams = np.array([words[:-2], words[1:-1], words[2:]])
    grams = grams[:, np.lexsort(grams)]
    bounds = np.ones(grams.shape[1] + 1, bool)  # between runs of equal 3-grams, the two ends of all included
    bounds[1:-1] = (grams[:, 1:] != grams[:, :-1]).any(axis=0)
    return int(np.diff(np.flatnonzero(bounds)).max())
