"""How the detections of a run came about, and what a reader must know of it beside its figures."""

from collections.abc import Iterable
from math import log
from typing import Any, NamedTuple

from memorization.encoding.comparability import describe_sides, sides_differ
from memorization.encoding.kinds import AS_ENCODED
from memorization.encoding.prompt_counts import describe_prompts, prompts_are_shared
from memorization.results.summary import HELD_OUT, MEMBERS, Facts, Summary

NAMES = ("UNCHECKED", "SUSPECT", "NO CONTROL", "SIDES DIFFER", "SHARED PROMPTS", "NOTE")  # of notes, the gravest first

WRONG_FORM = "they are not in the form that the model was trained on"
CLOSE, FAR = 0.1, 0.5  # differences of losses, in nats a token
MANY = 0.1  # a share of the samples
DECLARED = "membership as declared by the files"


class Note(NamedTuple):
    """name: a word or two. text: a clause, which may follow "though"."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def facts_of(made_of: dict[str, Any], arguments: dict[str, Any], facts: dict[str, Any]) -> Facts:
    """The Facts of detections. made_of, arguments, facts: as their manifest has them."""
    generations = facts["generations"] or {}
    return Facts(
        profile=made_of["profile"],
        direction=made_of["direction"],
        candidates=made_of["candidates"],
        span_length=made_of["span_length"],
        loop_repeats=made_of["loop_repeats"],
        regions=tuple(made_of["regions"]),
        unchecked=made_of["unchecked"],
        model=arguments["type"],
        classifier=made_of["classifier"] and arguments["paraphrase_model"],
        ner_model=arguments.get("ner_model"),
        samples=facts["samples"],
        clusters=facts["clusters"],
        base=facts["base"] and facts["base"]["model"],
        scheme=sampling_scheme(generations) if generations else None,
        trained_on=(facts["training"] or {}).get("encoding"),
        split=facts.get("split"),
        held_out=facts.get("held_out"),
        probe=generations.get("probe"),
        too_short=facts.get("too_short"),
        drawn=generations.get("drawn"),
        prompts=facts.get("prompts"),
        text_form=facts.get("text_form"),
        declared=facts.get("declared"),
        not_computed=facts.get("not_computed") or {},
    )


def sampling_scheme(generations: dict[str, Any]) -> str:
    """How a query of (n, p) samples, in words. generations: what made them; greedy ones are scored at temperature 1."""
    parts = [f"temperature {generations['temperature'] or 1:g}"]
    if generations["top_k"]:
        parts.append(f"top-k {generations['top_k']}")
    if generations["top_p"] < 1:
        parts.append(f"top-p {generations['top_p']:g}")
    return ", ".join(parts)


def notes_of(summary: Summary) -> list[Note]:
    """The notes of a run, the gravest first."""
    facts, notes = summary.facts, []
    if facts.unchecked:
        notes.append(Note("UNCHECKED", "model, data and index are not of one run, or not known to be"))
    notes += [Note("SUSPECT", reason) for reason in suspicions(summary)]
    exact = summary.counts.figures.get("exact_match")
    of_held_out = exact and exact.groups[HELD_OUT]
    if of_held_out and of_held_out.interval and (of_held_out.interval[0] or 0) > MANY:
        share = f"{100 * (of_held_out.value or 0):.0f} % of the held-out texts come out exactly"
        notes.append(Note("SUSPECT", f"{share}: the model was trained on them, or anybody says them"))
    if not summary.counts.samples[HELD_OUT]:
        notes.append(
            Note("NO CONTROL", "there are no held-out texts, so what members show may be what any text would show")
        )
    if facts.split and (sides := facts.split["comparability"]) and sides_differ(sides):
        cause = "so a difference may come from the texts, not from training"
        notes.append(Note("SIDES DIFFER", f"{describe_sides(sides)}, {cause}"))
    if facts.prompts and prompts_are_shared(facts.prompts):
        notes.append(
            Note("SHARED PROMPTS", f"{describe_prompts(facts.prompts)}; what is asked alike is answered alike")
        )
    if facts.drawn:
        sizes = [
            f"{number:,} {side}s" if number else f"all {side}s"
            for number, side in ((facts.drawn["members"], "member"), (facts.drawn["held_out"], "held-out sample"))
        ]
        notes.append(Note("NOTE", f"a random sample was asked: {' and '.join(sizes)}"))
    if facts.declared:
        notes.append(Note("NOTE", facts.declared))
    if facts.trained_on is None:
        unknown = "nothing is known of the model's training"
        if facts.split and facts.split["kind"] == "random":
            unknown += ", and the split was drawn here: the model may have been trained on the held-out texts too"
        notes.append(Note("NOTE", f"it is {DECLARED}: {unknown}"))
        if facts.text_form and facts.text_form["template_unused"]:
            unused = "the tokenizer has a chat template, which the texts have not gone through"
            notes.append(Note("NOTE", f"{unused}: encode chats with encode_chat.py"))
    if facts.split and (sides := facts.split["comparability"]) and sides["auc"] is None:
        notes.append(Note("NOTE", describe_sides(sides)))
    for reason, headings in summary.not_computed.items():
        notes.append(Note("NOTE", f"{', '.join(headings)}: not computed, as {reason}"))
    return notes


def suspicions(summary: Summary) -> list[str]:
    """Why the texts may not be in the form in which the model was trained on them: "nothing memorized" by mistake."""
    form, figures, reasons = summary.facts.text_form, summary.counts.figures, []
    side = HELD_OUT if summary.counts.samples[HELD_OUT] else MEMBERS
    texts = "held-out texts" if side == HELD_OUT else "members"
    loss = figures["loss"].groups[side].value if "loss" in figures else None
    if form and loss is not None and loss > log(form["vocabulary"]) + CLOSE:
        uniform = f"that of a uniform guess, {log(form['vocabulary']):.2f}"
        reasons.append(f"the loss of {texts}, {loss:.2f} nats a token, is worse than {uniform}: {WRONG_FORM}")
    if form and form["losses"]:
        as_encoded = form["losses"][AS_ENCODED]
        name, least = min(form["losses"].items(), key=lambda item: item[1])
        if as_encoded > least + FAR:
            both = f"{as_encoded:.2f} nats a token as encoded and {least:.2f} in another form, {name}"
            remedy = "name a template of that form by --chat-template"
            if form["form"] != "chat":
                remedy = "take encode_chat.py, which renders chats through the tokenizer's template or --chat-template"
            reasons.append(f"the loss of some answers is {both}: {WRONG_FORM}; {remedy}")
    if form and form["form"] == "text" and form["named"] > MANY * form["samples"]:
        number = f"{form['named']:,} of {form['samples']:,} samples"
        reasons.append(f"{number} have the names of control tokens as text (--parse-special-tokens makes them tokens)")
    if 2 * summary.empty >= summary.generations > 0:
        reasons.append(f"{summary.empty:,} of {summary.generations:,} generations end at once: {WRONG_FORM}")
    return reasons


def joint_notes(runs: Iterable[tuple[str, Summary]]) -> list[str]:
    """The notes of several runs (label, summary), each as a sentence that names the runs that have it."""
    labels: dict[Note, list[str]] = {}
    for label, summary in runs:
        for note in notes_of(summary):
            labels.setdefault(note, []).append(label)
    ordered = sorted(labels.items(), key=lambda item: NAMES.index(item[0].name))
    return [f"{note}, in {'; '.join(names)}." for note, names in ordered]
