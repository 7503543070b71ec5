"""The backend of models behind an OpenAI-compatible endpoint: `--engine http://...`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from transformers import PretrainedConfig

from memorization.extraction.backend import ModelIdentity, OpenModel
from memorization.extraction.endpoint import Budget, Endpoint
from memorization.extraction.endpoint_engine import EndpointEngine
from memorization.extraction.inputs import Inputs
from memorization.extraction.settings import ExtractionSettings
from memorization.models.adapters import ModelSource
from memorization.shell.cli import UserError
from memorization.store.manifests import identity

OF_THE_MODEL = ("id", "root", "parent", "owned_by", "max_model_len")  # of what /models says: not the time, say
NAMED = 5  # models in a message
BESIDE = 120  # requests of a handshake, and for the losses in other forms of the texts
READ = 1000  # probes by which tokens are estimated


class EndpointModels:
    """A Backend. The server's names of the models are --model-path and --base-model; what they are is declared.

    Raises UserError for an address that is none, and for flags that only a model in this process can heed.
    """

    configs: Mapping[str, PretrainedConfig] = {}
    one_process = True

    def __init__(self, settings: ExtractionSettings) -> None:
        self._endpoint = Endpoint(
            settings.engine, settings.batch_size, Budget(settings.max_requests, settings.max_tokens)
        )
        if settings.adapter or settings.model_path is None:
            raise UserError(
                "--adapter: a server knows an adapter by a name of its own; give that as the name of the model"
            )
        if settings.token_path is None:
            raise UserError(
                f"--engine {self._endpoint.url}: name the model's tokenizer, a path or hub name (--token-path; of "
                "audit.py --tokenizer)"
            )
        if settings.dtype != "auto":
            raise UserError(
                f"--dtype {settings.dtype}: the server decides in which precision it computes; leave it out"
            )
        self.sources: Sequence[ModelSource] = [ModelSource(settings.model_path)]

    @cached_property
    def _listed(self) -> dict[str, dict[str, Any]] | None:
        """What the server says of each model, by its name; None if it does not list them."""
        models = self._endpoint.models()
        return None if models is None else {str(model.get("id")): model for model in models}

    @property
    def context(self) -> int | None:
        limit = self._entry(self.sources[0].plain).get("max_model_len")
        return limit - 1 if isinstance(limit, int) else None  # a text that is scored is followed by a token

    def _entry(self, name: str) -> dict[str, Any]:
        """What the server says of a model. Raises UserError for one that it does not list."""
        if self._listed is None:
            return {}
        if name not in self._listed:
            others = ", ".join([*self._listed][:NAMED]) or "none"
            raise UserError(f"{name}: {self._endpoint.url} has no model of this name; it has {others}")
        return self._listed[name]

    def _identify(self, source: ModelSource, remark: str = "") -> ModelIdentity:
        entry = {name: value for name, value in self._entry(source.name).items() if name in OF_THE_MODEL}
        declared = f"the model was asked at {self._endpoint.url}, by its name there, {source.name}"
        declared += f"; {remark}" if remark else ""
        return ModelIdentity(
            source.name, identity({"declared": source.name, "entry": entry}), frozenset(), None, declared=declared
        )

    def identify_base(self, source: ModelSource, inputs: Inputs) -> ModelIdentity:
        return self._identify(source)

    @contextmanager
    def opened(self, source: ModelSource, inputs: Inputs) -> Iterator[OpenModel]:
        settings = inputs.settings
        self._entry(source.name)
        print(f"asking {source.name} at {self._endpoint.url}: {_estimate(inputs)}", flush=True)
        asked = source.name, inputs.tokenizer, inputs.ends
        engine = EndpointEngine(self._endpoint, *asked, settings.decoding, settings.batch_size, settings.path)
        identified = self._identify(source, engine.abilities.remark)
        for reason in dict.fromkeys([*engine.not_computed.values(), engine.abilities.remark]):
            if reason:
                print(f"{source.name}: {reason}")
        yield OpenModel(engine, identified, context=self.context)
        engine.close()


def _estimate(inputs: Inputs) -> str:
    """The most requests and tokens that a model takes, in words: each probe is scored and continued."""
    settings, probes = inputs.settings, inputs.probes
    step = max(1, len(probes) // READ)
    read = [probes[place : place + 1][0] for place in range(0, len(probes), step)]
    scored = generated = 0
    for probe in read:
        scored += len(probe["prefix_ids"]) + min(len(probe["suffix_ids"]), settings.max_new_tokens) + 1
        generated += (len(probe["prefix_ids"]) + settings.max_new_tokens) * settings.num_samples
    requests, tokens = len(probes) * (1 + settings.num_samples), (scored + generated) * len(probes) // len(read)
    return (
        f"up to {requests:,} requests and about {tokens:,} tokens, and {BESIDE} requests at most that find out what it "
        "gives, and in which form"
    )
