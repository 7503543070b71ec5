"""Stage 5's rows: one a generation (design.md, Files between the stages)."""

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from memorization.detection.labels import LABELS
from memorization.detection.personal import KINDS, NAME
from memorization.extraction.generations import Generation
from memorization.shell.cli import UserError
from memorization.store.manifests import Count, Positive
from memorization.store.rows import Id

REMEDY = "run plagiarism_detect.py again"
FORMAT = 8  # of these rows; raise it when a field or its meaning changes

Span = tuple[Count, Count]  # [start, end) in characters
# Whose personal data is. What more than ten clusters hold is of nobody in particular (a hotline, a web page): counts up
# to ten are those that the cell size suppression policy of CMS hides.
WHOSE = ("own", "another", "other", "shared", "prompt", "nobody")
COMMON = 10  # other clusters
Label = Literal[(*LABELS, "none")]


class Candidate(msgspec.Struct, forbid_unknown_fields=True):
    """A training sample whose suffix BM25 ranks among the best. text: that suffix, if a passage of it is given."""

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


class Run(msgspec.Struct, forbid_unknown_fields=True):
    """The longest run of words that a generation shares with its own suffix. length: its columns (words.Words)."""

    length: Positive
    generation_span: Span
    suffix_span: Span

    def __post_init__(self):
        _check_length(self)


class Copied(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A run of words of a generation that samples hold too. length: its columns in the generation (words.Words).

    holders: the distinct clusters one of whose samples contains it (design.md, Terms); members: how many of them are of
    members. sample: one that contains it: the generation's own, else one of its cluster, else a member if there is one.
    sample_span: in its text, prefix and suffix together.
    """

    length: Positive
    generation_span: Span
    holders: Positive
    members: Count
    sample: Id
    cluster: Id  # of that sample
    sample_span: Span

    def __post_init__(self):
        _check_length(self)
        _check_span("sample_span", self.sample_span)
        if self.members > self.holders:
            raise ValueError(f"{self.members} of {self.holders} holders are members")

    def whose(self, cluster: int) -> Literal["own", "another", "other", "shared"]:
        """Who holds it, beside a generation whose own sample is of a cluster: that cluster alone, one other training
        cluster, one other held-out cluster, or several.
        """
        if self.holders > 1:
            return "shared"
        if self.cluster == cluster:
            return "own"
        return "another" if self.members else "other"


class Personal(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Personal data of one kind in a generation, compared by its normalized value (design.md, Terms).

    prompted: whether it stands in the prompt. own: in a sample of its own cluster, behind the prompt. holders: how many
    other clusters hold it, of both sides, members: how many of them are of members. sample: one that holds it, a member
    if there is one.
    """

    kind: Literal[(*KINDS, NAME)]
    generation_span: Span
    prompted: bool
    own: bool
    holders: Count
    members: Count
    sample: Id | None
    cluster: Id | None  # of that sample

    def __post_init__(self):
        if self.members > self.holders:
            raise ValueError(f"{self.members} of {self.holders} holders are members")
        if not (self.sample is None) == (self.cluster is None) == (not self.holders):
            raise ValueError(f"{self.holders} holders, but sample {self.sample} of cluster {self.cluster}")
        if self.own and self.prompted:
            raise ValueError("its own, but in the prompt")

    @property
    def whose(self) -> Literal[WHOSE]:
        """Who holds it: the prompt; the own cluster, and at most ten in all; one other training cluster; one other
        held-out cluster; several; or no sample.
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


class Ceiling(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a detection would say if the generation were its own suffix, as far as it can reach (design.md, Terms).

    tokens: of the suffix, None where they are not known. longest: the length of the longest run that a training text
    holds. own: whether one of its copied runs is its own sample's (Copied.whose). personal: whether one of its items of
    personal data is (Personal.whose), names left out.
    """

    tokens: Positive | None
    longest: Count
    own: bool
    personal: bool


class Detection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a generation reproduces of its candidates, and of its own suffix.

    Spans are not empty and lie within their texts: in the generation, and where they are of its own suffix, in that.
    """

    generation: Generation  # without the token_log_probs of its scores
    candidates: list[Candidate]
    longest_common_run: Copied | None  # with any training text, however short
    copied: list[Copied]  # every run over the span length (SpanIndex.copied)
    repeats: Count  # of its most frequent word 3-gram
    entities_agree: bool | None  # in a sentence pair called a paraphrase (entities.agree); None: not asked
    personal: list[Personal]
    own: Own
    ceiling: Ceiling | None  # of the probe, in its first generation
    labels: Labels  # in the first direction asked for
    paper: Labels | None  # with --direction both, in direction paper

    def __post_init__(self):
        passages = [*self.labels.passages, *(self.paper.passages if self.paper else ()), *self.own.passages]
        for found in (*passages, self.own.run, self.longest_common_run, *self.copied, *self.personal):
            if found is not None:
                _check_span("generation_span", found.generation_span, len(self.generation.text))
        for passage in passages:
            _check_span("candidate_span", passage.candidate_span)
        for passage in self.own.passages:
            _check_span("candidate_span", passage.candidate_span, len(self.generation.suffix))
        if self.own.run is not None:
            _check_span("suffix_span", self.own.run.suffix_span, len(self.generation.suffix))

    @property
    def key(self) -> tuple[int, int]:
        return self.generation.key


def check_rows(path, rows, base, manifest):
    """Raise UserError for Detections that are not what their manifest says of them.

    base: those of the base model, None without one. They must have labels in direction paper if both were asked for,
    the texts of which they give passages, runs of no more other clusters than there were, and be of the same probes.
    """
    both, holders = manifest.made_of["direction"] == "both", {True: set(), False: set()}  # whether members -> clusters
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
    for side, most in zip((True, False), manifest.facts["clusters"], strict=True):
        if len(holders[side]) > most:
            raise UserError(f"{path}: names {len(holders[side])} clusters of {most}; {REMEDY}")
    if base is not None and {(row.key[0], row.paper is not None) for row in base} != {
        (row.key[0], both) for row in rows
    }:
        raise UserError(f"{path}: the base model's rows beside it are of other probes; {REMEDY}")


def _check_length(run):
    start, end = run.generation_span
    if run.length > 2 * (end - start):  # no character has more columns
        raise ValueError(f"a run of the length {run.length} is not {start} to {end}")


def _check_span(name, span, length=math.inf):
    if not span[0] < span[1] <= length:
        raise ValueError(f"{name} {span} is no span of a text of {length} characters")
