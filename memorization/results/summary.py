"""What a summary of detections holds, and how result.json lays it out."""

from typing import Annotated, Any, ClassVar

import msgspec

from memorization.encoding.kinds import PromptCount, SplitRule, TextForm
from memorization.extraction.kinds import Digits, Drawn
from memorization.store.manifests import Count, Real, Share

MEMBERS, HELD_OUT = "members", "held out"
Group = str  # MEMBERS, HELD_OUT, or members by copies: "1 copy", "2-3 copies", ...


class Rate(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A share of samples, or the mean of values from 0 to 1, with its 95 % interval.

    n: how many samples the column applies to; None in a difference of two groups. count: of a share, how many of them
    have it. rate: None without samples. interval: None where there are too few values; its low end alone is None where
    nothing bounds it. ceiling: the rate if every generation were its own suffix.
    """

    scale: ClassVar[int] = 100  # tables show per cent
    n: int | None = None
    count: int | None = None
    rate: float | None
    interval: tuple[float | None, float] | None
    ceiling: float | None = None

    @property
    def value(self) -> float | None:
        return self.rate


class Mean(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A mean with its 95 % interval; fields as of Rate."""

    scale: ClassVar[int] = 1
    n: int | None = None
    mean: float | None
    interval: tuple[float | None, float] | None
    ceiling: float | None = None

    @property
    def value(self) -> float | None:
        return self.mean


Estimate = Rate | Mean


class Figure(msgspec.Struct):
    """A column (columns.Column) measured. difference: members less held-out texts, None where a side has no value."""

    name: str
    heading: str
    kind: str
    meaning: str
    block: str
    groups: dict[Group, Estimate]
    difference: Estimate | None

    @property
    def title(self) -> str:
        """What tables call it."""
        return self.heading + (", mean" if self.kind in ("mean", "fraction") else "")


class Counts(msgspec.Struct):
    """Columns measured over groups. samples: of each group. figures: by the column's name; none without any value."""

    samples: dict[Group, int]
    figures: dict[str, Figure]


class BaseFigure(msgspec.Struct):
    """A column measured through the base model, and the paired difference, tuned less base; only of groups with it."""

    groups: dict[Group, Estimate]
    difference: dict[Group, Estimate]


class GroupTest(msgspec.Struct, kw_only=True):
    """Whether a group of members comes out more often than its control; all None where it cannot be tested.

    against: HELD_OUT or verdict.BASE. members, held_out: how many samples are compared. p: corrected by Holm.
    detectable_difference: of rates, what would have been found with 80 % power; None where there is evidence, or where
    no difference would have been found.
    """

    against: str | None = None
    members: int | None = None
    held_out: int | None = None
    p: float | None = None
    evidence: bool | None = None
    detectable_difference: float | None = None


class Verdict(msgspec.Struct):
    """column: the name of the one that decides."""

    column: str
    groups: dict[Group, GroupTest]


class Score(msgspec.Struct):
    """How well a score tells members from held-out texts. n: how many of each have it. auc: area under the ROC curve.

    tpr: rate of false positives, as "0.01" -> share of members found; None where so few cannot be resolved.
    """

    heading: str
    meaning: str
    n: tuple[int, int]
    auc: Rate
    tpr: dict[str, Rate | None]


class AnotherGroup(msgspec.Struct):
    """Samples whose generations say what one other sample alone holds: a training sample, and by chance a held-out one.

    p: of the permutation test, corrected by Holm. evidence: whether it is at most 5 %.
    """

    n: int
    another: Rate
    chance: Rate
    p: float
    evidence: bool


class Another(msgspec.Struct):
    """samples: how many of either side the rates are for (the mean over all choices of so many)."""

    samples: int
    groups: dict[Group, AnotherGroup]


class CanarySide(msgspec.Struct):
    """The planted canaries of a group, or their controls. estimated: how many exposures are estimates."""

    n: Count
    exposure: Mean  # in bits
    estimated: Count
    extracted: Rate


class Epsilon(msgspec.Struct):
    """A lower bound on the epsilon of the training; most: the bound had all guesses been correct."""

    bound: Real
    most: Real
    guesses: Count
    correct: Count


class CanaryGroup(msgspec.Struct):
    pairs: Count
    planted: CanarySide
    control: CanarySide
    epsilon: Epsilon


class CanarySummary(msgspec.Struct):
    """chance: the mean exposure, in bits, of a secret that the model does not know. groups: by copies, and all."""

    digits: Digits
    chance: Real
    unchecked: bool
    delta: Share
    confidence: Share
    groups: Annotated[dict[str, CanaryGroup], msgspec.Meta(min_length=1)]


class Recognition(msgspec.Struct, kw_only=True):
    """Which members a score tells from held-out samples, one by one, at 5 % false discoveries (records.recognize).

    score: the name of the one that decides. members: how many have it. held_out: how many clusters of held-out samples
    have it. recognized: how many members are. cut: their greatest p. least: as many members must be surer than every
    held-out sample, or less sure ones more, for any to be recognized. reason: why none could be, else None.
    """

    score: str | None
    members: Count
    held_out: Count
    recognized: Count = 0
    cut: float | None = None
    least: Count
    reason: str | None


class RecordSummary(msgspec.Struct):
    """classes: of each group, how many samples are of each of records.CLASSES."""

    recognition: Recognition
    classes: dict[Group, dict[str, int]]


class Facts(msgspec.Struct, kw_only=True):
    """How detections came about. classifier, ner_model, base: names, None without.

    span_length: in columns. samples, clusters: how many distinct members and held-out samples there are. scheme: how a
    query samples, in words; None where decoding is not known. trained_on: the encoding that the model was trained on;
    None where nothing is known of its training. split: of the encoding; None where that is not known. held_out:
    perplexities that stage 2 measured. probe: the kind of probe. too_short: how many samples, or turns of them, have
    too few tokens to be asked for; None where that is not known. drawn: None where all probes were asked. declared: how
    the model is known where its weights were not there, else None. not_computed: fields of generations that the engine
    did not compute -> the reason.
    """

    profile: str
    direction: str
    candidates: int | None
    span_length: int
    loop_repeats: int
    regions: tuple[str, ...]
    unchecked: bool
    model: str
    classifier: str | None
    ner_model: str | None
    samples: tuple[int, int]
    clusters: tuple[int, int]
    base: str | None = None
    scheme: str | None
    trained_on: str | None
    split: SplitRule | None = None
    held_out: dict[str, float] | None = None
    probe: str | None = None
    too_short: int | None = None
    drawn: Drawn | None = None
    prompts: PromptCount | None = None
    text_form: TextForm | None = None
    declared: str | None = None
    not_computed: dict[str, str] = {}


class Summary(msgspec.Struct, kw_only=True):
    """Detections in figures, each for members and held-out texts.

    not_computed: reason -> headings of the columns that have no values for it. empty: how many generations are. probes:
    of each group, one for each turn of a sample. counts: of all columns. without_loops: without generations that repeat
    themselves. without_scan, first_label, paper: of the labels without the span scan, by the published rule, and, if
    both directions were asked for, in direction paper. base: of the base model, by column. verdict: None without
    members or anything to compare them with. another, another_personal: of runs and of personal data that another
    sample alone holds; None where a side has none. personal: kind -> group -> whose (detections.WHOSE) -> how many
    items generations say.
    """

    facts: Facts
    not_computed: dict[str, list[str]]
    generations: int
    generations_a_probe: int
    empty: int
    probes: dict[Group, int]
    counts: Counts
    without_loops: Counts
    without_scan: Counts
    first_label: Counts
    paper: Counts | None = None
    base: dict[str, BaseFigure] | None = None
    scores: dict[str, Score]
    verdict: Verdict | None
    another: Another | None
    personal: dict[str, dict[Group, dict[str, int]]]
    another_personal: Another | None
    canaries: CanarySummary | None = None
    records: RecordSummary

    @property
    def has_turns(self) -> bool:
        """Whether a sample has several probes."""
        return self.probes != self.counts.samples


def result_json(summary: Summary) -> dict[str, Any]:
    """A summary as result.json lays it out: columns, then by group the figures of all columns."""
    layout: dict[str, Any] = {}
    for name in summary.__struct_fields__:
        value = getattr(summary, name)
        if name == "counts":
            layout |= _counts_json(value)
        elif isinstance(value, Counts):
            layout[name] = _counts_json(value)
        elif name == "base":
            layout[name] = None if value is None else base_json(summary)
        elif name != "paper":
            layout[name] = msgspec.to_builtins(value)
    layout["facts"]["not_computed"] = layout.pop("not_computed")
    return layout


def base_json(summary: Summary) -> dict[str, Any]:
    """The base model's figures as result.json and audit.json lay them out."""
    figures, samples = summary.base or {}, summary.counts.samples
    groups = {
        group: {"n": n} | {name: figure.groups[group] for name, figure in figures.items() if group in figure.groups}
        for group, n in samples.items()
    }
    difference = {
        group: {name: figure.difference[group] for name, figure in figures.items() if group in figure.difference}
        for group in samples
    }
    return msgspec.to_builtins({"groups": groups, "difference": difference})


def _counts_json(counts: Counts) -> dict[str, Any]:
    figures = counts.figures
    shown = ("name", "heading", "kind", "meaning", "block")
    layout = {
        "columns": [{name: getattr(figure, name) for name in shown} for figure in figures.values()],
        "groups": {
            group: {"n": n} | {name: figure.groups[group] for name, figure in figures.items()}
            for group, n in counts.samples.items()
        },
        "difference": {name: figure.difference for name, figure in figures.items() if figure.difference},
    }
    return msgspec.to_builtins(layout)
