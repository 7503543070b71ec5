"""The measures of text alignment (Potthast et al. 2010, An Evaluation Framework for Plagiarism Detection), macro.

A case or a detection is ((s0, s1), (r0, r1)): [start, end) in characters of the suspicious and the source document.
"""

from math import log2
from typing import NamedTuple


class Score(NamedTuple):
    plagdet: float
    recall: float
    precision: float
    granularity: float


class Tally:
    """Sums over pairs of documents; add() each pair, then score()."""

    def __init__(self):
        self.recalls, self.precisions, self.detectors = [], [], []

    def add(self, cases, detections):
        """The true cases of one pair of documents and what was detected in it."""
        self.recalls += [_covered(case, detections) for case in cases]
        self.precisions += [_covered(detection, cases) for detection in detections]
        counts = [sum(_overlap(case, detection) for detection in detections) for case in cases]
        self.detectors += [count for count in counts if count]

    def score(self):
        """Recall: mean share of a case that was detected; precision: mean share of a detection that is true;
        granularity: mean detections of a detected case; plagdet: harmonic mean / log2(1 + granularity)."""
        recall, precision = _mean(self.recalls, 0.0), _mean(self.precisions, 0.0)
        granularity = _mean(self.detectors, 1.0)
        f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
        return Score(f1 / log2(1 + granularity), recall, precision, granularity)


def _mean(values, default):
    return sum(values) / len(values) if values else default


def _overlap(a, b):
    return all(x0 < y1 and y0 < x1 for (x0, x1), (y0, y1) in zip(a, b, strict=True))


def _covered(pair, others):
    """The share of a pair's characters, of both sides together, in others that overlap it on both sides."""
    others = [other for other in others if _overlap(pair, other)]
    covered = 0
    for side, (low, high) in enumerate(pair):
        reached = low
        for start, end in sorted(other[side] for other in others):
            start, end = max(start, reached), min(end, high)
            if start < end:
                covered += end - start
                reached = end
    return covered / sum(high - low for low, high in pair)
