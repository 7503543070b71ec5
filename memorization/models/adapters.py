"""Adapters of peft (LoRA, DoRA, IA3, prompt tuning ...), as they are named: beside their base model, or alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from memorization.models.adapter_config import adapter_config, base_of, has_tokenizer, holds_adapter
from memorization.models.diagnosis import diagnosis
from memorization.models.hub import is_path, load
from memorization.shell.cli import UserError

FILES = ("adapter_*", "tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens_map.json", "*.jinja")
TASKS = {"CAUSAL_LM": False, "SEQ_2_SEQ_LM": True}  # what an adapter is of -> whether that is an encoder-decoder model
NOT_READ = ("PREFIX_TUNING", "CARTRIDGE", "MULTITASK_PROMPT_TUNING", "XLORA", "POLY")


class Adapter(NamedTuple):
    """name: as it was given. directory: where its files lie. config: its adapter_config.json."""

    name: str
    directory: Path
    config: dict[str, Any]

    @property
    def virtual_tokens(self) -> int:
        """How many tokens that are no words it puts before each text: 0 but for prompt tuning."""
        return self.config.get("num_virtual_tokens") or 0


class ModelSource(NamedTuple):
    """A model: a plain one, a path or hub name, or an adapter on it."""

    plain: str
    adapter: Adapter | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.adapter.name if self.adapter else self.plain

    @property
    def directory(self) -> str:
        """Where what was trained lies: a path or hub name."""
        return str(self.adapter.directory) if self.adapter else self.plain

    @property
    def tokenizer(self) -> str:
        """Where its tokenizer lies: beside the adapter, if there is one, else beside the base model."""
        return self.directory if self.adapter and has_tokenizer(self.adapter.directory) else self.plain


def model_source(model: str | None, adapter: str | None) -> ModelSource:
    """The ModelSource of a model and an adapter on it. model: may hold an adapter itself; None: the adapter's base.

    Raises UserError for what cannot be an adapter, or does not say of which base model it is.
    """
    if adapter is None and model is not None and holds_adapter(model):
        adapter, model = model, None
    if adapter is None:
        assert model is not None  # one of the two is named
        return ModelSource(model)
    read = read_adapter(adapter)
    plain = model or base_of(read.directory)
    if plain is None:
        raise UserError(
            f"{adapter}: its adapter_config.json does not say of which base model it is (base_model_name_or_path); "
            "name that too"
        )
    if not model and is_path(plain) and not Path(plain).is_dir():
        raise UserError(f"{adapter}: its adapter_config.json names the base model {plain}, which is not there; name it")
    return ModelSource(plain, read)


def model_sources(model: str | None, adapters: Sequence[str] | None) -> list[ModelSource]:
    """The ModelSource of each adapter, all on one base model, or of the model alone; as of model_source."""
    sources = [model_source(model, adapter) for adapter in adapters] if adapters else [model_source(model, None)]
    for source in sources:
        if source.plain != sources[0].plain:
            raise UserError(
                f"{sources[0].name} and {source.name}: are of different base models ({sources[0].plain}, "
                f"{source.plain}); give each a run, or name the one that both are of"
            )
    return sources


def adapter_labels(sources: Sequence[ModelSource]) -> list[str]:
    """A short name for each of several adapters: the last parts of their paths, as many as tell them apart."""
    paths = [Path(source.name).absolute() if is_path(source.name) else Path(source.name) for source in sources]
    for number in range(1, max(len(path.parts) for path in paths) + 1):
        labels = ["-".join(path.parts[-number:]).strip("/") for path in paths]
        if len(set(labels)) == len(labels):
            return labels
    raise UserError(f"{sources[0].name}: an adapter is named twice; name each once")


def read_adapter(name: str) -> Adapter:
    """The Adapter at a path or hub name. Raises UserError for what is none, damaged, or of a kind that is not read."""
    if is_path(name):
        if not Path(name).is_dir():
            raise UserError(f"{name}: no such directory; check the path")
        directory = Path(name)
    else:
        from huggingface_hub import snapshot_download

        directory = Path(load(snapshot_download, name, "an adapter", allow_patterns=list(FILES)))
    if cause := diagnosis(directory, "adapter"):
        raise UserError(f"{name}: {cause}")
    config = adapter_config(directory)
    kind, task = str(config.get("peft_type")), config.get("task_type")
    if kind in NOT_READ or config.get("alora_invocation_tokens"):
        kind = "activated LoRA" if kind == "LORA" else kind
        raise UserError(f"{name}: is an adapter of the kind {kind}, which is not read here; name one of another kind")
    if task is not None and task not in TASKS:
        raise UserError(f"{name}: is an adapter for {task}, not of a language model; name one that is")
    if task and TASKS[task] and config.get("num_virtual_tokens"):
        raise UserError(f"{name}: is prompt tuning of an encoder-decoder model, which is not read here; name another")
    return Adapter(name, directory, config)
