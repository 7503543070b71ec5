"""A Backend: where stage 3 gets the Engine of each model that it asks. `--engine` names it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from transformers import PretrainedConfig, PreTrainedModel

from memorization.extraction.engine import Engine
from memorization.extraction.inputs import Inputs
from memorization.models.adapters import ModelSource


class ModelIdentity(NamedTuple):
    """What a model is. contents: its fingerprint. hashes: of its files of weights, none where they are not here.
    training: what made them, None for a model from elsewhere. parts: of an adapter, its own fingerprint and that of its
    base model. declared: how the model is known where its weights are not here, None where they are."""

    name: str
    contents: str
    hashes: frozenset[str]
    training: dict[str, Any] | None
    parts: dict[str, str] | None = None
    declared: str | None = None


class OpenModel(NamedTuple):
    """A model that can be asked. config: its configuration, None where it is not known. model: itself, None where the
    engine does not run it as a transformers model in this process: then the exposures of canaries are not computed.
    context: the most tokens of a text, where they may be fewer than those of the configuration."""

    engine: Engine
    identity: ModelIdentity
    config: PretrainedConfig | None = None
    model: PreTrainedModel | None = None
    context: int | None = None


class Backend(Protocol):
    """The models of a run, all asked through one kind of engine.

    sources: the model, or each of several adapters on it. configs: by name, the configurations of the model and of its
    base model, as far as they are known. context: the most tokens of a text where no configuration says it; None: not
    known. one_process: whether a run must not have several ranks.
    """

    sources: Sequence[ModelSource]
    configs: Mapping[str, PretrainedConfig]
    one_process: bool

    @property
    def context(self) -> int | None: ...

    def identify_base(self, source: ModelSource, inputs: Inputs) -> ModelIdentity:
        """The ModelIdentity of the base model. What is wrong with it is a UserError here, before the work."""

    def opened(self, source: ModelSource, inputs: Inputs) -> AbstractContextManager[OpenModel]:
        """A model for the block: one of `sources`, or the base model. It may need the room of the one before."""
