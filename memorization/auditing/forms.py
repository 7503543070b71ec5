"""Which form data has: what its columns are called decides how a row becomes the text that a model was trained on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from memorization.encoding.chats import ALPACA, CHAT_FORMS
from memorization.encoding.columns import Columns
from memorization.encoding.readers import Source, read_sources, sources
from memorization.encoding.tasks import CHAT, CLASSIFICATION, DIALOGUE, QA, SUMMARIZATION, TEXT, TRANSLATION, Task
from memorization.shell.cli import UserError

ROWS = 1000  # that are looked at: of JSON lines, not every row has every column


class Form(NamedTuple):
    """A form of data. columns: that it is known by. turns: whether texts in them are turns of a chat."""

    task: Task
    columns: tuple[str, ...]
    turns: bool = False

    def __str__(self) -> str:
        columns = " and ".join(self.columns)
        if self.task is TEXT:
            return f"texts, of column {columns}, as they stand"
        if self.task is CHAT:
            through = "through the chat template" if self.turns or len(self.columns) == 1 else "as they stand"
            return f"chats, of {columns}, {through}; each turn of the assistant is asked for"
        joined = f"with {self.task.separator!r} before the {self.task.target_field}"
        begin = f"{self.task.instruction!r} and " if self.task.instruction else ""
        return (
            f"{self.task.name}, of columns {columns}; each text is {begin}these, {joined}. If the model was trained on "
            "other texts, give those in one column `text`: else nothing that it knows comes out"
        )


def detect_form(
    paths: Sequence[str], template: bool = False, encoding: str | None = None, flag: str = "--train-data"
) -> Form:
    """The form of the training data. template: whether the tokenizer has a chat template. encoding: of text files.

    Raises UserError where no form fits, naming those that there are, and for data that cannot be read.
    """
    read, reasons = sources(paths, flag)[:1], set()
    forms = _forms(template)
    for form in forms:
        try:
            if _fits(read, form, encoding):
                return form
        except UserError as error:
            reasons.add(str(error))
    if len(reasons) == 1:  # whatever the columns: the data cannot be read
        raise UserError(reasons.pop())
    every = "; ".join(" and ".join(form.columns) for form in forms)
    raise UserError(
        f"{paths[0]}: its columns are of no form known here ({every}); rename them, or give the texts as the model was "
        "trained on them in one column `text`"
    )


def _forms(template: bool) -> list[Form]:
    """The forms that are known; the first that fits is taken."""
    tasks = [] if template else [DIALOGUE]
    tasks += [QA, SUMMARIZATION, CLASSIFICATION, TRANSLATION, TEXT]
    chats = [columns for form, columns in CHAT_FORMS.items() if template or form != ALPACA]
    return [
        *(Form(CHAT, columns, template and len(columns) > 1) for columns in chats),
        *(Form(task, tuple(task.columns.get(field, (field,))[-1] for field in task.fields)) for task in tasks),
        *([] if template else [Form(replace(DIALOGUE, source_fields=("instruction",)), CHAT_FORMS[ALPACA])]),
    ]


def _fits(read: list[Source], form: Form, encoding: str | None) -> bool:
    task = form.task
    spellings: dict[str, Any] = {column: (column,) for column in form.columns}
    if task is not CHAT:
        spellings = {field: task.columns.get(field, (field,)) for field in task.fields}
    columns = Columns(spellings, next(reversed(spellings)), task.alternatives)
    together: dict[str, object] = {}
    for _, _, row in islice(read_sources(read, columns, None, encoding, "--train-data"), ROWS):
        together = row | together
    return columns.are_in(together)
