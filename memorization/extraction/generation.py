"""Continuing prefixes with a causal language model: batched, greedy unless told otherwise."""

import torch

from memorization.cli import UserError


def check_context(config, prefix_length, new_tokens):
    """Raise UserError if a model of this config cannot hold a prefix and its continuation."""
    context = getattr(config, "max_position_embeddings", None)
    if context is not None and prefix_length + new_tokens > context:
        raise UserError(
            f"the model's context of {context} tokens is shorter than prefix + new tokens ({prefix_length} + "
            f"{new_tokens}); lower --max-new-tokens, or encode with a lower --prefix-length"
        )


@torch.inference_mode()
def continue_prefixes(model, prefixes, new_tokens, eos, temperature=0.0, top_k=0, top_p=1.0):
    """Continue each prefix by up to `new_tokens` tokens, ending before the end-of-text token `eos`.

    prefixes: list of lists of token ids. Greedy if temperature is 0, else sampled from torch's generator.
    Returns a list of lists of token ids, the prefix left out.
    """
    width = max(map(len, prefixes))
    ids = torch.full((len(prefixes), width), eos)
    mask = torch.zeros_like(ids)
    for row, prefix in enumerate(prefixes):  # padded on the left: every continuation starts in the same column
        ids[row, width - len(prefix) :] = torch.tensor(prefix)
        mask[row, width - len(prefix) :] = 1
    sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p} if temperature else {}
    output = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        max_new_tokens=new_tokens,
        do_sample=temperature > 0,
        eos_token_id=eos,
        pad_token_id=eos,
        **sampling,
    )
    rows = output[:, width:].tolist()
    return [row[: row.index(eos)] if eos in row else row for row in rows]
