"""Stage 5's rows: one a generation (design.md, Files between the stages)."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec
from msgspec import Meta

from memorization.detection.labels import Label
from memorization.detection.personal_data import PersonalKind
from memorization.extraction.generations import Generation
from memorization.shell.cli import UserError
from memorization.store.manifests import Count, Manifest, Positive
from memorization.store.rows import Id, Key

REMEDY = "run plagiarism_detect.py again"
FORMAT = 10  # of these rows; raise it when a field or its meaning changes

Span = tuple[Count, Count]  # [start, end) in characters
# What more than ten clusters hold belongs to nobody in particular (a hotline, a web page). Ten is the count up to which
# the cell size suppression policy of CMS hides.
COMMON = 10  # other clusters
Whose = Literal["own", "another", "other", "shared", "prompt", "nobody"]  # whose personal data is
WHOSE = get_args(Whose)


class Candidate(msgspec.Struct, forbid_unknown_fields=True):
    """A training sample whose suffix BM25 ranks among the best. text: that suffix, where a passage of it is listed."""

    id: Id
    score: Annotated[float, Meta(ge=0)]
    text: str | None


class Passage(msgspec.Struct, forbid_unknown_fields=True):
    """A span of the generation aligned with one of a training text. candidate: the id of that sample."""

    candidate: Id
    label: Label
    generation_span: Span
    candidate_span: Span
    paraphrase_probability: Annotated[float, Meta(ge=0, le=1)] | None


class SuffixRun(msgspec.Struct, forbid_unknown_fields=True):
    """The longest run of words that a generation shares with its own suffix. length: in columns (words.Words)."""

    length: Positive
    generation_span: Span
    suffix_span: Span

    def __post_init__(self) -> None:
        _check_length(self)


class CopiedRun(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A run of words of a generation that samples contain too. length: in columns of the generation (words.Words).

    holders: how many distinct clusters contain it (design.md, Terms); members: how many of them are of members. sample:
    one that contains it: the generation's own, else one of its cluster, else a member if there is one. sample_span: in
    its whole text, prefix and suffix.
    """

    length: Positive
    generation_span: Span
    holders: Positive
    members: Count
    sample: Id
    cluster: Id  # of that sample
    sample_span: Span

    def __post_init__(self) -> None:
        _check_length(self)
        _check_span("sample_span", self.sample_span)
        if self.members > self.holders:
            raise ValueError(f"{self.members} of {self.holders} holders are members")

    def whose(self, cluster: int) -> Literal["own", "another", "other", "shared"]:
        """Whose the run is, for a generation whose own sample is of `cluster`: of that cluster alone, of one other
        training cluster, of one other held-out cluster, or of several.
        """
        if self.holders > 1:
            return "shared"
        if self.cluster == cluster:
            return "own"
        return "another" if self.members else "other"


class PersonalItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Personal data of one kind in a generation, compared by its normalized value (design.md, Terms).

    prompted: whether the prompt contains it. own: whether a sample of its own cluster does, behind the prompt. holders:
    how many other clusters contain it, of both sides; members: how many of them are of members. sample: one of these, a
    member if there is one.
    """

    kind: PersonalKind
    generation_span: Span
    prompted: bool
    own: bool
    holders: Count
    members: Count
    sample: Id | None
    cluster: Id | None  # of that sample

    def __post_init__(self) -> None:
        if self.members > self.holders:
            raise ValueError(f"{self.members} of {self.holders} holders are members")
        if not (self.sample is None) == (self.cluster is None) == (not self.holders):
            raise ValueError(f"{self.holders} holders, but sample {self.sample} of cluster {self.cluster}")
        if self.own and self.prompted:
            raise ValueError("own, but in the prompt")

    @property
    def whose(self) -> Whose:
        """Where it comes from: the prompt; the own cluster, and at most ten in all; one other training cluster; one
        other held-out cluster; several; or no sample.
        """
        if self.prompted:
            return "prompt"
        if self.holders >= COMMON:
            return "shared"
        if self.own:
            return "own"
        if self.holders == 1:
            return "another" if self.members else "other"
        return "shared" if self.holders else "nobody"


class Labels(msgspec.Struct, forbid_unknown_fields=True):
    """The labels of a generation: the strongest one, the same without the span scan, and the published one."""

    label: Label
    label_without_scan: Label
    first_label: Label
    passages: list[Passage]


class OwnSuffix(msgspec.Struct, forbid_unknown_fields=True):
    """A generation beside its own suffix, member or not (design.md, Terms). run: None without a word in common."""

    label: Label
    run: SuffixRun | None
    passages: list[Passage]


class Ceiling(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a detection would hold if the generation were its own suffix, as far as it can reach (design.md, Terms).

    tokens: of the suffix, None where they are not known. longest: the length of the longest run that a training text
    contains. own: whether one of the copied runs is its own (CopiedRun.whose). personal: whether one of its items of
    personal data is (PersonalItem.whose), names left out.
    """

    tokens: Positive | None
    longest: Count
    own: bool
    personal: bool


class Detection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a generation reproduces of its candidates, and of its own suffix.

    Spans are not empty and lie within their texts: in the generation, and where they are of its own suffix, in that.
    """

    generation: Generation
    candidates: list[Candidate]
    longest_common_run: CopiedRun | None  # with any training text, however short
    copied: list[CopiedRun]  # every run over the span length (SpanIndex.copied)
    repeats: Count  # of its most frequent word 3-gram
    entities_agree: bool | None  # in a sentence pair classified as paraphrase; None without a classifier or recognizer
    personal: list[PersonalItem]
    own: OwnSuffix
    ceiling: Ceiling | None  # of the probe, in its first generation
    labels: Labels  # in the first direction asked for
    paper: Labels | None  # with --direction both, in direction paper

    def __post_init__(self) -> None:
        passages = [*self.labels.passages, *(self.paper.passages if self.paper else ()), *self.own.passages]
        for part in (*passages, self.own.run, self.longest_common_run, *self.copied, *self.personal):
            if part is not None:
                _check_span("generation_span", part.generation_span, len(self.generation.text))
        for passage in passages:
            _check_span("candidate_span", passage.candidate_span)
        for passage in self.own.passages:
            _check_span("candidate_span", passage.candidate_span, len(self.generation.suffix))
        if self.own.run is not None:
            _check_span("suffix_span", self.own.run.suffix_span, len(self.generation.suffix))

    @property
    def key(self) -> Key:
        return self.generation.key


def checked_rows(path: Path, rows: Iterable[Detection], manifest: Manifest) -> Iterator[Detection]:
    """The same Detections. Raises UserError for those that contradict their manifest.

    Rows have labels in direction paper if both directions were asked for, the texts of their passages, and runs of no
    more other clusters than there were.
    """
    both = manifest.made_of["direction"] == "both"
    holders: dict[bool, set[int]] = {True: set(), False: set()}  # whether of members -> clusters
    for row in rows:
        probe, texts = row.generation, {candidate.id: candidate.text for candidate in row.candidates}
        for passage in (*row.labels.passages, *(row.paper.passages if row.paper else ())):
            if passage.candidate_span[1] > len(texts.get(passage.candidate) or ""):
                raise UserError(f"{path}: row {probe.id} has a passage of no text; {REMEDY}")
        if (row.paper is not None) != both:
            raise UserError(f"{path}: row {probe.id} is not of direction {manifest.made_of['direction']}; {REMEDY}")
        for run in row.copied:
            if run.whose(probe.cluster) in ("another", "other"):
                holders[run.members > 0].add(run.cluster)
        yield row
    for side, most in zip((True, False), manifest.facts["clusters"], strict=True):
        if len(holders[side]) > most:
            raise UserError(f"{path}: names {len(holders[side])} clusters of {most}; {REMEDY}")


def _check_length(run: SuffixRun | CopiedRun) -> None:
    start, end = run.generation_span
    if run.length > 2 * (end - start):  # no character has more columns
        raise ValueError(f"a run of the length {run.length} is not {start} to {end}")


def _check_span(name: str, span: Span, length: float = math.inf) -> None:
    if not span[0] < span[1] <= length:
        raise ValueError(f"{name} {span} is no span of a text of {length} characters")
