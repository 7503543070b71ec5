"""The PAN measures on cases whose values can be worked out on paper."""

import sys
from math import log2
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from pan_measures import Tally  # noqa: E402


def score(cases, detections):
    tally = Tally()
    tally.add(cases, detections)
    return tally.score()


def test_what_is_detected_exactly_scores_one():
    cases = [((0, 100), (50, 150)), ((200, 300), (300, 400))]
    assert score(cases, cases) == (1, 1, 1, 1)


def test_half_a_case_detected_and_one_missed():
    cases = [((0, 100), (0, 100)), ((500, 600), (500, 600))]
    plagdet, recall, precision, granularity = score(cases, [((0, 50), (0, 50))])
    assert (recall, precision, granularity) == (0.25, 1, 1)
    assert plagdet == pytest.approx(2 * 0.25 / 1.25)


def test_two_detections_of_one_case_raise_granularity_and_count_once():
    detections = [((0, 60), (0, 60)), ((40, 100), (40, 100))]
    plagdet, recall, precision, granularity = score([((0, 100), (0, 100))], detections)
    assert (recall, precision, granularity) == (1, 1, 2)
    assert plagdet == pytest.approx(1 / log2(3))


def test_a_detection_must_overlap_the_case_on_both_sides():
    assert score([((0, 100), (0, 100))], [((0, 100), (200, 300))]) == (0, 0, 0, 1)


def test_nothing_to_find_and_nothing_found():
    assert score([], []) == (0, 0, 0, 1)
