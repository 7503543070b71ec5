"""The runs of words that a generation shares with its own suffix, with the parts of words at their ends.

The prompt may end within a word, and so may the generation, where its last token does. Such a part of a word counts,
else the run of an exact match would be too short. Who else contains the run is looked up by its whole words alone: the
holders may be overcounted, never undercounted.
"""

import unicodedata
from typing import NamedTuple

import numpy as np

from memorization.alignment.verbatim import common_runs
from memorization.encoding.words import Words


class SuffixMatch(NamedTuple):
    """A run of words of a generation in its own suffix.

    begin, end: in words of the generation; length: in columns. span: [start, end) in characters of the suffix.
    whole_begin, whole_end: of the words that are whole in the sample, in words of the generation.
    """

    begin: int
    end: int
    length: int
    span: tuple[int, int]
    whole_begin: int
    whole_end: int


def suffix_matches(
    generation: str, ours: Words, suffix: str, theirs: Words, first: int | None, least: int
) -> list[SuffixMatch]:
    """The longest match of a generation in its own suffix, and every maximal one longer than `least`, in order.

    ours, theirs: the Words of the generation and of the suffix. first: the character of the suffix at which the first
    word begins that is whole in the sample; None if that is not known.
    """
    places, begins, counts = common_runs(theirs.hashes, ours.hashes).T
    ends, stops = begins + counts, theirs.bounds[places + counts - 1, 1]
    partial = np.zeros(len(begins), bool)  # whether the last word is a part of one
    n = len(ours.hashes)
    if (match := _partial_match(generation, ours, suffix, theirs)) and not ((begins <= match[0]) & (ends == n)).any():
        kept = begins < match[0]
        columns = zip((begins, ends, places, stops, partial), (match[0], n, *match[1:], True), strict=True)
        begins, ends, places, stops, partial = (np.append(column[kept], value) for column, value in columns)
    lengths = ours.lengths(begins, ends)
    wanted = (lengths > least) | (np.arange(len(lengths)) == lengths.argmax()) if len(lengths) else ()
    matches = []
    for k in np.flatnonzero(wanted).tolist():
        begin, end, place = int(begins[k]), int(ends[k]), int(places[k])
        start = int(theirs.bounds[place, 0])
        whole = begin + (first is not None and start < first), end - int(partial[k])
        matches.append(SuffixMatch(begin, end, int(lengths[k]), (start, int(stops[k])), *whole))
    return matches


def _partial_match(generation: str, ours: Words, suffix: str, theirs: Words) -> tuple[int, int, int] | None:
    """The longest match up to the end of the generation whose last word begins a longer word of the suffix, or None.

    (begin, place, stop): its first word in the generation and in the suffix, and the character of the suffix behind it.
    """
    last = len(ours.hashes) - 1
    if last < 0 or generation[ours.bounds[last, 1] :].strip("\ufffd"):  # stands for some bytes of a character
        return None
    if last:
        candidates = 1 + np.flatnonzero(theirs.hashes[:-1] == ours.hashes[last - 1])
    else:
        candidates = np.arange(min(len(theirs.hashes), 1))
    beginning, best, most = _folded(generation[slice(*ours.bounds[last])]), None, -1
    for place in candidates.tolist():
        start, end = theirs.bounds[place].tolist()
        if theirs.hashes[place] == ours.hashes[last] or not _folded(suffix[start:end]).startswith(beginning):
            continue
        before = min(place, last)
        differ = np.flatnonzero(theirs.hashes[place - before : place] != ours.hashes[last - before : last])
        count = before - 1 - differ[-1] if len(differ) else before
        if count > most:
            stop = min(end, start + int(ours.bounds[last, 1] - ours.bounds[last, 0]))
            best, most = (last - count, place - count, stop), count
    return best


def _folded(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()
