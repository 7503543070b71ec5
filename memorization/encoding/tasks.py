"""How a task's columns become the text that a model is fine-tuned on (Zeng et al. 2024, appendix)."""

from collections.abc import Callable
from dataclasses import dataclass

from memorization.encoding.dialogues import make_dialogues

SEPARATOR = "\n ---------- \n"  # between source and target, as published


@dataclass(frozen=True)
class Task:
    """A task as data.

    name: what its encodings are called. source: the fields that the model is given, a blank between those that are not
    empty; target: the field that it is to say. made_up: a function that gives rows for a run without data of one's own.
    """

    name: str
    source: tuple[str, ...]
    target: str
    made_up: Callable

    @property
    def fields(self):
        return (*self.source, self.target)

    def text(self, row):
        """The text of a sample. row: dict field -> str."""
        return " ".join(row[field] for field in self.source if row[field]) + SEPARATOR + row[self.target]


DIALOGUE = Task("dialogue", source=("instruction", "input"), target="output", made_up=make_dialogues)
