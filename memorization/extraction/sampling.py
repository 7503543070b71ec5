"""Sampling: temperature, top-k and top-p, and draws that do not depend on the batch."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers.generation import LogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from memorization.store.rows import Key


def scheme_processors(temperature: float, top_k: int = 0, top_p: float = 1.0) -> list[LogitsProcessor]:
    """The logits processors of a sampling scheme, in order: temperature, then top-k (0: all), then top-p."""
    processors: list[LogitsProcessor] = [TemperatureLogitsWarper(float(temperature))]
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        processors.append(TopPLogitsWarper(top_p))
    return processors


class GumbelNoise(LogitsProcessor):
    """Adds Gumbel noise to the scores, so that their argmax is a draw from their softmax (Gumbel 1954).

    keys: of each row (rows.Keyed). The noise of a row depends on the seed and its key alone, whatever the batch and the
    device. Serves for one batch.
    """

    def __init__(self, keys: Sequence[Key], seed: int) -> None:
        self._generators = [np.random.default_rng((seed, id, sample, turn)) for id, turn, sample in keys]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = np.empty(scores.shape)  # of 64 bits: in 32 an exponential draw is exactly 0 too often
        for row, generator in zip(noise, self._generators, strict=True):
            generator.standard_exponential(out=row)
        return scores - torch.from_numpy(noise).to(scores.dtype).to(scores.device).log()
