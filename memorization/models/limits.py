"""How many tokens a model takes: in all, in its encoder, at each of its positions."""

from collections.abc import Sequence
from typing import Any

WHOLE = 2**31 - 1  # tokens: no limit


def context_length(config: Any) -> int | None:
    """The most positions that a model of a transformers configuration has; None where it sets no limit."""
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return length if length and length > 0 else None


def cut_source(ids: Sequence[int], most: int) -> Sequence[int]:
    """At most `most` of the tokens that an encoder reads; the last one, which closes them, stays."""
    return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


def source_limit(config: Any, kind: str, trained: int | None = None) -> int:
    """The most tokens of a source that the encoder of a model reads. kind: of the probes.

    trained: the limit that it was trained with, None for no limit: a whole source is cut as in training.
    """
    return min(filter(None, (context_length(config), trained if kind == "target" else None)), default=WHOLE)


def attention_windows(model: Any, layers: int) -> list[int | None]:
    """How many tokens a position sees at most, itself included, by layer of the decoder; None: no such limit."""
    config = model.config.get_text_config()
    if config.is_encoder_decoder:
        return [None] * layers
    kinds = getattr(config, "attention_layers", None) or getattr(config, "layer_types", None)  # GPT-Neo's, the newer
    window = getattr(config, "window_size" if hasattr(config, "attention_layers") else "sliding_window", None)
    return [
        window if kind in ("local", "sliding_attention") else None for kind in kinds or ["sliding_attention"] * layers
    ]
