"""The kinds of results that stage 1 writes, and what later stages read of their manifests."""

from typing import Literal, NotRequired, TypedDict

import msgspec

from memorization.store.manifests import Count, Kind, Manifest, Positive, Share

STAGE = "encode_<task>.py"
AS_ENCODED = "as encoded"  # of the forms of texts (TextForm)


class Planted(TypedDict):
    """The canaries in a training set, its last rows: copies of each, in order; a secret's digits; tokens behind it."""

    copies: list[Positive]
    digits: Positive
    tokens_a_digit: Positive  # the last is the digit's own
    closing: Count


class Comparability(TypedDict):
    """How well members and held-out samples of a given split are told apart by their words: the area under the ROC
    curve with its 95 % interval, None of too few samples. members, held_out: how many were compared."""

    members: Count
    held_out: Count
    auc: Share | None
    interval: tuple[Share, Share] | None


class SplitRule(TypedDict):
    """How members and held-out texts were divided. kind: whether drawn, or what the files say. near_duplicates: the
    share of word 5-grams; None: no rule. comparability: of a given split with held-out samples, else None."""

    kind: Literal["random", "given"]
    near_duplicates: Share | None
    comparability: Comparability | None


class TextForm(TypedDict):
    """What may be wrong with the form of the texts. form: of tokens.encode. named: samples that have the name of a
    special token in their texts, of so many. template_unused: whether the tokenizer has a chat template that the texts
    have not gone through. vocabulary: of the model. losses: of form_losses."""

    form: str
    named: Count
    samples: Positive
    template_unused: bool
    vocabulary: Positive
    losses: dict[str, float] | None


class PromptCount(TypedDict):
    """How many probes there are, how many distinct prompts they have, and how many have one that no other has."""

    probes: Positive
    distinct: Positive
    own: Count


class SetSettings(TypedDict):
    """What made a set. separator: between source and target."""

    tokenizer: str
    encoder_decoder: NotRequired[bool]
    source_prefix: NotRequired[str]
    separator: NotRequired[str]


class ProbeSettings(SetSettings):
    split: Literal["random", "given"]
    near_duplicates: NotRequired[Share | None]
    min_suffix_length: Positive


class TrainingSetFacts(TypedDict):
    canaries: NotRequired[Planted]


class ChatExample(TypedDict):
    """A chat up to its last turn of the assistant, which is target `turn` of the sample `id`, before a template has
    rendered it, without tools."""

    id: Count
    turn: Count
    messages: list[dict[str, str]]


class ProbeFacts(TypedDict):
    probe: str
    prefix_length: Count
    ends: list[Count]
    samples: Positive
    special_names: Count
    template_unused: bool
    comparability: NotRequired[Comparability]
    examples: NotRequired[list[ChatExample]]  # of chats, a few short ones


class TrainingSetManifest(msgspec.Struct):
    made_of: SetSettings
    facts: TrainingSetFacts


class HeldOutSetManifest(msgspec.Struct):
    made_of: SetSettings


class ProbesManifest(msgspec.Struct):
    made_of: ProbeSettings
    facts: ProbeFacts


TRAINING_SET = Kind("training set", STAGE, TrainingSetManifest)
HELD_OUT_SET = Kind("held-out set", STAGE, HeldOutSetManifest)
PROBES = Kind("probes", STAGE, ProbesManifest)
PROBE_TEXTS = Kind("probes as text", STAGE)
CANARIES = Kind("canaries", STAGE)
OF_ENCODING = {kind.name: kind for kind in (TRAINING_SET, HELD_OUT_SET, PROBES, PROBE_TEXTS, CANARIES)}


def split_rule(probes: Manifest) -> SplitRule:
    """The SplitRule of an encoding, by the manifest of its probes."""
    made_of = probes.made_of
    return SplitRule(
        kind=made_of["split"],
        near_duplicates=made_of.get("near_duplicates"),
        comparability=probes.facts.get("comparability"),
    )
