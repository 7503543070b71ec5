"""The runs of words that a generation repeats of its own suffix, with the pieces of words at their ends.

The prompt may end within a word, and so may what is generated, where the last token does. The piece that is said
counts: else an exact match could be shorter than it is. Who else holds such a run is asked by its whole words, which is
more than hold the run.
"""

import unicodedata
from typing import NamedTuple

import numpy as np

from memorization.alignment.verbatim import common_runs
from memorization.encoding.words import words


class OwnRun(NamedTuple):
    """begin, end: of the run, in words of the generation. span: [start, end) in characters of the suffix. whole_begin,
    whole_end: those of its words that are whole in the sample.
    """

    begin: int
    end: int
    length: int
    span: tuple[int, int]
    whole_begin: int
    whole_end: int


def own_runs(generation, ours, suffix, first, least):
    """The OwnRuns, in order, of a generation in its own suffix: the longest, and every maximal one longer than `least`.

    generation, suffix: texts. ours: the Words of the generation. first: the character of the suffix at which the first
    word begins that is whole in the sample; None if that is not known.
    """
    theirs = words(suffix)
    places, begins, counts = common_runs(theirs.hashes, ours.hashes).T
    ends, stops = begins + counts, theirs.bounds[places + counts - 1, 1]
    pieces = np.zeros(len(begins), bool)  # whether the last word is one
    n = len(ours.hashes)
    if (piece := _piece(generation, ours, suffix, theirs)) and not ((begins <= piece[0]) & (ends == n)).any():
        other = begins < piece[0]
        columns = zip((begins, ends, places, stops, pieces), (piece[0], n, *piece[1:], True), strict=True)
        begins, ends, places, stops, pieces = (np.append(column[other], value) for column, value in columns)
    lengths = ours.lengths(begins, ends)
    asked = (lengths > least) | (np.arange(len(lengths)) == lengths.argmax()) if len(lengths) else ()
    runs = []
    for k in np.flatnonzero(asked).tolist():
        begin, end, place = int(begins[k]), int(ends[k]), int(places[k])
        start = int(theirs.bounds[place, 0])
        whole = begin + (first is not None and start < first), end - int(pieces[k])
        runs.append(OwnRun(begin, end, int(lengths[k]), (start, int(stops[k])), *whole))
    return runs


def _piece(generation, ours, suffix, theirs):
    """The longest run, up to the end of the generation, whose last word is a piece of one of the suffix, or None.

    (begin, place, stop): the word of either text with which it begins, and the character of the suffix behind it.
    """
    last = len(ours.hashes) - 1
    if last < 0 or generation[ours.bounds[last, 1] :].strip("\ufffd"):  # which stands for bytes of a character
        return None
    if last:
        candidates = 1 + np.flatnonzero(theirs.hashes[:-1] == ours.hashes[last - 1])
    else:
        candidates = np.arange(min(len(theirs.hashes), 1))
    said, best, most = _folded(generation[slice(*ours.bounds[last])]), None, -1
    for place in candidates.tolist():
        start, end = theirs.bounds[place].tolist()
        if theirs.hashes[place] == ours.hashes[last] or not _folded(suffix[start:end]).startswith(said):
            continue
        before = min(place, last)
        differ = np.flatnonzero(theirs.hashes[place - before : place] != ours.hashes[last - before : last])
        count = before - 1 - differ[-1] if len(differ) else before
        if count > most:
            stop = min(end, start + int(ours.bounds[last, 1] - ours.bounds[last, 0]))
            best, most = (last - count, place - count, stop), count
    return best


def _folded(word):
    return unicodedata.normalize("NFKC", word).casefold()
