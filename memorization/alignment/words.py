"""Words and stems of a text, sentence by sentence: from the numbers of its chunks, laid out by compiled code."""

import re
import threading

import numpy as np

from memorization.alignment.chunks import (
    CHARACTERS,
    END,
    ENDING,
    HASH,
    REMEMBERED,
    ROW,
    START,
    STEMS,
    STEMS_END,
    WORD,
    WORDS,
    WORDS_END,
    Chunks,
)
from memorization.alignment.sentences import ALWAYS, BOUNDARY, OTHER_END, WITHIN, closes, decided, split_sentences
from memorization.alignment.treebank import LAST, chunks_of
from memorization.store.compiled import compiled

CHUNK = re.compile(r"\S+")
OTHER_BLANK = re.compile(r"[^\S \t\n\r\x0b\x0c]")  # white space that ends no word for Punkt

_chunks, _lock = Chunks(), threading.Lock()


@compiled
def _lay_out(numbers, starts, ends, spans, given, rows, chunk_stems, chunk_words):
    """What analyse() returns, put together from what is known of the chunks.

    numbers: of all chunks of the text, in order; starts: where each begins, in characters of the text, or -1 if one
    character behind the one before; ends: of each sentence, how many chunks there are up to its end; spans: of the
    sentences, filled in if the first one's end is 0; rows, chunk_stems, chunk_words: the arrays of Chunks.
    """
    n_stems = n_words = 0
    for number in numbers:
        row = ROW * number
        n_stems += rows[row + STEMS_END] - rows[row + STEMS]
        n_words += (rows[row + WORDS_END] - rows[row + WORDS]) // WORD
    stems, words, bounds = np.empty(n_stems, np.int64), np.empty(n_words, np.int64), np.empty((n_words, 2), np.int32)
    stem_ends, word_ends = np.empty(len(ends), np.int64), np.empty(len(ends), np.int64)
    chunk = stem = word = position = 0
    reach = np.empty((n_words, 2), np.int32)
    for i in range(len(ends)):
        first_word, begin, end = word, -1, 0
        while chunk < ends[i]:
            row = ROW * numbers[chunk]
            if starts[chunk] >= 0:
                position = starts[chunk]
            if begin < 0:
                begin = position
            for k in range(rows[row + STEMS], rows[row + STEMS_END]):
                stems[stem] = chunk_stems[k]
                stem += 1
            for k in range(rows[row + WORDS], rows[row + WORDS_END], WORD):
                words[word] = chunk_words[k + HASH]
                bounds[word, 0], bounds[word, 1] = position + chunk_words[k + START], position + chunk_words[k + END]
                reach[word] = bounds[word]
                word += 1
            end = position + rows[row + CHARACTERS]
            position = end + 1
            chunk += 1
        stem_ends[i], word_ends[i] = stem, word
        if not given:
            spans[i, 0], spans[i, 1] = begin if i else 0, end
        if word > first_word:
            reach[first_word, 0], reach[word - 1, 1] = spans[i]
    return stems, stem_ends, words, word_ends, bounds, reach


def _at_once(text):
    """(numbers, starts, ends) of a text as _lay_out() takes them, split into chunks before it is into sentences.

    None where this may not be the same as sentence by sentence.
    """
    chunks, lead = text.split(), len(text) - len(text.lstrip())
    if not chunks or (not text.isascii() and OTHER_END.search(text)):
        return None
    offsets, quotes = None, "'" in text or '"' in text
    if " ".join(chunks) == text.strip():
        if quotes and text[:lead] not in ("", " "):
            return None
        starts = np.full(len(chunks), -1)
        starts[0] = lead
    elif OTHER_BLANK.search(text):
        return None
    else:
        offsets = [chunk.start() for chunk in CHUNK.finditer(text)]
        if quotes and any(
            text[offset - 1 : offset].strip(" ") or text[offset + len(chunk) : offset + len(chunk) + 1].strip(" ")
            for offset, chunk in zip(offsets, chunks, strict=True)
            if "'" in chunk or '"' in chunk
        ):
            return None
        starts = np.array(offsets)
    numbers = np.fromiter(map(_chunks.__getitem__, chunks), np.int64, len(chunks))
    endings = _chunks.rows.array[numbers * ROW + ENDING]
    within = WITHIN in endings or (endings[-1] and BOUNDARY.search(chunks[-1]))
    if within or (lead and endings[0]):
        return None
    ends = []
    for k in np.flatnonzero(endings[:-1]).tolist():
        chunk, following = chunks[k : k + 2]
        if endings[k] != ALWAYS:
            context = text[offsets[k] : offsets[k + 1]] + following if offsets else f"{chunk} {following}"
            if not decided(context):
                continue
        if closes(following) and chunk[-1] in ".?!":
            return None
        ends.append(k + 1)
    ends.append(len(chunks))
    for end in ends:
        numbers[end - 1] = _chunks[chunks[end - 1], LAST]
    return numbers, starts, np.array(ends)


def _one_by_one(text, sentences):
    """What _at_once() returns, of a text in the given sentences."""
    numbers, ends, placed = [], [], []
    for begin, end in sentences:
        chunks, offsets = chunks_of(text[begin:end])
        if chunks:
            placed.append((len(numbers), np.array(offsets or [0]) + begin))
        numbers += map(_chunks.__getitem__, chunks)
        ends.append(len(numbers))
    starts = np.full(len(numbers), -1)
    for first, places in placed:
        starts[first : first + len(places)] = places
    return np.array(numbers, np.int64), starts, np.array(ends, np.int64)


def analyse(text, sentences=None):
    """All words of a text, sentence by sentence: those of split_sentences(), or the given ones.

    Returns (spans, stems, stem_ends, words, word_ends, bounds, reach): the sentences' [start, end), int32; stems and
    words as int64 hashes; for each sentence where its stems and where its words end; the words' [start, end), int32,
    and the same with a sentence's first and last words reaching to its ends. All in characters of the text.
    """
    with _lock:
        if _chunks.characters > REMEMBERED:
            _chunks.forget()
        found = _at_once(text) if sentences is None else None
        spans = np.zeros((len(found[2]), 2), np.int32) if found else None
        if not found:
            sentences = split_sentences(text) if sentences is None else sentences
            found, spans = _one_by_one(text, sentences), np.array(sentences, np.int32).reshape(-1, 2)
        known = (_chunks.rows.array, _chunks.stems.array, _chunks.words.array)
        return spans, *_lay_out(*found, spans, sentences is not None, *known)
