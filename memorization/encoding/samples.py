"""The samples of a task: rows as the texts that stage 1 encodes."""

import heapq
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from transformers import PreTrainedTokenizerFast

from memorization.encoding.chats import ASSISTANT, Chat, ChatRenderer, NotAChat, chat_form, read_chat
from memorization.encoding.columns import Columns
from memorization.encoding.kinds import ChatExample
from memorization.encoding.readers import read_sources, sources
from memorization.encoding.sample_store import Sample
from memorization.encoding.task_rows import DataSettings, read_task_rows, whole_text
from memorization.encoding.text_files import open_text
from memorization.encoding.tokens import CHAT, NAMED, TEXT
from memorization.shell.cli import UserError
from memorization.store.manifests import identity

EXAMPLES, ANSWER = 64, 40  # chats that are kept as they are, the shortest, and the least characters of their answers


class AllColumns(Columns):
    """Takes every column as it is."""

    def __init__(self) -> None:
        super().__init__({}, "")

    def declare(self, row: dict[str, Any], names: list[str]) -> dict[str, str]:
        return {name: name for name in names}


class SampleReader:
    """Reads the samples of a task's data.

    form: of tokens.encode; of chats it is known once the first is read, as is `taken_for`, what the rows were taken
    for. number: of the samples. named: how many have the name of a special token in their texts. without_turn: how many
    chats have no turn of the assistant to ask for.
    """

    def __init__(self, settings: DataSettings, tokenizer: PreTrainedTokenizerFast, tokenizer_name: str):
        self._chat, self._tokenizer, self._name = settings.task.chat, tokenizer, tokenizer_name
        self.form = NAMED if settings.parse_special_tokens else TEXT
        self.taken_for, self.number, self.named, self.without_turn = "", 0, 0, 0
        names = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._special = re.compile("|".join(map(re.escape, names)) or "(?!)")
        self._renderer: ChatRenderer | None = None
        self._shortest: list[tuple[int, int, str, ChatExample]] = []  # a heap of examples, the longest text first

    @property
    def template(self) -> str | None:
        """The hash of the chat template that the samples went through."""
        return identity({"template": self._renderer.template}) if self._renderer else None

    @property
    def examples(self) -> list[ChatExample]:
        """Some short chats that a template has rendered, as they were before."""
        return [example for *_, example in sorted(self._shortest, key=lambda one: (-one[0], -one[1]))]

    def read(self, settings: DataSettings) -> Iterator[Sample]:
        """The samples of the data, or of a side of it, one by one. Raises UserError for rows that are none."""
        if self._chat:
            yield from self._read_chats(settings)
            return
        for row in read_task_rows(settings):
            self.number += 1
            sample = settings.task.sample(row)
            self.named += bool(self._special.search(sample.text))
            yield sample

    def _read_chats(self, settings: DataSettings) -> Iterator[Sample]:
        rows = read_sources(sources(settings.paths, settings.flag), AllColumns(), None, settings.encoding)
        empty = True
        for source, where, row in islice(rows, settings.limit):
            empty, self.number = False, self.number + 1
            form = chat_form(set(row), settings.chat)
            if form is None:
                alpaca = {"instruction", "output"} <= set(row)
                remedy = (
                    "add --chat if its rows are turns of a chat"
                    if alpaca
                    else (
                        "give `messages`, `conversations`, `prompt` and `completion`, or with --chat Alpaca's columns"
                    )
                )
                raise UserError(f"{source}: {where} has {', '.join(sorted(row))}, which is no form of a chat; {remedy}")
            try:
                chat = read_chat(row, form, settings.chat)
                sample = self._sample(chat, form, settings)
            except NotAChat as error:
                raise UserError(f"{source}: {where}: {error}; mend or remove it") from None
            self.without_turn += not sample.targets
            yield sample._replace(text=whole_text(sample.text))
        if empty:
            raise UserError(f"{settings.name}: no rows in it; name a file with data")

    def _sample(self, chat: Chat | tuple[str, str], form: str, settings: DataSettings) -> Sample:
        rendered = isinstance(chat, Chat)
        taken_for = form if rendered else "prompt and completion as plain texts"
        if self.taken_for not in ("", taken_for):
            raise NotAChat(f"holds {taken_for}, rows before it {self.taken_for}; give rows of one form")
        self.taken_for = taken_for
        if not isinstance(chat, Chat):
            self.named += any(self._special.search(text) is not None for text in chat)
            return Sample("".join(chat), (len(chat[0]), len("".join(chat))))
        if self._renderer is None:
            template = None
            if settings.chat_template:
                with open_text(settings.chat_template) as file:
                    template = file.read()
            self._renderer = ChatRenderer(self._tokenizer, self._name, template)
            self.form = CHAT
            if self._renderer.names_date:
                print(f"{self._name}: its chat template writes today's date, which training may have had otherwise")
        contents = (message.get("content") for message in chat.messages)
        self.named += any(isinstance(text, str) and self._special.search(text) is not None for text in contents)
        sample = self._renderer.sample(chat)
        self._keep_example(chat, sample)
        return sample

    def _keep_example(self, chat: Chat, sample: Sample) -> None:
        """Keep a chat of texts if it is among the shortest that differ."""
        turns = [n for n, message in enumerate(chat.messages) if message["role"] == ASSISTANT]
        if not sample.targets or turns[-1] < chat.given:
            return
        contents = [message.get("content") or "" for message in chat.messages[: turns[-1] + 1]]
        if not all(isinstance(text, str) for text in contents) or len(contents[-1]) < ANSWER:
            return
        full, length = len(self._shortest) == EXAMPLES, len(sample.text)
        if full and length >= -self._shortest[0][0] or any(text == sample.text for _, _, text, _ in self._shortest):
            return
        messages = [
            {"role": message["role"], "content": text} for message, text in zip(chat.messages, contents, strict=False)
        ]
        example = ChatExample(id=self.number - 1, turn=len(sample.targets) // 2 - 1, messages=messages)
        keep = heapq.heappushpop if full else heapq.heappush
        keep(self._shortest, (-length, 1 - self.number, sample.text, example))
