"""The backend of transformers models, which run in this process."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from memorization.extraction.backend import ModelIdentity, OpenModel
from memorization.extraction.decoding import forget_rounding
from memorization.extraction.inputs import Inputs, check_context
from memorization.extraction.settings import ExtractionSettings
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.models import hub
from memorization.models.adapted import ModelWeights
from memorization.models.adapters import ModelSource, model_sources
from memorization.models.loading import load_config
from memorization.models.trained import model_made_of
from memorization.shell.cli import UserError
from memorization.store import fingerprints


class LocalModels:
    """A Backend. The weights of one model are in memory at a time, once for all adapters on it; those of the base
    model too, where it is what the adapters are on.

    Raises UserError for a model or an adapter that is none.
    """

    context: int | None = None
    one_process = False

    def __init__(self, settings: ExtractionSettings) -> None:
        self.sources: Sequence[ModelSource] = model_sources(settings.model_path, settings.adapter)
        plain = self.sources[0].plain
        names = [plain, settings.base_model] if settings.base_model else [plain]
        self.configs: Mapping[str, PretrainedConfig] = {name: _config_of(name, self.sources) for name in names}
        own = self.configs[plain].dtype if settings.dtype == "auto" else settings.dtype
        # by whether it is the model of the sources; the base model has the same precision
        self._dtypes: dict[bool, Any] = {True: settings.dtype, False: own or "auto"}
        self._weights: ModelWeights | None = None
        self._directory: Path | None = None

    def identify_base(self, source: ModelSource, inputs: Inputs) -> ModelIdentity:
        with self._weights_of(source, inputs).using():
            return identify(source)

    @contextmanager
    def opened(self, source: ModelSource, inputs: Inputs) -> Iterator[OpenModel]:
        settings, probes = inputs.settings, inputs.probes
        if inputs.state.is_main_process:
            print(f"loading {source.name}", flush=True)
        with self._weights_of(source, inputs).using(source.adapter) as model:
            self._dtypes[False] = str(model.dtype).removeprefix("torch.")
            if source.adapter:
                length = probes.longest_prefix + source.adapter.virtual_tokens
                check_context(source.name, model.config, probes.greatest_id, length, settings.max_new_tokens)
            forget_rounding(model)  # another adapter may be in use than before
            engine = TransformersEngine(
                model, inputs.ends, settings.decoding, settings.batch_size, inputs.source_length
            )
            engine.fit(probes, len(probes) * settings.num_samples)
            yield OpenModel(engine, identify(source), model.config, model)

    def _weights_of(self, source: ModelSource, inputs: Inputs) -> ModelWeights:
        directory = hub.directory(source.plain).resolve()
        if self._weights is None or self._directory != directory:
            if self._weights is not None:
                self._weights.release()  # there may be no room for both
            dtype = self._dtypes[source.plain == self.sources[0].plain]
            device = inputs.settings.device_map or inputs.state.device
            self._weights, self._directory = ModelWeights(source.plain, dtype, device), directory
        return self._weights


def _config_of(name: str, sources: Sequence[ModelSource]) -> PretrainedConfig:
    """The configuration of a model. An error in that of adapters' base model names the adapter."""
    try:
        return load_config(name)
    except UserError as error:
        if name != sources[0].plain or not sources[0].adapter:
            raise
        raise UserError(f"{error} (the base model of the adapter {sources[0].name})") from None


def identify(source: ModelSource) -> ModelIdentity:
    """The ModelIdentity of a model that was loaded before. Raises UserError as model_made_of does, and for an adapter
    that stage 2 trained on another base model."""
    directory = hub.directory(source.plain)
    hashes = fingerprints.model_hashes(directory)
    contents, of_weights = fingerprints.model_fingerprint(directory, hashes), _of_weights(hashes)
    if source.adapter is None:
        return ModelIdentity(source.name, contents, of_weights, model_made_of(source.plain, contents))
    hashes = fingerprints.model_hashes(source.adapter.directory)
    own = fingerprints.model_fingerprint(source.adapter.directory, hashes)
    training = model_made_of(source.adapter.directory, own)
    if training and training.get("base_model", contents) != contents:
        raise UserError(f"{source.name}: was trained on another base model than {source.plain}; name that one")
    both = fingerprints.adapted_fingerprint(own, contents)
    parts = {"adapter": own, "base_model": contents}
    return ModelIdentity(source.name, both, of_weights | _of_weights(hashes), training, parts)


def _of_weights(hashes: dict[str, str]) -> frozenset[str]:
    return frozenset(hash for file, hash in hashes.items() if fingerprints.is_weights(file))
