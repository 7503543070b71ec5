"""A document analysed once, however many pairs it is in (design.md, step 1)."""

from memorization.alignment.vectors import vectorize
from memorization.alignment.words import analyse


class Document:
    """A text with its sentence spans and words (words.analyse); make it with prepare()."""

    def __init__(self, text, sentences=None):
        spans, self._stems, self._stem_ends, self.words, self.word_ends, self.bounds, self.reach = analyse(
            text, sentences
        )
        self.text, self.sentences = text, [*map(tuple, spans.tolist())]
        self._vectors = {}

    def vectors(self, min_sentlen):
        """The packed Vectors, each of at least min_sentlen words if the document has as many."""
        if min_sentlen not in self._vectors:
            self._vectors[min_sentlen] = vectorize(self._stems, self._stems.argsort(), self._stem_ends, min_sentlen)
        return self._vectors[min_sentlen]

    def words_of(self, first, last):
        """The slice of words in the sentences first to last."""
        return slice(self.word_ends[first - 1] if first else 0, self.word_ends[last])


def prepare(text, sentences=None):
    """Analyse a text for any number of alignments.

    sentences: [start, end) spans in characters, in order, used instead of our splitter's. Raises ValueError for one
    that is outside the text or before the end of the one before.
    """
    if sentences is None:
        return Document(text)
    sentences, bound = [(start, end) for start, end in sentences], 0
    for start, end in sentences:
        if not bound <= start <= end <= len(text):
            raise ValueError(
                f"sentence span [{start}, {end}) is out of order or outside its text of {len(text)} characters"
            )
        bound = end
    return Document(text, sentences)
