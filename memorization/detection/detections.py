"""Stage 5's rows: one a generation (design.md, Files between the stages)."""

import msgspec

FORMAT = 3  # of these rows; raise it when a field or its meaning changes

Span = tuple[int, int]  # [start, end) in characters


class Candidate(msgspec.Struct, forbid_unknown_fields=True):
    """A training sample whose suffix BM25 ranks among the best. text: that suffix, if a passage of it is given."""

    id: int
    score: float
    text: str | None


class Passage(msgspec.Struct, forbid_unknown_fields=True):
    """A span of the generation aligned with one of a training text. candidate: the id of that sample."""

    candidate: int
    label: str
    generation_span: Span
    candidate_span: Span
    paraphrase_probability: float | None


class Run(msgspec.Struct, forbid_unknown_fields=True):
    """The longest run of words that a generation shares with its own suffix, of so many of its characters."""

    characters: int
    generation_span: Span
    suffix_span: Span


class Copied(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A run of words of a generation that samples hold too, of so many characters in the generation.

    holders: how many distinct samples, members: how many of them are. sample: one of them, the generation's own if it
    is one, else a member if there is one; sample_span: in its text, prefix and suffix together.
    """

    characters: int
    generation_span: Span
    holders: int
    members: int
    sample: int
    sample_span: Span


class Labels(msgspec.Struct, forbid_unknown_fields=True):
    """What a generation's alignments say of it: the strongest label, the same without the span scan, the published."""

    label: str
    label_without_scan: str
    first_label: str
    passages: list[Passage]


class Own(msgspec.Struct, forbid_unknown_fields=True):
    """A generation beside its own suffix, member or not (design.md, Terms). run: None without a word in common."""

    label: str
    run: Run | None
    passages: list[Passage]


class Detection(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a generation reproduces of its candidates, and of its own suffix."""

    id: int
    sample: int
    member: bool
    duplicates: int
    prefix: str
    suffix: str
    generation: str
    matched_tokens: int | None
    exact_match: bool | None
    candidates: list[Candidate]
    longest_common_run: Copied | None  # with any training text, however short
    copied: list[Copied]  # every maximal run over the span length, with any sample
    own: Own
    labels: Labels  # in the first direction asked for
    paper: Labels | None  # with --direction both, in direction paper
