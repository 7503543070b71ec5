"""The detector: makes reference.align() fast, for pairs of documents that are analysed once."""

from itertools import compress
from typing import NamedTuple

import numpy as np

from memorization.alignment.document import Document, prepare
from memorization.alignment.filtering import find_cases
from memorization.alignment.profiles import PROFILES, Profile
from memorization.alignment.reference import Passage, Span, is_summary
from memorization.alignment.verbatim import common_runs, long_runs


class Alignment(NamedTuple):
    """What two documents have in common.

    kind: "none", "verbatim", "summary" or "obfuscated". passages: [((s0, s1), (r0, r1)), ...] in order, [start, end)
    in characters of the suspicious and of the source document.
    """

    kind: str
    passages: list[Passage]


def align(suspicious: str | Document, source: str | Document, profile: str | Profile) -> Alignment:
    """Align two documents, each a text or a prepared Document, under a Profile or the name of one.

    The adaptive algorithm of Sanchez-Perez, Gelbukh and Sidorov (CLEF 2015); every parameter is in the profile.
    """
    profile = PROFILES[profile] if isinstance(profile, str) else profile
    suspicious, source = _prepared(suspicious), _prepared(source)
    a, b = suspicious.vectors(profile.min_sentlen), source.vectors(profile.min_sentlen)

    def find_passages(*gaps: int) -> tuple[bool, list[list[int]], list[Passage]]:
        """Whether there is any seed; the cases as first and last sentence of either side; their passages."""
        any_seed, array = find_cases(a, b, gaps, profile.th1, profile.th2, profile.th3)
        cases = array.tolist()
        passages = [(_span(suspicious.sentences, *case[:2]), _span(source.sentences, *case[2:])) for case in cases]
        long = [min(end - start for start, end in passage) >= profile.min_plaglen for passage in passages]
        return any_seed, list(compress(cases, long)), list(compress(passages, long))

    any_seed, cases, passages = find_passages(profile.susp_gap, profile.src_gap)
    if not any_seed:
        return Alignment("none", [])
    runs: set[Passage] = set()
    for case in cases:
        s, r = suspicious.words_of(*case[:2]), source.words_of(*case[2:])
        spans = long_runs(
            suspicious.words[s], source.words[r], suspicious.reach[s], source.reach[r], profile.verbatim_minlen
        )
        runs.update(((s0, s1), (r0, r1)) for s0, s1, r0, r1 in spans.tolist())
    if runs:
        return Alignment("verbatim", sorted(runs))
    _, _, wide = find_passages(profile.susp_gap_summary, profile.src_gap_summary)
    if is_summary(wide, profile.summary_ratio):
        return Alignment("summary", wide)
    return Alignment("obfuscated" if passages else "none", passages)


def longest_common_run(suspicious: str | Document, source: str | Document) -> Passage | None:
    """The longest run of words in both documents, or None without a common word.

    Words are those of the verbatim step; the longest run has the most characters in the suspicious document, and of
    several it is the first in the source.
    """
    suspicious, source = _prepared(suspicious), _prepared(source)
    runs = common_runs(suspicious.words, source.words)
    if not len(runs):
        return None
    a, b, n = runs.T
    a, b, n = runs[(suspicious.bounds[a + n - 1, 1] - suspicious.bounds[a, 0]).argmax()].tolist()
    return _span(suspicious.bounds, a, a + n - 1), _span(source.bounds, b, b + n - 1)


def _span(spans: list[Span] | np.ndarray, first: int, last: int) -> Span:
    """From the start of one span to the end of another."""
    return int(spans[first][0]), int(spans[last][1])


def _prepared(document: str | Document) -> Document:
    return prepare(document) if isinstance(document, str) else document
