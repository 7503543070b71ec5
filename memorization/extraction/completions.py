"""What an endpoint of completions is asked about a text, and what an answer must be to be believed."""

from dataclasses import dataclass
from typing import Any, Literal

from transformers import PreTrainedTokenizerBase

from memorization.extraction.endpoint import Answer, BadAnswer, Choice, Question, Usage

EXTENSIONS = {  # of vLLM and others: no penalties that a checkpoint asks for, token ids in the answer
    "add_special_tokens": False,
    "return_token_ids": True,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
}
WAYS = {"prompt_logprobs": {"prompt_logprobs": 1, "return_token_ids": True}, "echo": {"echo": True, "logprobs": 1}}
HIGHEST = 1e-3  # of a log probability, with rounding

ScoredBy = Literal["prompt_logprobs", "echo"]
TokenRow = tuple[float, float | None]  # the log probabilities of a token and of the likeliest in its place, if known


@dataclass(frozen=True)
class Completions:
    """Questions to a model, as its server understands them.

    model: how the server calls it. ends: the tokens that end a text. by_ids: whether prompts are token ids; else they
    are texts. extensions: whether the server takes EXTENSIONS. gives_ids: whether generations are token ids.
    """

    model: str
    tokenizer: PreTrainedTokenizerBase
    ends: tuple[int, ...]
    by_ids: bool = True
    extensions: bool = True
    gives_ids: bool = False

    def generation(self, ids: list[int], new_tokens: int, more: dict[str, Any]) -> Question:
        """For what follows a prompt, up to so many tokens: token ids, or a text. more: how to choose tokens."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": ids if self.by_ids else self.text(ids),
            "max_tokens": new_tokens,
        }
        body |= {**EXTENSIONS, "stop_token_ids": [*self.ends]} if self.extensions else {}
        body |= {"ignore_eos": True} if self.gives_ids else {}  # of the checkpoint; what is behind our ends is cut off

        def read(answer: Answer) -> list[int] | str:
            choice = _checked(answer, ids if self.by_ids else None)
            number = (answer.usage or Usage()).completion_tokens if choice.token_ids is None else len(choice.token_ids)
            if choice.finish_reason not in ("stop", "length"):
                raise BadAnswer(f"ended neither by itself nor by its length, but by {choice.finish_reason!r}")
            if number is not None and number > new_tokens:
                raise BadAnswer(f"has {number} tokens, more than the {new_tokens} that were asked for")
            if number is not None and number < new_tokens and choice.finish_reason == "length":
                raise BadAnswer(f"was cut at {number} tokens of {new_tokens} by a limit of the server")
            if not self.gives_ids:
                return choice.text
            if choice.token_ids is None:
                raise BadAnswer("lacks the token ids that others have")
            end = next((place for place, token in enumerate(choice.token_ids) if token in self.ends), None)
            return choice.token_ids[:end]

        return Question(body | more, len(ids) + new_tokens, read)

    def scores(self, ids: list[int], way: ScoredBy) -> Question:
        """For the log probabilities of a text's tokens but the first, a TokenRow each."""
        body = {"model": self.model, "prompt": ids, "max_tokens": 1, "temperature": 0, **WAYS[way]}

        def read(answer: Answer) -> list[TokenRow]:
            choice = _checked(answer, ids)
            rows = _of_prompt(choice, ids) if way == "prompt_logprobs" else _of_echo(choice, ids)
            if not all(own <= HIGHEST for own, _ in rows):
                raise BadAnswer("has log probabilities over 0")
            return rows

        return Question(body, len(ids) + 1, read)

    def text(self, ids: list[int]) -> str:
        """The text of a prompt, without a token that begins every text, which servers add themselves."""
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        rest = ids[1:] if ids[:1] == [begin] and begin != end else ids
        text = self.tokenizer.decode(rest, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)  # as of one list of ids
        return text


def _checked(answer: Answer, ids: list[int] | None) -> Choice:
    """The choice of an answer. Raises BadAnswer where it is to another prompt than these token ids; None: not known."""
    (choice,) = answer.choices
    number = answer.usage and answer.usage.prompt_tokens
    if ids is not None and choice.prompt_token_ids not in (None, ids):
        raise BadAnswer("is to another prompt")
    if ids is not None and number not in (None, len(ids)):
        raise BadAnswer(f"counts {number} tokens of a prompt of {len(ids)}")
    return choice


def _of_prompt(choice: Choice, ids: list[int]) -> list[TokenRow]:
    places = choice.prompt_logprobs
    if not places:
        raise BadAnswer("has no log probabilities of the prompt")
    if len(places) != len(ids):
        raise BadAnswer(f"has log probabilities of {len(places)} tokens of a prompt of {len(ids)}")
    rows: list[TokenRow] = []
    for token, place in zip(ids[1:], places[1:], strict=True):
        if not place or token not in place:
            raise BadAnswer("has log probabilities of other tokens than the prompt's")
        rows.append((place[token].logprob, max(one.logprob for one in place.values())))
    return rows


def _of_echo(choice: Choice, ids: list[int]) -> list[TokenRow]:
    """The likeliest tokens are named by their texts there, which several may have: they are not known."""
    values = choice.logprobs.token_logprobs if choice.logprobs else []
    if len(values) not in (len(ids), len(ids) + 1):  # with the token that follows
        raise BadAnswer(f"has log probabilities of {len(values)} tokens for a prompt of {len(ids)} and one more")
    own = [value for value in values[1 : len(ids)] if value is not None]
    if len(own) < len(ids) - 1:
        raise BadAnswer("lacks log probabilities of some tokens of the prompt")
    return [(value, None) for value in own]
