"""How many tokens a model takes: its encoder, its decoder, each of its positions."""

WHOLE = 2**31 - 1  # tokens: no limit


def cut_source(ids, most):
    """At most so many of the tokens that an encoder reads, the last one too, which closes them."""
    return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


def most_of_source(config, kind, trained=None):
    """The most tokens that the encoder of a model reads of a probe of a kind (encoding.probes.Probes).

    config: of the model, which may have a limit. trained: as many as it was trained with, None for no limit: a whole
    source is cut as in training.
    """
    limits = getattr(config, "max_position_embeddings", None), trained if kind == "target" else None
    return min((limit for limit in limits if limit), default=WHOLE)


def attention_windows(model, layers):
    """How many tokens a position sees at the most, itself included, by layer of the decoder; None: no such limit."""
    config = model.config.get_text_config()
    if config.is_encoder_decoder:
        return [None] * layers
    kinds = getattr(config, "attention_layers", None) or getattr(config, "layer_types", None)  # GPT-Neo's, the newer
    window = getattr(config, "window_size" if hasattr(config, "attention_layers") else "sliding_window", None)
    return [
        window if kind in ("local", "sliding_attention") else None for kind in kinds or ["sliding_attention"] * layers
    ]
