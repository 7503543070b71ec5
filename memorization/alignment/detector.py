"""The detector: the steps of the algorithm on one pair of documents (design.md, Text alignment)."""

from itertools import compress
from typing import NamedTuple

from memorization.alignment.document import prepare
from memorization.alignment.filtering import find_cases
from memorization.alignment.profiles import PROFILES
from memorization.alignment.verbatim import common_runs, long_runs


class Alignment(NamedTuple):
    """What two documents have in common.

    kind: "none", "verbatim", "summary" or "obfuscated". passages: [((s0, s1), (r0, r1)), ...] in order, [start, end)
    in characters of the suspicious and of the source document.
    """

    kind: str
    passages: list


def align(suspicious, source, profile):
    """Align two documents, each a text or a prepared Document, under a Profile or the name of one.

    The adaptive algorithm of Sanchez-Perez, Gelbukh and Sidorov (CLEF 2015); every parameter is in the profile.
    """
    profile = PROFILES[profile] if isinstance(profile, str) else profile
    suspicious, source = _prepared(suspicious), _prepared(source)
    a, b = suspicious.vectors(profile.min_sentlen), source.vectors(profile.min_sentlen)

    def cases(*gaps):
        """Any seed; cases as (first, last, first, last), in sentences; the same in characters. Both in order."""
        seeds, ranges = find_cases(a, b, gaps, profile.th1, profile.th2, profile.th3)
        ranges = ranges.tolist()
        passages = [(_span(suspicious.sentences, *case[:2]), _span(source.sentences, *case[2:])) for case in ranges]
        long = [min(map(_length, passage)) >= profile.min_plaglen for passage in passages]
        return seeds, list(compress(ranges, long)), list(compress(passages, long))

    seeds, ranges, passages = cases(profile.susp_gap, profile.src_gap)
    if not seeds:
        return Alignment("none", [])
    runs = set()
    for case in ranges:
        s, r = suspicious.words_of(*case[:2]), source.words_of(*case[2:])
        found = long_runs(
            suspicious.words[s], source.words[r], suspicious.reach[s], source.reach[r], profile.verbatim_minlen
        )
        runs.update(((s0, s1), (r0, r1)) for s0, s1, r0, r1 in found.tolist())
    if runs:
        return Alignment("verbatim", sorted(runs))
    _, _, wide = cases(profile.susp_gap_summary, profile.src_gap_summary)
    suspicious_size, source_size = (sum(_length(passage[side]) for passage in wide) for side in (0, 1))
    if wide and source_size >= profile.summary_ratio * suspicious_size:
        return Alignment("summary", wide)
    return Alignment("obfuscated" if passages else "none", passages)


def longest_common_run(suspicious, source):
    """The longest run of words in both documents: ((s0, s1), (r0, r1)) in characters, or None without a common word.

    Each document is a text or a prepared Document. Words are those of the verbatim step; the longest is the run
    with the most characters in the suspicious document, the first in the source of several.
    """
    suspicious, source = _prepared(suspicious), _prepared(source)
    runs = common_runs(suspicious.words, source.words)
    if not len(runs):
        return None
    a, b, n = runs.T
    a, b, n = runs[(suspicious.bounds[a + n - 1, 1] - suspicious.bounds[a, 0]).argmax()].tolist()
    return _span(suspicious.bounds, a, a + n - 1), _span(source.bounds, b, b + n - 1)


def _span(spans, first, last):
    """From the start of one span to the end of another."""
    return int(spans[first][0]), int(spans[last][1])


def _length(span):
    return span[1] - span[0]


def _prepared(document):
    return prepare(document) if isinstance(document, str) else document
