"""How a model spreads its attention while it reads the true suffix of a probe (teacher forcing).

Of a causal model its self-attention, of an encoder-decoder model the decoder's attention to the source.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from memorization.models.limits import attention_windows
from memorization.models.passes import pass_inputs, prompts_and_sources


@torch.inference_mode()
def attention_measures(
    model: PreTrainedModel, probes: Sequence[dict[str, Any]], source_length: int, longest: int
) -> np.ndarray:
    """Of probes, dicts of encoding.probes.Probes, the measures: float32 [probes, layers, heads, MEASURES].

    Each is the mean over the positions that predict the first `longest` tokens of the suffix, those that see a single
    token left out; NaN where there is none. A position sees the tokens before it and itself, within the window of a
    layer that has one; of an encoder-decoder model, the source, of which none is a prefix: its mass is NaN. The model
    must have eager attention, which alone gives the weights. source_length: as of passes.prompts_and_sources.
    """
    prefixes, sources = prompts_and_sources(model, probes, source_length)
    suffixes = [probe["suffix_ids"][:longest] for probe in probes]
    texts = [[*prefix, *suffix[:-1]] for prefix, suffix in zip(prefixes, suffixes, strict=True)]
    output = model(**pass_inputs(model, texts, sources), use_cache=False, output_attentions=True)
    layers = output.attentions if sources is None else output.cross_attentions
    begins, ends = np.array([*map(len, prefixes)]), np.array([*map(len, texts)])
    values = np.empty((len(probes), len(layers), layers[0].shape[1], 4), np.float32)
    for layer, (weights, window) in enumerate(zip(layers, attention_windows(model, len(layers)), strict=True)):
        for row, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            here = torch.arange(begin - 1, end)
            keys = end if sources is None else len(sources[row])
            visible = torch.full_like(here, keys) if sources else (here + 1).clamp(max=window or end)
            several = visible > 1
            chosen = weights[row, :, begin - 1 : end, :keys].cpu().double()[:, several]
            each = measures(chosen, visible[several], None if sources else int(begin))
            values[row, layer] = each.mean(1).numpy()
    return values


def measures(weights: torch.Tensor, visible: torch.Tensor, prefix: int | None = None) -> torch.Tensor:
    """Of attention weights [heads, positions, tokens], 0 for what is not seen: [heads, positions, 4], as MEASURES has.

    visible: int64 [positions], how many tokens each sees, 2 at least. prefix: how many tokens are; None: NaN.
    """
    entropy = torch.special.entr(weights).sum(-1)
    ranks = torch.arange(1, weights.shape[-1] + 1, dtype=weights.dtype) - (weights.shape[-1] - visible)[:, None]
    # what is not seen comes first among the sorted, and its ranks count nothing
    gini = (2 * (weights.sort(-1).values * ranks).sum(-1) / weights.sum(-1) - visible - 1) / visible
    mass = torch.full_like(entropy, torch.nan) if prefix is None else weights[..., :prefix].sum(-1)
    return torch.stack([entropy / visible.log(), gini, entropy.exp(), mass], -1)
