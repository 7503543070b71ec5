"""The tasks, as data: how a row of a data set becomes the text that a model is fine-tuned on (Zeng et al. 2024)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from memorization.encoding.made_up import (
    Row,
    make_articles,
    make_dialogues,
    make_questions,
    make_reviews,
    make_translations,
)
from memorization.encoding.sample_store import Sample

SEPARATOR = "\n ---------- \n"  # between source and target, as published


@dataclass(frozen=True)
class Task:
    """A task. A row of it is a dict field -> str.

    name: what its encodings are called. source_fields: what the model is given; target_field: what it is to write.
    columns: what the column of a field is called if not like the field, the first of them that is there; "a.b" is b
    within a. alternatives: columns in which a list holds several texts that each will do; the first counts. made_up: a
    function that gives rows for a run without data of one's own, if there is one. instruction: begins every sample.
    classes: None if the target is free text; else the names of the classes by number, or () where the data names them.
    parallel: may come as two text files, a sample a line. chat: the rows are chats (chats.py), which have no fields.
    """

    name: str
    source_fields: tuple[str, ...]
    target_field: str
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    alternatives: tuple[str, ...] = ()
    made_up: Callable[[], list[Row]] | None = None
    instruction: str = ""
    separator: str = SEPARATOR
    classes: tuple[str, ...] | None = None
    parallel: bool = False
    chat: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that have a column of their own."""
        return () if self.chat else (*self.source_fields, self.target_field)

    def source(self, row: Row) -> str:
        """What the model is given: instruction and source fields, those that are not empty, joined by blanks."""
        return " ".join(filter(None, [self.instruction, *(row[name] for name in self.source_fields)]))

    def target(self, row: Row) -> str:
        """What the model is to write."""
        return row[self.target_field]

    def text(self, row: Row) -> str:
        """The text of a sample, which ends with its target."""
        return self.source(row) + self.separator + self.target(row)

    def sample(self, row: Row) -> Sample:
        text = self.text(row)
        return Sample(text, (len(text) - len(self.target(row)), len(text)))


DIALOGUE = Task("dialogue", source_fields=("instruction", "input"), target_field="output", made_up=make_dialogues)
QA = Task(
    "qa",
    source_fields=("context", "question"),
    target_field="answer",
    columns={"answer": ("answers.text", "answer")},
    alternatives=("answers.text",),
    made_up=make_questions,
    instruction="Answer the question about the passage.",
)
SUMMARIZATION = Task(
    "summarization",
    source_fields=("document",),
    target_field="summary",
    columns={"document": ("document", "article", "dialogue"), "summary": ("summary", "highlights")},
    made_up=make_articles,
    instruction="Summarize the text.",
)
TRANSLATION = Task(
    "translation",
    source_fields=("source",),
    target_field="target",
    columns={"source": ("translation.de", "de", "source"), "target": ("translation.en", "en", "target")},
    made_up=make_translations,
    instruction="Translate from German to English.",
    parallel=True,
)
CLASSIFICATION = Task(
    "classification",
    source_fields=("text",),
    target_field="label",
    columns={"text": ("text", "sentence", "review"), "label": ("label", "sentiment")},
    made_up=make_reviews,
    instruction="Is the sentiment of the text positive or negative?",
    classes=(),
)
CHAT = Task("chat", source_fields=(), target_field="turn", chat=True)
TEXT = Task("text", source_fields=(), target_field="text", separator="")  # as other programs train on it
