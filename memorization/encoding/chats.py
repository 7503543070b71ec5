"""Chats: rows of the forms in which people keep them, rendered through a chat template, with the assistant's turns.

The forms are those that TRL, axolotl and LLaMA-Factory read: `messages`, ShareGPT's `conversations`, `prompt` and
`completion`, and the columns of Alpaca.
"""

import json
import re
from typing import Any, NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

from memorization.encoding.sample_store import Sample
from memorization.shell.cli import UserError

ASSISTANT = "assistant"
ALPACA = "Alpaca"
CHAT_FORMS = {  # form -> the columns by which it is known; the first that fits is taken
    "messages": ("messages",),
    "conversations": ("conversations",),
    "prompt and completion": ("prompt", "completion"),
    ALPACA: ("instruction", "output"),
}
ROLES = {  # of ShareGPT -> of a template
    "human": "user",
    "gpt": ASSISTANT,
    "chatgpt": ASSISTANT,
    "bing": ASSISTANT,
    "bard": ASSISTANT,
    "model": ASSISTANT,
    "function_call": ASSISTANT,
    "observation": "tool",
    "function": "tool",
}
MARKED = re.compile(r"\{%-?\s*generation\s*-?%\}")  # in a template: what the assistant writes


class Chat(NamedTuple):
    """Messages in order, and the tools that they may name. given: how many of the messages are a prompt alone."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None = None
    given: int = 0


class NotAChat(ValueError):
    """What is wrong with a row, for the end of a message that names it."""


def chat_form(columns: set[str], alpaca: bool = False) -> str | None:
    """The form, of CHAT_FORMS, of rows with these columns, or None. alpaca: whether Alpaca's columns are chats too."""
    fitting = (form for form, own in CHAT_FORMS.items() if columns.issuperset(own) and (alpaca or form != ALPACA))
    return next(fitting, None)


def read_chat(row: dict[str, Any], form: str, rendered: bool) -> Chat | tuple[str, str]:
    """The chat of a row; where prompt and completion are texts that no template is to render, these two.

    rendered: whether texts are turns of a user and an assistant. Raises NotAChat.
    """
    tools = _parsed(row.get("tools")) or None
    if tools is not None and not isinstance(tools, list):
        raise NotAChat("`tools` is no list")
    if form == "prompt and completion":
        prompt, completion = row.get("prompt"), row.get("completion")
        if isinstance(prompt, str) and isinstance(completion, str):
            if not rendered:
                return prompt, completion
            prompt, completion = [_message("user", prompt)], [_message(ASSISTANT, completion)]
        before = _messages(prompt, "prompt")
        return Chat(before + _messages(completion, "completion"), tools, len(before))
    if form == ALPACA:
        return Chat(_alpaca(row), tools)
    messages = _messages(row.get(form), form)
    if form == "conversations" and isinstance(system := row.get("system"), str) and system:
        messages = [_message("system", system), *messages]
    return Chat(messages, tools)


def _alpaca(row):
    """The messages of a row with Alpaca's columns, as LLaMA-Factory reads them: `history` holds earlier turns."""
    texts = [row.get(name) or "" for name in ("instruction", "input", "output")]
    if not all(isinstance(text, str) for text in texts):
        raise NotAChat("`instruction`, `input` or `output` is no text")
    messages = [_message("system", row["system"])] if row.get("system") else []
    history = row.get("history") or []
    if not isinstance(history, list) or any(not isinstance(turns, list) or len(turns) != 2 for turns in history):
        raise NotAChat("`history` is no list of pairs, a question and its answer each")
    for turns in history:
        messages += [_message(role, text) for role, text in zip(("user", ASSISTANT), turns, strict=True)]
    question = "\n".join(filter(None, texts[:2]))
    return [*messages, _message("user", question), _message(ASSISTANT, texts[2])]


def _messages(value, column):
    """The messages in a column, with the roles of templates; names without a value are left out."""
    value = _parsed(value)
    if not isinstance(value, list) or not value:
        raise NotAChat(f"`{column}` is no list of messages")
    messages = []
    for number, message in enumerate(value, 1):
        if not isinstance(message, dict):
            raise NotAChat(f"`{column}`: message {number} is no object")
        message = {name: part for name, part in message.items() if part is not None or name == "content"}
        if "from" in message:
            message = message | {"role": message.pop("from"), "content": message.pop("value", None)}
        if not isinstance(role := message.get("role"), str):
            raise NotAChat(f"`{column}`: message {number} has no role")
        messages.append(message | {"role": ROLES.get(role, role)})
    return messages


def _message(role, content):
    return {"role": role, "content": content}


def _parsed(value):
    """A value that may be written as JSON, as Parquet files have it."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


class ChatRenderer:
    """Renders chats through the chat template of a tokenizer, or another one.

    template: its text. names_date: whether what it writes depends on the day. Raises UserError if there is none.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, name: str, template: str | None = None):
        template = template or tokenizer.chat_template
        if isinstance(template, dict):
            template = template.get("default")
        if not template:
            raise UserError(
                f"{name}: the tokenizer has no chat template; name that of the chat model, or a template by "
                "--chat-template"
            )
        self.template: str = template
        self.names_date = "strftime_now" in template
        self._marked, self._special = bool(MARKED.search(template)), dict(tokenizer.special_tokens_map)
        self._eos = str(tokenizer.eos_token)

    def sample(self, chat: Chat) -> Sample:
        """The Sample of a chat, its targets the assistant's turns behind `given`. Raises NotAChat."""
        text, spans = self._render(chat, len(chat.messages))
        turns = [n for n, message in enumerate(chat.messages) if message["role"] == ASSISTANT]
        if not self._marked:
            spans = [self._span(chat, n, text) for n in turns if n >= chat.given]
        elif len(spans) == len(turns):
            spans = [span for n, span in zip(turns, spans, strict=True) if n >= chat.given]
        else:
            raise NotAChat(f"the template marks {len(spans)} of its {len(turns)} assistant turns")
        body = 0
        if chat.messages[0]["role"] == "system" and isinstance(system := chat.messages[0].get("content"), str):
            begin = text.find(system.strip())
            body = begin + len(system.strip()) if begin >= 0 else 0
        return Sample(text, tuple(place for span in spans for place in span if span[0] < span[1]), body)

    def opening(self, chat: Chat, number: int) -> str:
        """What stands before a turn: the messages before it, and what opens an answer. Raises NotAChat."""
        return self._render(chat, number, add_generation_prompt=True)[0]

    def _span(self, chat: Chat, number: int, text: str) -> tuple[int, int]:
        """Where a turn stands in the text of its chat: behind what opens it, up to what the template writes next.

        Rendered alone, the beginning of a chat may end with the end-of-text token, which the whole chat has at its end.
        """
        opened = self.opening(chat, number)
        ended, _ = self._render(chat, number + 1)
        ends = ended, ended.rstrip().removesuffix(self._eos)
        end = next((each for each in ends if text.startswith(each)), None)
        if end is None or not end.startswith(opened):
            raise NotAChat(
                "the template renders the beginning of this chat otherwise than the whole, so that it can't be told "
                "which tokens are the assistant's; mark them in the template by {% generation %} (--chat-template)"
            )
        return len(opened), len(end)

    def _render(self, chat: Chat, number: int, **options: Any) -> tuple[str, list[tuple[int, int]]]:
        """The text of the first messages of a chat, and the spans that the template marks."""
        arguments: dict[str, Any] = self._special | options
        try:
            rendered: Any = render_jinja_template(  # typed as a text, and returns lists of texts and spans
                conversations=[chat.messages[:number]],
                tools=chat.tools,
                chat_template=self.template,
                return_assistant_tokens_mask=self._marked,
                **arguments,
            )
        except (TemplateError, TypeError, ValueError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise NotAChat(f"the chat template refuses it: {reason}") from None
        (text,), spans = rendered
        return text, spans[0] if self._marked else []
