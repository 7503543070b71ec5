"""A report for machines: audit.json, which audit.schema.json describes (JSON Schema, draft 2020-12)."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from memorization import __version__
from memorization.detection.personal_data import KINDS
from memorization.encoding.kinds import SplitRule
from memorization.results.columns import RATIO
from memorization.results.facts import notes_of, sampling_scheme
from memorization.results.gate import Outcome
from memorization.results.result import Result
from memorization.results.summary import base_json
from memorization.results.tables import resolved_rates
from memorization.store.manifests import Manifest

VERSION = 4  # of the document; raise it when a field or its meaning changes
EXTRACTION = {  # scores that are no attack on membership of their own
    *("matched_tokens", "own_run", "common_run", "edit_similarity", "rouge_l", "extraction_strength", "log_p_z"),
    "paraphrase",
}
NOT_DONE = {  # by any stage, under the names of the literature
    "prompts other than a sample's own beginning": "roles, instructions, divergence attacks and jailbreaks",
    "attacks with shadow or reference models": "LiRA, RMIA; the base model is the only reference",
    "attacks on weights, gradients or training updates": "all that is done here is to ask the model",
    "attribute inference": "what a model gives away of a person without repeating a text",
    "model inversion and reconstruction": "except texts that the model generates",
    "exfiltration of the model or its data": "a matter of the system around the model",
}


def audit_json(results: Sequence[Result], outcomes: Sequence[Outcome]) -> str:
    """The text of audit.json: the same for the same results."""
    outcomes_json = [
        {"run": outcome.run, "column": outcome.limit.column, "limit": outcome.limit.rate}
        | {"excess": outcome.limit.excess, "holds": outcome.holds}
        | {"cell": outcome.estimate, "held_out": outcome.held_out}
        for outcome in outcomes
    ]
    content = {
        "version": VERSION,
        "tool": {"name": "memorization", "version": __version__},
        "runs": [_run(result) for result in results],
        "gate": {"holds": all(one.holds for one in outcomes), "outcomes": outcomes_json} if outcomes else None,
    }
    return json.dumps(msgspec.to_builtins(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _run(result: Result) -> dict[str, Any]:
    summary, facts = result.summary, result.summary.facts
    shown = ("name", "heading", "kind", "meaning", "groups", "difference")
    return {
        "name": result.name,
        "label": result.label,
        "directory": result.directory,
        "model": facts.model,
        "unchecked": facts.unchecked,
        "membership": "declared" if facts.trained_on is None else "trained",
        "split": facts.split,
        "notes": [note._asdict() for note in notes_of(summary)],
        "verdict": summary.verdict,
        "samples": summary.counts.samples,
        "probes": summary.probes,
        "prompts": facts.prompts,
        "generations": summary.generations,
        "generations_a_probe": summary.generations_a_probe,
        "figures": [{name: getattr(figure, name) for name in shown} for figure in summary.counts.figures.values()],
        "another": summary.another,
        "scores": summary.scores,
        "personal": summary.personal,
        "another_personal": summary.another_personal,
        "canaries": summary.canaries,
        "records": summary.records,
        "base": None if summary.base is None else base_json(summary),
        "identities": identities(result.manifest),
        "attacks": [{"name": name, "run": done, "detail": detail} for name, done, detail in attacks(result)],
    }


def identities(manifest: Manifest) -> dict[str, str | None]:
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


def attacks(result: Result) -> Iterator[tuple[str, bool | None, str]]:
    """What was tried on a model and what was not: (name, whether, plain words).

    Of each: True, False, or None where the result does not tell.
    """
    summary, facts, made_of = result.summary, result.summary.facts, result.manifest.made_of
    generations = result.manifest.facts["generations"]
    settings = "with settings that are not known" if generations is None else _decoding(generations)
    greedy = None if generations is None else not generations["temperature"]
    yield "greedy continuation of prefixes", greedy, settings if greedy is not False else "decoding was sampled"
    sampled = None if greedy is None else not greedy
    yield "sampled continuation of prefixes", sampled, settings if sampled is not False else "decoding was greedy"
    queried = any(figure.block == "queries" for figure in summary.counts.figures.values())
    scheme = facts.scheme if queried else "no scores of suffixes"
    yield "(n, p)-discoverable extraction", queried, scheme or "with settings that are not known"
    yield "search for copied spans", True, f"{made_of['span_length']} characters, {sum(facts.samples)} samples"
    aligned = f"{made_of.get('candidates')} candidates, profile {made_of['profile']}, direction {made_of['direction']}"
    yield "alignment with candidates", True, aligned
    classifier = facts.classifier
    yield "paraphrase classifier", bool(classifier), classifier or "none was asked: paraphrases are unverified"
    yield "personal data by form", True, f"{', '.join(KINDS)}; telephone numbers of {', '.join(facts.regions)}"
    names = facts.ner_model
    yield "personal names", bool(names), names or "no --ner-model, so names were not looked for"
    scores = ", ".join(name for name in summary.scores if name not in {*EXTRACTION, RATIO.name})
    rates = ", ".join(f"{100 * float(rate):g} %" for rate in resolved_rates([summary.scores])) or "none"
    detail = f"{scores}; rates of false positives that are resolved: {rates}"
    yield "membership scores", bool(scores), detail if scores else "no scores, or one side only"
    recognition = summary.records.recognition
    detail = f"by {recognition.score}, from {recognition.held_out} held-out samples at 5 % false discoveries"
    yield "recognition of single records", recognition.reason is None, recognition.reason or detail
    based = summary.base is not None
    yield "comparison with the base model", based, str(facts.base) if based else "no --base-model"
    canaries = summary.canaries
    pairs = max(group.pairs for group in canaries.groups.values()) if canaries else 0
    yield "canaries", bool(canaries), f"{pairs} pairs" if canaries else "none were planted, or none asked for"
    yield "near-duplicates kept on one side", *_near_duplicates(facts.split)
    for name, detail in NOT_DONE.items():
        yield name, False, f"not done by this tool: {detail}"


def _near_duplicates(split: SplitRule | None) -> tuple[bool | None, str]:
    if split is None:
        return None, "nothing is known of the split"
    share = split["near_duplicates"]
    if share is None:
        return False, "copies alone are: held-out texts may resemble members"
    rule = f"texts that share {100 * share:g} % of their word 5-grams"
    return True, f"held-out {rule} with a member are left out" if split["kind"] == "given" else rule


def _decoding(generations: dict[str, Any]) -> str:
    of = f" of the {generations['probe']}" if generations.get("probe", "text") != "text" else ""
    prompts = (
        f"prefixes of {generations['prefix_length']} tokens{of}"
        if generations["prefix_length"] is not None
        else f"prompts{of}"
    )
    settings = f"{prompts}, {generations.get('num_samples', 1)} a probe"
    settings += f", {generations['max_new_tokens']} new tokens" if "max_new_tokens" in generations else ""
    return f"{settings}, {sampling_scheme(generations)}" if generations["temperature"] else settings
