"""LoRA (Hu et al. 2022) in stage 2: the weights stay as they are, small matrices beside the linear layers are trained.

The saved model is a plain one: W + SCALE B A in the place of each W.
"""

import importlib.util

from transformers import set_seed

from memorization.shell.cli import UserError

SCALE = 2  # alpha / rank
ADAPTER = "default"  # peft's name of it


def add_adapters(model, rank, seed):
    """The model with adapters of a rank beside all linear layers but the output's, drawn from the seed; all else is
    frozen. Raises UserError where peft is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise UserError("--lora-rank: peft is not installed; pip install peft, or leave the flag out")
    from peft import LoraConfig, get_peft_model

    set_seed(seed)
    return get_peft_model(model, LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules="all-linear"))


def save_merged(trainer):
    """Save the plain model that is as the trained one with its adapters, and its tokenizer. All ranks take part."""
    adapted = trainer.accelerator.unwrap_model(trainer.model)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # whole also where the ranks hold parts
    trainer.model = adapted.get_base_model()
    trainer._save(state_dict=merged(state, adapted) if trainer.args.should_save else {})
    trainer.model = adapted


def merged(state, adapted):
    """The weights of the plain model. state: dict name -> whole tensor of the model with adapters, `adapted`."""
    plain = {}
    for name, weight in state.items():
        layer, adapts, _ = name.rpartition(".base_layer.")
        if adapts and name.endswith(".weight"):
            a, b = (state[f"{layer}.lora_{part}.{ADAPTER}.weight"].float() for part in "AB")
            change = SCALE * b @ a
            transposed = adapted.get_submodule(layer).fan_in_fan_out  # as GPT-2 keeps its weights
            weight = (weight.float() + (change.T if transposed else change)).to(weight.dtype)
        if ".lora_" not in name:
            plain[name.removeprefix("base_model.model.").replace(".base_layer.", ".")] = weight
    return plain
