"""A model with an adapter of peft in use, unmerged, and the same weights without it.

The adapter's layers are put into the model, so that whatever reads a model reads this one. What prompt tuning learned
are tokens that are no words: they get ids behind the vocabulary, and a prompt begins with these. So positions, context
and padding are those of a longer prompt.
"""

import importlib.util
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from memorization.models.adapters import TASKS, Adapter
from memorization.models.limits import context_length
from memorization.models.loading import (
    ENCODER_DECODER,
    architecture_of,
    check_finite_weights,
    load_for_generation,
    weights_of,
)
from memorization.models.passes import VirtualTokens, virtual_ids
from memorization.shell.cli import UserError, is_out_of_memory

PREFIX = "base_model.model."  # in the names of an adapter's weights
LENGTH = 32  # tokens of a made-up text


class ModelWeights:
    """The weights of a model, in memory once, whichever of its adapters is in use.

    They are loaded when they are first used, and again after an adapter that has changed them (biases, PiSSA, a larger
    vocabulary). dtype: as of load_for_generation.
    """

    def __init__(self, name: str, dtype: Any, device: Any) -> None:
        self.name, self.dtype, self._device = name, dtype, device
        self._model: PreTrainedModel | None = None

    def release(self) -> None:
        """Make room; they are loaded again when they are used."""
        self._model = None

    @contextmanager
    def using(self, adapter: Adapter | None = None) -> Iterator[PreTrainedModel]:
        """The model, with an adapter or without, for the block. Raises UserError as load_for_generation and
        add_adapter do, and for an adapter that changes nothing."""
        if self._model is None:
            self._model = load_for_generation(self.name, self.dtype, self._device)
        model = self._model
        if adapter is None:
            yield model
            return
        before, sums = _logits(model, []), _sums(model)
        modules = [(module, set(vars(module)), dict(module._modules)) for module in model.modules()]
        try:
            add_adapter(model, adapter, self.name)
            after = _logits(model, virtual_ids(model))
            if after.shape == before.shape and torch.equal(after, before):
                raise UserError(
                    f"{adapter.name}: changes nothing of {self.name}: it was not trained, or is of another model; name "
                    "another"
                )
            yield model
        finally:
            for module, attributes, parts in modules:
                for attribute in set(vars(module)) - attributes:
                    delattr(module, attribute)
                module._modules.clear()
                module._modules.update(parts)
            if self._model is not None and _sums(model) != sums:
                self._model = None


def add_adapter(model: PreTrainedModel, adapter: Adapter, base: str, trainable: bool = False) -> Any:
    """Put an adapter into a model, its base model; return peft's model around the two.

    base: the name of the model. trainable: to go on training the adapter. Raises UserError if peft is not installed or
    cannot read it, if it is of another model or on one that is not held whole, or if a weight is not finite.
    """
    if importlib.util.find_spec("peft") is None:
        raise UserError(f"{adapter.name}: is an adapter, which takes peft to read; pip install peft")
    from peft import get_peft_model
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    kind: Any = PEFT_TYPE_TO_CONFIG_MAPPING.get(adapter.config.get("peft_type"))  # type: ignore[arg-type]
    fields = kind.__dataclass_fields__ if kind else adapter.config.keys() - {"peft_type"}
    if unknown := [name for name, value in adapter.config.items() if value and name not in fields]:
        raise UserError(
            f"{adapter.name}: was saved by a later peft (its {unknown[0]} is unknown to this one); pip install "
            "--upgrade peft"
        )
    for_pairs, task = architecture_of(model.config) is ENCODER_DECODER, adapter.config.get("task_type")
    if task and TASKS[task] is not for_pairs:
        raise UserError(f"{adapter.name}: is an adapter for {task}, which {base} is not; name its own base model")
    if any(weight.is_meta for weight in model.parameters()):
        raise UserError(
            f"{adapter.name}: peft can't put it on weights that come from memory or disk in each pass, as GPUs do not "
            f"hold {base} whole; take more GPUs, or merge the two (merge_and_unload)"
        )
    size = _resized_vocabulary(model, adapter, base)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if size:
                model.resize_token_embeddings(size, mean_resizing=False)
            config = kind.from_pretrained(str(adapter.directory))
            config.inference_mode = not trainable
            adapted = get_peft_model(model, config)
            loaded = adapted.load_adapter(
                str(adapter.directory), "default", is_trainable=trainable, torch_device=str(model.device)
            )
        except Exception as error:  # peft raises any
            if is_out_of_memory(error):
                raise
            raise UserError(f"{adapter.name}: does not fit {base}: {_reason_of_peft(error)}") from None
    twice = (".modules_to_save.", ".original_module.")  # peft saves embeddings of another size under all their names
    unexpected = [name for name in loaded.unexpected_keys if not any(part in name for part in twice)]
    unexpected = [] if config.is_prompt_learning else unexpected
    for fault, names in {"lacks weights": loaded.missing_keys, "has weights of other layers": unexpected}.items():
        if names:
            shown = ", ".join(sorted(names)[:2]) + (", ..." if len(names) > 2 else "")
            raise UserError(f"{adapter.name}: {fault} ({shown}), so it is damaged or not of {base}; name its own base")
    check_finite_weights(adapted, adapter.name)
    if config.is_prompt_learning:
        prompt = adapted.get_prompt(1)[0].detach().to(model.device, model.dtype)
        model.set_input_embeddings(VirtualTokens(model.get_input_embeddings(), prompt))
    if Path(base).is_dir():
        config.base_model_name_or_path = str(Path(base).resolve())  # it may be saved elsewhere
    if not trainable:
        model.eval()
        _check_as_peft(adapted, model, adapter)
    return adapted


def _resized_vocabulary(model: PreTrainedModel, adapter: Adapter, base: str) -> int | None:
    """How many tokens the embeddings have that an adapter brings along, if they are not as many as the model's."""
    layers = {"": model.get_input_embeddings(), "output ": model.get_output_embeddings()}
    state, weight = model.state_dict(keep_vars=True), layers[""].weight
    brought, has = dict[str, int](), getattr(weight, "ds_shape", weight.shape)[0]  # ZeRO-3 keeps it in parts
    for name, shape in weight_shapes(adapter).items():
        whole = state.get(name.removeprefix(PREFIX).replace(".base_layer.", "."))
        brought |= {kind: shape[0] for kind, layer in layers.items() if layer is not None and whole is layer.weight}
    added = 1 + max(_token_indices(adapter.config.get("trainable_token_indices")), default=-1)
    if set(brought.values()) <= {has} and added <= has:
        return None
    tied = layers["output "] is None or layers["output "].weight is weight
    size = max(brought.values(), default=added)
    if lacking := [kind for kind in ([""] if tied else layers) if brought.get(kind) != size]:
        raise UserError(
            f"{adapter.name}: is for a vocabulary of {size} tokens, {base} has {has}, and the adapter's files lack the "
            f"{lacking[0]}embeddings of the others; save it with them (save_embedding_layers), or merge it first"
        )
    return size


def _token_indices(indices: Any) -> list[int]:
    """The ids of trainable_token_indices: a list, or a dict of lists by layer."""
    lists = indices.values() if isinstance(indices, dict) else [indices or []]
    return [index for one in lists for index in one]


def weight_shapes(adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """Of an adapter's weights by name."""
    file = adapter.directory / "adapter_model.safetensors"
    if file.is_file():
        with safe_open(file, "np") as stored:
            return {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    weights = torch.load(adapter.directory / "adapter_model.bin", map_location="meta", weights_only=True)
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _reason_of_peft(error: Exception) -> str:
    message = " ".join(str(error).split())
    if "not found in the base model" in message:
        return "the layers that it adapts are not there, so it is of another architecture; name its own base model"
    if unlike := re.search(r"size mismatch for ([^ :]+)", message):
        return f"its weights are of other sizes ({unlike[1]}), so it is of another model; name its own base model"
    return f"peft cannot put them together ({message[:150] or type(error).__name__}); name its own base model"


@torch.no_grad()
def _logits(model: Any, virtual: list[int]) -> torch.Tensor:
    """The scores of the tokens of a made-up text, behind virtual tokens."""
    length = min(LENGTH, (context_length(model.config) or LENGTH) - len(virtual))
    text = torch.arange(3, 3 + length) * 7 % model.config.get_text_config().vocab_size
    ids = torch.tensor([virtual + text.tolist()], device=model.device)
    decoder = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    return model(input_ids=ids, **decoder).logits[0, -len(text) :].float()


def _sums(model: PreTrainedModel) -> dict[str, Any]:
    """Figures of a model's weights by which a change of one shows."""
    sums: dict[str, Any] = {name: _sum(weight).cpu() for name, weight in weights_of(model)}
    values = torch.stack([*sums.values()]).tolist()
    return dict(zip(sums, values, strict=True)) | {"vocabulary": model.config.get_text_config().vocab_size}


def _sum(weight: torch.Tensor) -> torch.Tensor:
    """In 64 bits, part by part: torch converts what it is to add."""
    return torch.stack([part.sum(dtype=torch.float64) for part in weight.flatten().split(1 << 22)]).sum()


def _check_as_peft(adapted: Any, model: PreTrainedModel, adapter: Adapter) -> None:
    """Raise UserError if the model's scores with the adapter are not those of peft's own forward pass."""
    virtual, most = virtual_ids(model), min(1000 * torch.finfo(model.dtype).eps, 0.05)
    own, of_peft = _logits(model, virtual), _logits(adapted, [])[-LENGTH:]
    if own.shape != of_peft.shape or (own - of_peft).abs().max() > most * (1 + of_peft.abs().max()):
        raise UserError(
            f"{adapter.name}: is an adapter of a kind ({adapter.config['peft_type']}) that takes more than its layers, "
            "which is not read here; merge it with peft (merge_and_unload), or name another"
        )
