"""Which form data has: what its columns are called decides how a row becomes the text that a model was trained on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from memorization.encoding.columns import Columns
from memorization.encoding.readers import Source, read_sources, sources
from memorization.encoding.tasks import (
    CLASSIFICATION,
    COMPLETION,
    DIALOGUE,
    QA,
    SUMMARIZATION,
    TEXT,
    TRANSLATION,
    Task,
)
from memorization.shell.cli import UserError

FORMS = (  # the first that fits is taken
    DIALOGUE,
    replace(DIALOGUE, source_fields=("instruction",)),
    QA,
    SUMMARIZATION,
    COMPLETION,
    CLASSIFICATION,
    TRANSLATION,
    TEXT,
)
ROWS = 1000  # that are looked at: of JSON lines, not every row has every column


def detect_form(
    paths: Sequence[str], delimiter: str | None = None, encoding: str | None = None, flag: str = "--train-data"
) -> Task:
    """The task whose columns the training data has. delimiter, encoding: of text files, as of DataSettings.

    Raises UserError where no form fits, naming those that there are, and for data that cannot be read.
    """
    read, reasons = sources(paths, flag)[:1], set()
    for task in FORMS:
        try:
            if _fits(read, task, delimiter, encoding):
                return task
        except UserError as error:
            reasons.add(str(error))
    if len(reasons) == 1:  # whatever the columns: the data cannot be read
        raise UserError(reasons.pop())
    forms = dict.fromkeys(" and ".join(_columns_of(task)) for task in FORMS)
    raise UserError(
        f"{paths[0]}: its columns are of no form known here ({'; '.join(forms)}); rename them, or give the texts as "
        "the model was trained on them in one column `text`"
    )


def describe_form(task: Task) -> str:
    """What data of a form is taken for, in words."""
    columns = " and ".join(_columns_of(task))
    if not task.source_fields:
        return f"texts, of column {columns}, as they stand; probes of kind text"
    joined = f"{task.separator!r} before the {task.target_field}" if task.separator else "nothing between them"
    begin = f"{task.instruction!r} and " if task.instruction else ""
    return (
        f"{task.name}, of columns {columns}; each text is {begin}these with {joined}. If the model was trained on "
        "other texts, give those in one column `text`: else nothing that it knows comes out"
    )


def _columns_of(task: Task) -> list[str]:
    return [task.columns.get(field, (field,))[-1] for field in task.fields]


def _fits(read: list[Source], task: Task, delimiter: str | None, encoding: str | None) -> bool:
    spellings = {field: task.columns.get(field, (field,)) for field in task.fields}
    columns = Columns(spellings, task.target_field, task.alternatives)
    together: dict[str, object] = {}
    for _, _, row in islice(read_sources(read, columns, delimiter, encoding, "--train-data"), ROWS):
        together = row | together
    return columns.are_in(together)
