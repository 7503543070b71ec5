"""What a reader must know of a run beside its figures: stage 5's table and every report tell it."""

from typing import NamedTuple

from memorization.encoding.prompt_counts import describe_prompts, prompts_are_shared

NAMES = ("UNCHECKED", "SHARED PROMPTS", "NOTE")  # the gravest first


class Note(NamedTuple):
    """name: of what it tells, a word or two. text: a clause, which may follow "though"."""

    name: str
    text: str

    def __str__(self):
        return f"{self.name}: {self.text}"


def notes(facts: dict) -> list[Note]:
    """The notes of a run, the gravest first. facts: of tables.summarize."""
    found = []
    if facts.get("unchecked"):
        found.append(Note("UNCHECKED", "model, data and index are not of one run, or not known to be"))
    if (prompts := facts.get("prompts")) and prompts_are_shared(prompts):
        found.append(Note("SHARED PROMPTS", f"{describe_prompts(prompts)}; what is asked alike is answered alike"))
    if facts.get("trained_on", "") is None:
        found.append(Note("NOTE", "nothing is known of the model's training; its members are the data's word"))
    for reason, headings in facts.get("not_computed", {}).items():
        found.append(Note("NOTE", f"{', '.join(headings)}: not computed, as {reason}"))
    return found


def together(runs: list[tuple[str, dict]]) -> list[str]:
    """The notes of several runs, (label, facts), as a sentence each, which names the runs that have it."""
    labels = {}
    for label, facts in runs:
        for note in notes(facts):
            labels.setdefault(note, []).append(label)
    ordered = sorted(labels.items(), key=lambda each: NAMES.index(each[0].name))
    return [f"{note}, in {'; '.join(named)}." for note, named in ordered]
