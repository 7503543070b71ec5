"""The kinds of results that stage 3 writes, and what later stages read of their manifests."""

from typing import Annotated, NotRequired, TypedDict

import msgspec

from memorization.encoding.kinds import PromptCount, SplitRule, TextForm
from memorization.store.manifests import Count, Kind, Link, Positive, Share

STAGE = "inference_prefix.py"
Digits = Annotated[int, msgspec.Meta(ge=1, le=18)]  # of a canary's secret


class Drawn(TypedDict):
    """How many samples of a side were drawn, None for all, and the seed of the draw (encoding.probe_sample)."""

    members: Positive | None
    held_out: Positive | None
    seed: Count


class Decoding(TypedDict):
    """How generations were made."""

    prefix_length: Count | None  # None of a file of probes
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1000)]
    top_k: Count
    top_p: Share
    probe: NotRequired[str]
    num_samples: NotRequired[Positive]
    source_length: NotRequired[Positive | None]
    max_new_tokens: NotRequired[Positive]
    drawn: NotRequired[Drawn]


class GenerationSettings(Decoding):
    model: str
    encoding: str
    trained_on: str | None
    unchecked: bool


class TrainedFrom(TypedDict):
    """What is known of the training of a model."""

    encoding: NotRequired[str | None]
    training_set: NotRequired[str | None]
    base_model: NotRequired[str | None]
    configuration: NotRequired[str | None]


class ModelFacts(TypedDict):
    """What a result of a model says of the model, its base model and the prompts."""

    training: TrainedFrom | None
    base: Link | None
    held_out: NotRequired[dict[str, float] | None]
    prompts: NotRequired[PromptCount]
    text_form: NotRequired[TextForm | None]
    declared: NotRequired[str | None]  # how the model is known where its weights were not here
    not_computed: NotRequired[dict[str, str]]  # Engine.not_computed, and "canaries" where their exposures lack


class GreedyCheck(TypedDict):
    """Greedy generations beside the scores of the same engine: how many were compared, and how many agree with their
    suffix for another number of tokens than the scores say."""

    compared: Count
    differ: Count


class GenerationFacts(ModelFacts):
    listing: str
    documents: str | None  # the hash of those of the index (manifests.TextDigest); None of a file of probes
    canaries: str | None
    adapter: NotRequired[dict[str, str] | None]  # fingerprints of an adapter and of its base model
    too_long: NotRequired[list[Count]]  # ids of probes that were left out: their prompts are longer than the context
    too_short: NotRequired[Count]  # samples, or turns of them, with too few tokens for a probe
    split: NotRequired[SplitRule]
    greedy_check: NotRequired[GreedyCheck | None]  # None where the engine verifies its tokens by its scores
    membership: NotRequired[str | None]  # for readers: what says which samples the model was trained on


class GenerationArguments(TypedDict):
    model_path: NotRequired[str]
    tokenized_dir: NotRequired[str]
    subset_name: NotRequired[str]


class GenerationsManifest(msgspec.Struct):
    made_of: GenerationSettings
    facts: GenerationFacts
    arguments: GenerationArguments


class ExposureSettings(TypedDict):
    digits: Digits
    trained_on: str | None
    unchecked: bool


class ExposuresManifest(msgspec.Struct):
    made_of: ExposureSettings


GENERATIONS = Kind("generations", STAGE, GenerationsManifest)
EXPOSURES = Kind("exposures", STAGE, ExposuresManifest)
