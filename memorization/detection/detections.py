"""Stage 5's rows: one a generation (design.md, Files between the stages)."""

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from memorization.detection.labels import LABELS
from memorization.rows import Id
from memorization.runs import Count, Positive

FORMAT = 2  # of these rows; raise it when a field or its meaning changes

Span = tuple[Count, Count]  # [start, end) in characters
Label = Literal[(*LABELS, "none")]


class Candidate(msgspec.Struct, forbid_unknown_fields=True):
    """A training sample whose suffix BM25 ranks among the ten best."""

    id: Id
    score: Annotated[float, Meta(ge=0)]


class Passage(msgspec.Struct, forbid_unknown_fields=True):
    """A span of the generation aligned with one of a training text. candidate: the id of that sample."""

    candidate: Id
    label: Label
    generation_span: Span
    candidate_span: Span
    paraphrase_probability: Annotated[float, Meta(ge=0, le=1)] | None


class Run(msgspec.Struct, forbid_unknown_fields=True):
    """A run of words that the generation shares with a training text, of so many characters in the generation."""

    candidate: Id
    characters: Count
    generation_span: Span
    candidate_span: Span

    def __post_init__(self):
        start, end = self.generation_span
        if self.characters != end - start:
            raise ValueError(f"a run of {self.characters} characters is not {start} to {end}")


class Labels(msgspec.Struct, forbid_unknown_fields=True):
    """What a generation's alignments say of it: the strongest label, the same without the span scan, the published."""

    label: Label
    label_without_scan: Label
    first_label: Label
    passages: list[Passage]


class Own(msgspec.Struct, forbid_unknown_fields=True):
    """A generation beside its own suffix, member or not (design.md, Terms). run: None without a word in common."""

    label: Label
    run: Run | None
    passages: list[Passage]


class Detection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a generation reproduces of its candidates, and of its own suffix.

    Spans are not empty and lie within their texts: in the generation, and where they are of its own suffix, in that.
    """

    id: Id
    sample: Id
    member: bool
    duplicates: Positive
    prefix: str
    suffix: str
    generation: str
    matched_tokens: Count | None
    exact_match: bool | None
    candidates: list[Candidate]
    longest_common_run: Run | None
    own: Own
    labels: Labels  # in the first direction asked for
    paper: Labels | None  # with --direction both, in direction paper

    def __post_init__(self):
        theirs = [*self.labels.passages, *(self.paper.passages if self.paper else ()), self.longest_common_run]
        for found in (*theirs, self.own.run, *self.own.passages):
            if found is not None:
                _check_span("generation_span", found.generation_span, len(self.generation))
                _check_span("candidate_span", found.candidate_span)
        for found in (self.own.run, *self.own.passages):
            if found is not None:
                _check_span("candidate_span", found.candidate_span, len(self.suffix))


def _check_span(name, span, length=math.inf):
    if not span[0] < span[1] <= length:
        raise ValueError(f"{name} {span} is no span of a text of {length} characters")
