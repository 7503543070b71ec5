"""Rows of stages 3 and 5: what cannot be is refused, whoever wrote it."""

import copy

import msgspec
import numpy as np
import pytest

from memorization.detection.detections import Candidate, Detection, Labels, OwnSuffix, Passage, SuffixRun
from memorization.extraction.exposures import Exposure
from memorization.extraction.generations import Generation, Reach
from memorization.extraction.matches import Near
from memorization.extraction.scores import Scores
from support.detection_rows import detection, item
from support.generation_rows import generation

PASSAGE = Passage(2, "paraphrase", (0, 9), (5, 14), 0.75)
LABELS = Labels("verbatim", "none", "idea", [PASSAGE])
OWN = OwnSuffix("none", SuffixRun(9, (0, 9), (5, 14)), [PASSAGE])
NEAR = Near(edit_similarity=0.5, rouge_l=0.25, common_run=2, near_copy=False)
SCORES = {"log_likelihood": -3.0, "log_p_z": "-inf", "min_k": -2.0, "min_k_plus": 0.5, "zlib_bytes": 20}
SCORES |= {"matched_tokens": 1, "extraction_strength": 0.5, "token_log_probs": np.float32([-1, -np.inf]).tobytes()}
SCORES |= {"token_greedy": b"\x80", "token_lengths": np.uint16([2, 1]).tobytes()}
SCORES = Scores(tokens=2, **SCORES)
NOT_COMPUTED = {"log_p_z", "matched_tokens", "extraction_strength", "min_k_plus"}  # of scores: they may be missing
NOT_COMPUTED |= {"token_log_probs", "token_greedy", "token_lengths"}
FIELDS = {
    "near": NEAR,
    "scores": SCORES,
    "candidates": [Candidate(2, 1.5, "text")],
    "personal": [item("date", (0, 9), "another")],
    "labels": LABELS,
    "paper": LABELS,
    "matched_tokens": 2,
    "generation_ids": [0, 7],
}
ROWS = {
    Generation: generation(
        3,
        "text",
        generation_ids=[0, 7],
        matched_tokens=2,
        exact_match=None,
        near=NEAR,
        scores=SCORES,
        reach=Reach(2, 4),
    ),
    Detection: msgspec.structs.replace(detection(3, run=9, others=[(7, 2, 1)], **FIELDS), own=OWN),
    Exposure: Exposure(
        id=3,
        turn=0,
        sample=0,
        pair=1,
        copies=4,
        planted=True,
        log_likelihood=-1.0,
        exposure=2.5,
        error=0.5,
        extracted=False,
    ),
}
SHARE = (-0.1, 1.1, None, "0.5")
ID, COUNT, SPAN = (
    (-1, 2**63, 1.0, "1", None, True),
    (-1, 1.5, "1", True),
    ([9, 0], [3, 3], [-1, 3], [0], [0, 1, 2], None),
)
BEYOND = [0, 501]  # one more than the texts of the detection have characters
GENERATED = {
    ("id",): ID,
    ("turn",): ID,
    ("sample",): ID,
    ("member",): (None, 1, "true"),
    ("duplicates",): (0, -1, None, 1.5),
    ("cluster",): ID,
    ("prefix",): (None, 3),
    ("suffix",): (None, ["a"]),
    ("generation",): (None, {}),
    ("matched_tokens",): (*COUNT, 3),
    ("generation_ids",): ([0, -1], [0, 1.5], None, [0, "a"], [0]),
    ("reach", "tokens"): (0, None),
    ("reach", "characters"): (-1, 501),
    ("exact_match",): (0, "true"),
    ("near", "edit_similarity"): SHARE,
    ("near", "rouge_l"): SHARE,
    ("near", "common_run"): (-1, None, 1.5),
    ("near", "near_copy"): (None, 1),
    ("scores", "tokens"): (0, None, 1.5, 3),
    ("scores", "log_likelihood"): (0.5, "0", "inf", None),
    ("scores", "log_p_z"): (0.5, "0", None),
    ("scores", "matched_tokens"): (-1, None, 3),
    ("scores", "extraction_strength"): SHARE,
    ("scores", "min_k"): ("0", None),
    ("scores", "min_k_plus"): ("0", None),
    ("scores", "zlib_bytes"): (0, None),
    ("scores", "token_log_probs"): ("", "AAAA", "AACAPwAAgD8=", [-1.0, -1.0], None),  # the third: over 0
    ("scores", "token_greedy"): ("gIA=", "?", [True, False]),
    ("scores", "token_lengths"): ("AgA=", 2),
}
PASSAGES = {
    (0, "candidate"): ID,
    (0, "label"): ("copied", None, ""),
    (0, "generation_span"): (*SPAN, BEYOND),
    (0, "candidate_span"): SPAN,
    (0, "paraphrase_probability"): (-0.1, 1.1, "0.5", True),
}
RUN = {("length",): (*COUNT, 0, 121), ("generation_span",): (*SPAN, BEYOND, [0, 4])}
COPIED = RUN | {
    ("sample",): ID,
    ("cluster",): ID,
    ("sample_span",): SPAN,
    ("holders",): (0, None, 1.5),
    ("members",): (*COUNT, None, 3),
}
OF_LABELS = {(name,): ("copied", None) for name in ("label", "label_without_scan", "first_label")}
WRONG = {
    Exposure: {
        ("id",): ID,
        ("turn",): ID,
        ("sample",): ID,
        ("pair",): (-1, None),
        ("copies",): (0, None),
        ("planted",): (1, None),
    }
    | {
        ("log_likelihood",): (0.5, "0", None),
        ("exposure",): (-0.1, None),
        ("error",): (-0.1, "1"),
        ("extracted",): (0, None),
    },
    Generation: GENERATED,
    Detection: {("generation", *path): values for path, values in GENERATED.items() if path[0] != "reach"}
    | {("candidates", 0, "id"): ID, ("candidates", 0, "score"): (-0.5, None, "1"), ("candidates", 0, "text"): (3, [])}
    | {("longest_common_run", *path): values for path, values in COPIED.items()}
    | {("copied", 0, *path): values for path, values in COPIED.items()}
    | {("own", "run", *path): values for path, values in RUN.items()}
    | {("own", "run", "suffix_span"): (*SPAN, BEYOND), ("repeats",): (-1, None, 1.5)}
    | {("personal", 0, "kind"): ("shoe size", None), ("personal", 0, "generation_span"): (*SPAN, BEYOND)}
    | {("personal", 0, "own"): (1, None), ("personal", 0, "members"): (-1, 2), ("personal", 0, "sample"): (None, -1)}
    | {
        ("ceiling", "tokens"): (0, 1.5),
        ("ceiling", "longest"): (-1, None),
        ("ceiling", "own"): (1, None),
        ("ceiling", "personal"): (1, None),
    }
    | {("own", "label"): ("copied", None), ("own", "passages", 0, "candidate_span"): (*SPAN, BEYOND)}
    | {(side, *path): values for side in ("labels", "paper") for path, values in OF_LABELS.items()}
    | {
        (*side, "passages", *path): values
        for side in (("labels",), ("paper",), ("own",))
        for path, values in PASSAGES.items()
        if side != ("own",) or path[1] != "candidate_span"
    },
}


def changed(row, path, value):
    """A row as built-in values, in which one is another."""
    row = part = copy.deepcopy(msgspec.to_builtins(row))
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return row


def objects(value, path=()):
    """The paths of all objects in built-in values."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    paths = [path] if isinstance(value, dict) else []
    return paths + [inner for key, part in items for inner in objects(part, (*path, key))]


def refused(row, kind):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(row), type=kind)


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_comes_back_and_no_value_that_cannot_be_does(kind):
    row = ROWS[kind]
    assert msgspec.json.decode(msgspec.json.encode(row), type=kind) == row
    for path, values in WRONG[kind].items():
        for value in values:
            refused(changed(row, path, value), kind)


@pytest.mark.parametrize("kind", ROWS)
def test_no_field_is_missing_or_surplus(kind):
    row = msgspec.to_builtins(ROWS[kind])
    for path in objects(row):
        refused(changed(row, (*path, "more"), 1), kind)
        part = row
        for step in path:
            part = part[step]
        for name in part.keys() - (NOT_COMPUTED if path[-1:] == ("scores",) else set()):
            less = {other: value for other, value in part.items() if other != name}
            refused(changed(row, path, less) if path else less, kind)
