"""A document analysed once, however many pairs it is in (design.md, step 1)."""

from functools import cached_property

import numpy as np

from memorization.alignment.sentences import split_sentences
from memorization.alignment.vectors import vectorize
from memorization.alignment.words import analyse


class Document:
    """A text with its sentence spans and words; make it with prepare()."""

    def __init__(self, text, sentences):
        self.text, self.sentences = text, sentences
        self._stems, self._stem_ends, self.words, self.word_ends, self.bounds = analyse(text, sentences)
        self._vectors = {}

    def vectors(self, min_sentlen):
        """The packed Vectors, each of at least min_sentlen words if the document has as many."""
        if min_sentlen not in self._vectors:
            self._vectors[min_sentlen] = vectorize(self._stems, self._stems.argsort(), self._stem_ends, min_sentlen)
        return self._vectors[min_sentlen]

    def words_of(self, first, last):
        """Where the words of the sentences first to last begin and end."""
        return (self.word_ends[first - 1] if first else 0), self.word_ends[last]

    @cached_property
    def reach(self):
        """Like bounds, but a sentence's first and last words reach to its ends."""
        reach = self.bounds.copy()
        starts = np.concatenate(([0], self.word_ends[:-1]))
        filled = starts < self.word_ends
        spans = np.array(self.sentences, np.int64).reshape(-1, 2)[filled]
        reach[starts[filled], 0] = spans[:, 0]
        reach[self.word_ends[filled] - 1, 1] = spans[:, 1]
        return reach


def prepare(text, sentences=None):
    """Analyse a text for any number of alignments.

    sentences: [start, end) spans in characters, in order, used instead of our splitter's. Raises ValueError for one
    that is outside the text or before the end of the one before.
    """
    sentences = split_sentences(text) if sentences is None else [(start, end) for start, end in sentences]
    bound = 0
    for start, end in sentences:
        if not bound <= start <= end <= len(text):
            raise ValueError(
                f"sentence span [{start}, {end}) is out of order or outside its text of {len(text)} characters"
            )
        bound = end
    return Document(text, sentences)
