"""How a task's columns become the text that a model is fine-tuned on (Zeng et al. 2024, appendix)."""

from collections.abc import Callable
from dataclasses import dataclass

from memorization.encoding.dialogues import make_dialogues

SEPARATOR = "\n ---------- \n"  # between source and target, as published


@dataclass(frozen=True)
class Task:
    """A task as data.

    name: what its encodings are called. source_fields: what the model is given; target_field: what it is to say.
    made_up: a function that gives rows for a run without data of one's own. A row is a dict field -> str.
    """

    name: str
    source_fields: tuple[str, ...]
    target_field: str
    made_up: Callable
    separator: str = SEPARATOR

    @property
    def fields(self):
        return (*self.source_fields, self.target_field)

    def source(self, row):
        """What the model is given: the source fields that are not empty, a blank between two."""
        return " ".join(row[field] for field in self.source_fields if row[field])

    def target(self, row):
        """What it is to say."""
        return row[self.target_field]

    def text(self, row):
        """The text of a sample, which ends with its target."""
        return self.source(row) + self.separator + self.target(row)

    def sample(self, row):
        """(text, the character at which its target begins)."""
        text = self.text(row)
        return text, len(text) - len(self.target(row))


DIALOGUE = Task("dialogue", source_fields=("instruction", "input"), target_field="output", made_up=make_dialogues)
