"""The inputs of a model: prompts, padded, and what an encoder reads."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import PreTrainedModel

from memorization.models.limits import cut_source

TokenLists = Sequence[list[int]]


class VirtualTokens(torch.nn.Module):
    """The embeddings of a vocabulary, and behind it those of the tokens that prompt tuning learned.

    virtual: [tokens, hidden size].
    """

    virtual: torch.Tensor

    def __init__(self, embeddings: Any, virtual: torch.Tensor) -> None:
        super().__init__()
        self.embeddings, self.first = embeddings, len(embeddings.weight)
        self.register_buffer("virtual", virtual, persistent=False)

    @property
    def weight(self) -> torch.Tensor:
        return self.embeddings.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        number = ids - self.first
        of_words = self.embeddings(ids.clamp(max=self.first - 1))
        return torch.where((number >= 0)[..., None], self.virtual[number.clamp(min=0)], of_words)


def virtual_ids(model: Any) -> list[int]:
    """The ids of the tokens with which every text of a model begins that prompt tuning adapted; else none."""
    embeddings = model.get_input_embeddings()
    if not isinstance(embeddings, VirtualTokens):
        return []
    return [*range(embeddings.first, embeddings.first + len(embeddings.virtual))]


def prompts_and_sources(
    model: PreTrainedModel, probes: Sequence[dict[str, Any]], source_length: int
) -> tuple[list[list[int]], list[list[int]] | None]:
    """(what a model continues, what its encoder reads) of probes. A causal model has no encoder: None.

    source_length: the most tokens that the encoder reads.
    """
    virtual = virtual_ids(model)
    prefixes = [virtual + probe["prefix_ids"] for probe in probes]
    if not model.config.is_encoder_decoder:
        return prefixes, None
    start = model.config.decoder_start_token_id
    return [[start, *ids] for ids in prefixes], [[*cut_source(probe["source_ids"], source_length)] for probe in probes]


def pass_inputs(
    model: PreTrainedModel, texts: TokenLists, sources: TokenLists | None = None
) -> dict[str, torch.Tensor]:
    """The arguments of a pass over texts, none empty. sources: what the encoder reads, if there is one.

    Padded on the right, which no token of a text sees.
    """
    ids, mask = _padded(texts, model.device)
    if sources is None:
        return {"input_ids": ids, "attention_mask": mask}
    decoder = {"decoder_input_ids": ids, "decoder_attention_mask": mask}
    return dict(zip(("input_ids", "attention_mask"), _padded(sources, model.device), strict=True)) | decoder


def generate_inputs(
    model: PreTrainedModel, prefixes: TokenLists, pad: int, sources: TokenLists | None = None
) -> dict[str, torch.Tensor]:
    """The arguments with which `generate` continues prefixes. sources: as of pass_inputs.

    Padded on the left, so that every continuation starts in the same column. A decoder with an encoder counts positions
    from the first column: its prefixes must be of one length.
    """
    if sources is None:
        ids, mask = (part.flip(1) for part in _padded([ids[::-1] for ids in prefixes], model.device, pad))
        return {"input_ids": ids, "attention_mask": mask}
    ids, mask = _padded(sources, model.device)
    return {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": torch.tensor(prefixes, device=model.device)}


def _padded(lists: TokenLists, device: torch.device, pad: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Lists of token ids as (ids, mask), int64, padded on the right."""
    ids = torch.full((len(lists), max(map(len, lists))), pad)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(lists):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = torch.tensor(tokens), 1
    return ids.to(device), mask.to(device)
