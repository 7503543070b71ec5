"""LoRA (Hu et al. 2022): the weights stay as they are, small matrices beside the linear layers are trained.

The saved model is a plain one: W + SCALE B A in the place of each W.
"""

import importlib.util
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer, set_seed

from memorization.shell.cli import UserError

SCALE = 2  # alpha / rank
ADAPTER = "default"  # peft's name of it


def add_adapters(model: PreTrainedModel, rank: int, seed: int) -> Any:
    """The peft model with adapters of a rank beside all linear layers but the output's, drawn from the seed; all other
    weights are frozen. Raises UserError where peft is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise UserError("--lora-rank: peft is not installed; pip install peft, or leave the flag out")
    from peft import LoraConfig, get_peft_model

    set_seed(seed)
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules="all-linear"))


def save_merged(trainer: Trainer) -> None:
    """Save the plain model that equals the trained one with its adapters, and its tokenizer. All ranks take part."""
    adapted = trainer.accelerator.unwrap_model(trainer.model)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # whole also where the ranks hold parts
    trainer.model = adapted.get_base_model()
    trainer._save(state_dict=merge_adapters(state, adapted) if trainer.args.should_save else {})
    trainer.model = adapted


def merge_adapters(state: dict[str, torch.Tensor], adapted: Any) -> dict[str, torch.Tensor]:
    """The weights of the plain model by name. state: whole tensors by name, of the model with adapters, `adapted`."""
    plain = {}
    for name, weight in state.items():
        layer, is_adapted, _ = name.rpartition(".base_layer.")
        if is_adapted and name.endswith(".weight"):
            a, b = (state[f"{layer}.lora_{part}.{ADAPTER}.weight"].float() for part in "AB")
            change = SCALE * b @ a
            transposed = adapted.get_submodule(layer).fan_in_fan_out  # as GPT-2 stores its weights
            weight = (weight.float() + (change.T if transposed else change)).to(weight.dtype)
        if ".lora_" not in name:
            plain[name.removeprefix("base_model.model.").replace(".base_layer.", ".")] = weight
    return plain
