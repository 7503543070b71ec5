"""Loading language models: for training in 32-bit weights, for generation as they are."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, set_seed

from memorization.hub import load


def load_for_training(name, tokenizer, seed, from_scratch=False):
    """The causal language model at a path or hub name, in 32-bit weights.

    from_scratch: take only the configuration, and as vocabulary and special tokens the tokenizer's; the weights are
    drawn from the seed. Raises UserError if something cannot be loaded.
    """
    set_seed(seed)
    if not from_scratch:
        return load(AutoModelForCausalLM.from_pretrained, name, "a causal language model", dtype=torch.float32)
    config = load(AutoConfig.from_pretrained, name, "a model configuration")
    config.vocab_size = len(tokenizer)
    for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, token, getattr(tokenizer, token))
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def load_for_generation(name, dtype, device):
    """The causal LM at a path or hub name, in evaluation mode. Raises UserError if it cannot be loaded."""
    model = load(AutoModelForCausalLM.from_pretrained, name, "a causal language model", dtype=dtype)
    return model.eval().to(device)
