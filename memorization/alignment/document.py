"""A document analysed once, however many pairs it is in (design.md, step 1)."""

from functools import cached_property

import numpy as np

from memorization.alignment.compiled import compiled
from memorization.alignment.sentences import split_sentences
from memorization.alignment.vectors import vectorize
from memorization.alignment.words import analyse


@compiled
def _reach(bounds, ends, spans):
    reach, begin = bounds.copy(), 0
    for i in range(len(ends)):
        if begin < ends[i]:
            reach[begin, 0], reach[ends[i] - 1, 1] = spans[i]
        begin = ends[i]
    return reach


class Document:
    """A text with its sentence spans and words; make it with prepare()."""

    def __init__(self, text, sentences):
        self.text, self.sentences = text, sentences
        self._stems, self._stem_ends, self.words, self.word_ends, self.bounds = analyse(text, sentences)
        self._spans = np.array(sentences, np.int32).reshape(-1, 2)
        self._vectors = {}

    def vectors(self, min_sentlen):
        """The packed Vectors, each of at least min_sentlen words if the document has as many."""
        if min_sentlen not in self._vectors:
            self._vectors[min_sentlen] = vectorize(self._stems, self._stems.argsort(), self._stem_ends, min_sentlen)
        return self._vectors[min_sentlen]

    def words_of(self, first, last):
        """The slice of words in the sentences first to last."""
        return slice(self.word_ends[first - 1] if first else 0, self.word_ends[last])

    @cached_property
    def reach(self):
        """Like bounds, but a sentence's first and last words reach to its ends."""
        return _reach(self.bounds, self.word_ends, self._spans)


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
