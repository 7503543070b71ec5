"""What a summary of detections says of how they were made, from their manifest: stage 5 and the report say the same."""

from typing import Any

from memorization.results.evidence import scheme

STATED = (
    "profile",
    "direction",
    "candidates",
    "span_length",
    "loop_repeats",
    "regions",
    "unchecked",
)  # of what made the detections


def facts(made_of: dict[str, Any], arguments: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The facts of tables.summarize. made_of, arguments, known: of the manifest of detections, `known` its facts.

    trained_on: the encoding that the model was trained on; None where nothing is known of its training.
    """
    link, generations = known["base"], known["generations"] or {}
    return {
        **{name: made_of[name] for name in STATED},
        "model": arguments["type"],
        "classifier": made_of["classifier"] and arguments["paraphrase_model"],
        "ner_model": arguments.get("ner_model"),
        "samples": known["samples"],
        "clusters": known["clusters"],
        "base": link and link["model"],
        "scheme": scheme(generations) if generations else None,
        "trained_on": (known["training"] or {}).get("encoding"),
        "held_out": known.get("held_out"),
        "probe": generations.get("probe"),
        "prompts": known.get("prompts"),
        "not_computed": known.get("not_computed") or {},
    }
