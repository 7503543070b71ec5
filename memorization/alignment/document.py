"""A document analysed once, however many pairs it is in (design.md, step 1)."""

from functools import cached_property

import numpy as np

from memorization.alignment.compiled import compiled
from memorization.alignment.seeding import Vectors
from memorization.alignment.sentences import split_sentences
from memorization.alignment.words import analyse


@compiled
def _merge(stems, ends, size, min_sentlen):
    """Sentence vectors as sparse rows; stems are indices below size, ends where each sentence's stems end.

    Returns the rows' starts, stems and counts, and the first and last sentence of each.
    """
    start, first, last = [0], [0 for _ in range(0)], [0 for _ in range(0)]
    stem, count = np.empty(len(stems), np.int64), np.empty(len(stems), np.int64)
    place = np.full(size, -1, np.int64)
    filled = opening = 0
    for i in range(len(ends)):
        begin = ends[i - 1] if i else 0
        if ends[i] == begin:  # no words: not a sentence
            continue
        if len(first) == len(last):
            first.append(i)
            opening = begin
        if ends[i] - opening < min_sentlen and ends[i] < len(stems):
            continue
        last.append(i)
        row, high = filled, ends[i]
        for s in range(i, first[-1] - 1, -1):  # a short sentence's stems come behind those of the next
            low = ends[s - 1] if s else 0
            for k in range(low, high):
                if place[stems[k]] < row:
                    place[stems[k]] = filled
                    stem[filled], count[filled] = stems[k], 0
                    filled += 1
                count[place[stems[k]]] += 1
            high = low
        start.append(filled)
    return np.array(start), stem[:filled], count[:filled], np.array(first), np.array(last)


@compiled
def _columns(start, stem, count, size):
    """The columns of sparse rows: where each stem's begins, the rows it is in, its counts there."""
    ends = np.zeros(size + 1, np.int64)
    for k in stem:
        ends[k + 1] += 1
    ends = np.cumsum(ends)
    fill = ends[:-1].copy()
    row, value = np.empty(len(stem), np.int64), np.empty(len(stem), np.int64)
    for i in range(len(start) - 1):
        for k in range(start[i], start[i + 1]):
            row[fill[stem[k]]], value[fill[stem[k]]] = i, count[k]
            fill[stem[k]] += 1
    return ends, row, value


class Document:
    """A text with its sentence spans and words; make it with prepare()."""

    def __init__(self, text, sentences):
        self.text, self.sentences = text, sentences
        self._stems, self._stem_ends, self.words, self.bounds, self.word_ends = analyse(text, sentences)
        self._vectors = {}

    def vectors(self, min_sentlen):
        """The Vectors, each of at least min_sentlen words if the document has as many."""
        if min_sentlen not in self._vectors:
            vocabulary, stems = np.unique(self._stems, return_inverse=True)
            start, stem, count, first, last = _merge(stems, self._stem_ends, len(vocabulary), min_sentlen)
            columns = _columns(start, stem, count, len(vocabulary))
            self._vectors[min_sentlen] = Vectors(vocabulary, start, stem, count, *columns, first, last)
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
