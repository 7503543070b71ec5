"""A document analysed once for all pairs that it is in: makes reference.preprocess() and words_in() fast.

Sentences are taken apart into chunks, each of which is known by a number (chunk_words); compiled code puts the
document together from what is known of its chunks.
"""

import threading
from collections.abc import Iterable

import numpy as np

from memorization.alignment.chunk_words import (
    CHARACTERS,
    END,
    HASH,
    ROW,
    START,
    STEMS,
    STEMS_END,
    WORD,
    WORDS,
    WORDS_END,
    ChunkWords,
)
from memorization.alignment.sentence_splitting import split_sentences
from memorization.alignment.sentence_vectors import vectorize
from memorization.alignment.treebank_tokens import chunks_of
from memorization.store.compiled import compiled

REMEMBERED = 1 << 22  # characters of chunks remembered; beyond that all are forgotten

_chunk_words, _lock = ChunkWords(), threading.Lock()


class Document:
    """A text with its sentences and words; make it with prepare().

    sentences: [start, end) in characters. words: int64 hashes of the lower-cased words. word_ends: for each sentence,
    where its words end. bounds: [start, end) of each word in characters, int32. reach: the same, with a sentence's
    first and last words reaching to its ends.
    """

    def __init__(self, text: str, sentences: list[tuple[int, int]]) -> None:
        self.text, self.sentences = text, sentences
        self._vectors: dict[int, np.ndarray] = {}
        with _lock:
            if _chunk_words.characters > REMEMBERED:
                _chunk_words.forget()
            chunks, starts, ends = _chunks(text, sentences)
            spans = np.array(sentences, np.int32).reshape(-1, 2)
            self._stems, self._stem_ends, self.words, self.word_ends, self.bounds, self.reach = _lay_out(
                chunks, starts, ends, spans, *(numbers.array for numbers in _chunk_words.numbers)
            )

    def vectors(self, min_sentlen: int) -> np.ndarray:
        """The packed Vectors, each of at least min_sentlen words if the document has as many."""
        if min_sentlen not in self._vectors:
            self._vectors[min_sentlen] = vectorize(self._stems, self._stems.argsort(), self._stem_ends, min_sentlen)
        return self._vectors[min_sentlen]

    def words_of(self, first: int, last: int) -> slice:
        """The slice of words in the sentences first to last."""
        return slice(self.word_ends[first - 1] if first else 0, self.word_ends[last])


def prepare(text: str, sentences: Iterable[tuple[int, int]] | None = None) -> Document:
    """Analyse a text for any number of alignments.

    sentences: [start, end) spans in characters, in order; default: those of split_sentences(). Raises ValueError for
    one that is outside the text or before the end of the one before.
    """
    if sentences is None:
        return Document(text, split_sentences(text))
    sentences, bound = [(start, end) for start, end in sentences], 0
    for start, end in sentences:
        if not bound <= start <= end <= len(text):
            raise ValueError(
                f"sentence span [{start}, {end}) is out of order or outside its text of {len(text)} characters"
            )
        bound = end
    return Document(text, sentences)


def _chunks(text: str, sentences: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The chunks of the sentences as _lay_out() takes them: their numbers, where they start, where sentences end."""
    numbers: list[int] = []
    ends, placed = [], []
    for begin, end in sentences:
        chunks, offsets = chunks_of(text[begin:end])
        if chunks:
            placed.append((len(numbers), np.array(offsets or [0]) + begin))
        numbers += map(_chunk_words.__getitem__, chunks)
        ends.append(len(numbers))
    starts = np.full(len(numbers), -1)
    for first, places in placed:
        starts[first : first + len(places)] = places
    return np.array(numbers, np.int64), starts, np.array(ends, np.int64)


@compiled
def _lay_out(chunks, starts, ends, spans, rows, chunk_stems, chunk_words):
    """The stems, stem_ends, words, word_ends, bounds and reach of a Document.

    chunks: the number of each chunk of the text. starts: where each begins, in characters of the text, or -1 if one
    character behind the one before. ends: for each sentence, where its chunks end; spans: its [start, end). rows,
    chunk_stems, chunk_words: the arrays of ChunkWords.
    """
    n_stems = n_words = 0
    for chunk in chunks:
        row = ROW * chunk
        n_stems += rows[row + STEMS_END] - rows[row + STEMS]
        n_words += (rows[row + WORDS_END] - rows[row + WORDS]) // WORD
    stems, words = np.empty(n_stems, np.int64), np.empty(n_words, np.int64)
    bounds, reach = np.empty((n_words, 2), np.int32), np.empty((n_words, 2), np.int32)
    stem_ends, word_ends = np.empty(len(ends), np.int64), np.empty(len(ends), np.int64)
    next_chunk = stem = word = position = 0
    for i in range(len(ends)):
        first_word = word
        for place in range(next_chunk, ends[i]):
            row = ROW * chunks[place]
            if starts[place] >= 0:
                position = starts[place]
            for k in range(rows[row + STEMS], rows[row + STEMS_END]):
                stems[stem] = chunk_stems[k]
                stem += 1
            for k in range(rows[row + WORDS], rows[row + WORDS_END], WORD):
                words[word] = chunk_words[k + HASH]
                bounds[word, 0], bounds[word, 1] = position + chunk_words[k + START], position + chunk_words[k + END]
                reach[word] = bounds[word]
                word += 1
            position += rows[row + CHARACTERS] + 1
        next_chunk = ends[i]
        stem_ends[i], word_ends[i] = stem, word
        if word > first_word:
            reach[first_word, 0], reach[word - 1, 1] = spans[i]
    return stems, stem_ends, words, word_ends, bounds, reach
