"""A report for machines: audit.json, which audit.schema.json describes (JSON Schema, draft 2020-12)."""

import json

from memorization import __version__
from memorization.detection.personal_data import KINDS
from memorization.results.evidence import RATIO, scheme
from memorization.results.membership import resolved
from memorization.results.notes import notes

VERSION = 2  # of the document; raise it when a field or its meaning changes
EXTRACTION = ("matched_tokens", "own_run", "common_run", "edit_similarity", "rouge_l", "extraction_strength")
EXTRACTION += ("log_p_z", "paraphrase")  # scores that are no attack on membership of their own
OTHERS = {  # what no stage does, under the names of the literature
    "prompts other than a sample's own beginning": "roles, instructions, divergence attacks and jailbreaks",
    "attacks with shadow or reference models": "LiRA, RMIA; the base model is the only reference",
    "attacks on weights, gradients or training updates": "all that is done here is to ask the model",
    "attribute inference": "what a model gives away of a person without repeating a text",
    "model inversion and reconstruction": "but for texts that the model says",
    "exfiltration of the model or its data": "a matter of the system around the model",
}


def document(runs, outcomes):
    """The text of audit.json: the same for the same results. runs: reports.Runs. outcomes: of gate.outcomes."""
    content = {
        "version": VERSION,
        "tool": {"name": "memorization", "version": __version__},
        "runs": [_run(run) for run in runs],
        "gate": None,
    }
    if outcomes:
        told = [
            {"run": one.run, "column": one.limit.column, "limit": one.limit.rate, "excess": one.limit.excess}
            | {"holds": one.holds, "cell": one.cell, "held_out": one.held_out}
            for one in outcomes
        ]
        content["gate"] = {"holds": all(one.holds for one in outcomes), "outcomes": told}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _run(run):
    summary, facts = run.summary, run.summary["facts"]
    figures = [
        {name: column[name] for name in ("name", "heading", "kind", "meaning")}
        | {"groups": {group: cells[column["name"]] for group, cells in summary["groups"].items()}}
        | {"difference": summary["difference"].get(column["name"])}
        for column in summary["columns"]
    ]
    return {
        "name": run.name,
        "label": run.label,
        "directory": run.directory,
        "model": facts["model"],
        "unchecked": facts["unchecked"],
        "notes": [note._asdict() for note in notes(facts)],
        "verdict": summary["verdict"],
        "probes": {group: cells["n"] for group, cells in summary["groups"].items()},
        "prompts": facts.get("prompts"),
        "generations": summary["generations"],
        "generations_a_probe": summary["generations_a_probe"],
        "figures": figures,
        "another": summary["another"],
        "scores": summary["scores"],
        "personal": summary["personal"],
        "another_personal": summary["another_personal"],
        "canaries": summary["canaries"],
        "base": summary["base"],
        "identities": identities(run.manifest),
        "attacks": [{"name": name, "run": done, "detail": detail} for name, done, detail in attacks(run)],
    }


def identities(manifest):
    """The hashes of what made a result, None where there is none or it is not known."""
    made_of, facts = manifest.made_of, manifest.facts
    generations, index, base = facts["generations"] or {}, facts["index"], facts["base"] or {}
    return {
        "detections": manifest.identity,
        "detections_contents": manifest.contents,
        "generations": made_of["generations"],
        "index": made_of["index"],
        "index_documents": index.get("documents"),
        "encoding": generations.get("encoding"),
        "trained_on": generations.get("trained_on"),
        "training_set": (facts["training"] or {}).get("training_set"),
        "model": generations.get("model"),
        "classifier": made_of["classifier"],
        "ner_model": made_of["ner_model"],
        "base_detections": base.get("identity"),
        "version": manifest.version,
    }


def attacks(run):
    """What was tried on a run's model and what was not: (name, whether, plain words).

    Of each: True, False, or None where the result does not tell.
    """
    summary, facts, made_of = run.summary, run.summary["facts"], run.manifest.made_of
    known = run.manifest.facts["generations"]
    settings = "with settings that are not known" if known is None else _decoding(known)
    greedy = None if known is None else not known["temperature"]
    members, held_out = facts["samples"]
    scores = [name for name in summary["scores"] if name not in (*EXTRACTION, RATIO.name)]
    resolvable = resolved([summary["scores"]])
    queried = any(column["block"] == "queries" for column in summary["columns"])
    yield "greedy continuation of prefixes", greedy, settings if greedy is not False else "decoding was sampled"
    sampled = None if greedy is None else not greedy
    yield "sampled continuation of prefixes", sampled, settings if sampled is not False else "decoding was greedy"
    yield "(n, p)-discoverable extraction", queried, facts["scheme"] if queried else "no scores of suffixes"
    yield "search for copied spans", True, f"{made_of['span_length']} characters, {members + held_out} samples"
    aligned = f"{made_of.get('candidates')} candidates, profile {made_of['profile']}, direction {made_of['direction']}"
    yield "alignment with candidates", True, aligned
    classifier = facts["classifier"]
    yield "paraphrase classifier", bool(classifier), classifier or "none was asked: paraphrases are unverified"
    yield "personal data by form", True, f"{', '.join(KINDS)}; telephone numbers of {', '.join(facts['regions'])}"
    named = facts.get("ner_model")
    yield "personal names", bool(named), named or "no --ner-model, so names were not looked for"
    rates = ", ".join(f"{100 * float(rate):g} %" for rate in resolvable) or "none"
    said = f"{', '.join(scores)}; rates of false positives that are resolved: {rates}"
    yield "membership scores", bool(scores), said if scores else "no scores, or one side only"
    based = summary["base"] is not None
    yield "comparison with the base model", based, str(facts["base"]) if based else "no --base-model"
    canaries = summary["canaries"]
    pairs = canaries and max(group["pairs"] for group in canaries["groups"].values())
    yield "canaries", bool(canaries), f"{pairs} pairs" if canaries else "none were planted, or none asked for"
    yield "near-duplicates kept on one side", *_near_duplicates(run.manifest.facts.get("split"))
    for name, detail in OTHERS.items():
        yield name, False, f"not done by this tool: {detail}"


def _near_duplicates(split):
    if split is None:
        return None, "nothing is known of the split"
    share = split["near_duplicates"]
    if share is None:
        return False, "copies alone are: held-out texts may resemble members"
    return True, f"texts that share {100 * share:g} % of their word 5-grams"


def _decoding(known):
    of = f" of the {known['probe']}" if known.get("probe", "text") != "text" else ""
    said = f"prefixes of {known['prefix_length']} tokens{of}, {known.get('num_samples', 1)} a probe"
    said += f", {known['max_new_tokens']} new tokens" if "max_new_tokens" in known else ""
    return f"{said}, {scheme(known)}" if known["temperature"] else said
