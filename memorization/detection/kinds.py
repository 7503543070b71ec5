"""The kind of result that stage 5 writes, and what the report reads of its manifest."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from memorization.encoding.kinds import SplitRule
from memorization.extraction.kinds import Decoding, ModelFacts
from memorization.store.manifests import Count, Kind, Positive

Samples = Annotated[int, msgspec.Meta(ge=0, lt=10**9)]  # more than can be drawn from (numpy's hypergeometric)


class DetectionsMadeOf(TypedDict):
    generations: str
    index: str
    profile: str
    direction: Literal["pan", "paper", "both"]
    candidates: Positive
    span_length: Positive
    loop_repeats: Positive
    classifier: str | None
    ner_model: str | None
    regions: list[Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]]
    unchecked: bool


class OfGenerations(Decoding):
    """What made the generations, of a listing of other code as far as it is known."""

    model: NotRequired[str | None]
    encoding: NotRequired[str | None]
    trained_on: NotRequired[str | None]


class DetectionFacts(ModelFacts):
    generations: OfGenerations | None
    index: dict[str, str | int]
    samples: tuple[Samples, Samples]
    clusters: tuple[Samples, Samples]
    canaries: dict[str, Any] | None  # results.summary.CanarySummary, which the report checks
    split: NotRequired[SplitRule | None]
    too_short: NotRequired[Count | None]


class DetectionArguments(TypedDict):
    type: str
    paraphrase_model: str
    dataset: NotRequired[str]
    ner_model: NotRequired[str | None]


class DetectionsManifest(msgspec.Struct):
    made_of: DetectionsMadeOf
    facts: DetectionFacts
    arguments: DetectionArguments


DETECTIONS = Kind("detections", "plagiarism_detect.py", DetectionsManifest)
