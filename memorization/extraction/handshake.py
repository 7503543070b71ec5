"""What an endpoint of completions gives, found out by a few made-up prompts.

Servers differ in what they understand, ignore or leave out without a word: one takes `echo` and gives no log
probabilities of the prompt, another counts tokens of its own. What is not proved here is not computed.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from memorization.extraction.completions import Completions, ScoredBy, TokenRow
from memorization.extraction.endpoint import Answer, BadAnswer, Choice, Endpoint, Question, Refused
from memorization.extraction.engine import DecodingSettings
from memorization.shell.cli import UserError

MADE_UP = 8  # tokens of a made-up prompt, and of what follows it
OTHERS = 3  # tokens whose probabilities are compared in one place
CLOSE, SHARE = 0.05, 0.01  # nats a token, and of a sum, by which two passes in 16 bits may differ
DIFFERENT = 0.15  # nats a token, of several draws: more than by that
NEAR_TIE = 0.5  # nats by which another token may be likelier than that of greedy decoding, for the same reason
DRAWN = 4  # tokens whose log probabilities as they were drawn are compared with those of a prompt
CHANCES = 1.02  # the most that the probabilities of several tokens in one place sum to, with rounding
GREEDY = {"temperature": 0}
FORCED = 100  # logit_bias of a token that is to come next


class Abilities(NamedTuple):
    """What a server was proved to do.

    completions: how it is asked. scored_by: how it gives log probabilities of a prompt; None: it does not. lacks:
    fields of rows that are not computed -> why. repeats: whether it gave the same greedy answer twice. stops: whether a
    generation ends with the end-of-text token; None: not known.
    """

    completions: Completions
    scored_by: ScoredBy | None
    lacks: dict[str, str]
    repeats: bool
    stops: bool | None

    @property
    def remark(self) -> str:
        """What a reader should know beside what is not computed; empty for nothing."""
        remarks = {
            "it was asked by texts, whose tokens may not be those of the probes": not self.completions.by_ids,
            "it did not give the same greedy answer twice": not self.repeats,
            "its generations may go on behind the end of a text": not (self.stops or self.completions.gives_ids),
        }
        return "; ".join(remark for remark, holds in remarks.items() if holds)


def handshake(endpoint: Endpoint, completions: Completions, decoding: DecodingSettings) -> Abilities:
    """The Abilities of a server. completions: which model is asked, with which tokens.

    Raises UserError for a server that gives no completions of the model, or does not choose tokens as it is asked to.
    """
    tokenizer = completions.tokenizer
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder, *completions.ends}
    words = np.setdiff1d(np.arange(tokenizer.vocab_size), [*special])
    one, other = np.random.default_rng(0).choice(words, (2, MADE_UP), replace=len(words) < 2 * MADE_UP).tolist()
    endpoint.own_ids = False
    completions, own_ids = _first_contact(endpoint, completions, [one, other])

    def continuation(more: dict[str, Any] = GREEDY) -> list[int] | str | None:
        """What follows a made-up prompt; None where the server does not take the request."""
        try:
            return endpoint.ask(completions.generation(one, MADE_UP, more))
        except Refused:
            return None

    greedy = continuation()
    repeats = greedy == continuation()
    if decoding.temperature:
        for name, asked, strictest in (("top_k", decoding.top_k > 0, 1), ("top_p", decoding.top_p < 1, 1e-6)):
            if asked and continuation({"temperature": 1, name: strictest}) != greedy:
                flag = f"--{name.replace('_', '-')}"
                raise UserError(f"{flag}: {endpoint.url} does not choose tokens by it; leave it out")
    ended = continuation(GREEDY | {"logit_bias": {str(end): FORCED for end in completions.ends}})
    stops = None if ended is None else not (ended.strip() if isinstance(ended, str) else ended)
    scored_by, lacks = _prove_scores(endpoint, completions, one, other, greedy if isinstance(greedy, list) else [])
    if scored_by:
        lacks["scores.min_k_plus"] = "an endpoint gives the log probabilities of the tokens alone"
        if decoding.scheme != (1.0, 0, 1.0):
            lacks["scores.log_p_z"] = "an endpoint scores at temperature 1, without top-k and top-p"
    if scored_by == "echo":
        names = ("scores.matched_tokens", "scores.extraction_strength")
        lacks |= dict.fromkeys(names, "the endpoint names the likeliest tokens by texts, which may be ambiguous")
    if not completions.gives_ids:
        lacks["matched_tokens"] = "the endpoint gives texts without token ids"
    endpoint.own_ids = own_ids
    endpoint.forget_ids()
    return Abilities(completions, scored_by, lacks, repeats, stops)


def _first_contact(
    endpoint: Endpoint, completions: Completions, prompts: Sequence[list[int]]
) -> tuple[Completions, bool]:
    """How the server is asked, and whether answers to different prompts have different ids.

    It is asked by token ids where it was proved that they mean the same there, else by texts: if it counts as many, and
    the tokens that it gives have its text, or it echoes that of the prompt.
    """
    for extensions in (True, False):
        trial = replace(completions, extensions=extensions)
        try:
            answers = [_answer(endpoint, trial.generation(ids, MADE_UP, GREEDY)) for ids in prompts]
            if not all(map(_counts, answers, prompts)):
                continue
            if _have_texts_of_ids(trial, answers):
                return replace(trial, gives_ids=True), _own_ids(answers)
            answers = [_answer(endpoint, trial.generation(ids, 1, {"echo": True} | GREEDY)) for ids in prompts]
        except Refused as error:
            if error.status == 404:
                break
            continue
        texts = [_letters(trial.text(ids)) for ids in prompts]
        if all(map(_counts, answers, prompts)) and all(
            _letters(answer.choices[0].text).startswith(text) for answer, text in zip(answers, texts, strict=True)
        ):
            return trial, _own_ids(answers)
    trial = replace(completions, by_ids=False, extensions=False)
    try:
        answers = [_answer(endpoint, trial.generation(ids, MADE_UP, GREEDY)) for ids in prompts]
    except Refused as error:
        remedy = "check the address and the model's name" if error.status == 404 else "check the model's name"
        raise UserError(f"{endpoint.url}/completions: refuses a request with status {error}; {remedy}") from None
    for answer, ids in zip(answers, prompts, strict=True):
        _check_text(endpoint.url, trial, answer, trial.text(ids))
    return trial, _own_ids(answers)


def _check_text(url: str, completions: Completions, answer: Answer, text: str) -> None:
    """Raise UserError for an answer to a text that repeats it, or that counts other tokens of it, but for one that
    begins every text: then --max-new-tokens would not reach as far as in the suffixes."""
    letters = _letters(text)
    if letters and _letters(answer.choices[0].text).startswith(letters):
        raise UserError(f"{url}: repeats the prompt before what the model says; turn that off there")
    number = answer.usage.prompt_tokens if answer.usage else None
    own = completions.tokenizer.encode(text, add_special_tokens=False)
    if number is not None and number - len(own) not in (0, 1):
        raise UserError(
            f"{url}: counts {number} tokens of a text in which the tokenizer finds {len(own)}; name the model's own "
            "tokenizer"
        )


def _counts(answer: Answer, ids: list[int]) -> bool:
    """Whether a server counts as many tokens of a prompt as we do, if it counts."""
    return not answer.usage or answer.usage.prompt_tokens in (None, len(ids))


def _own_ids(answers: Sequence[Answer]) -> bool:
    """Whether each answer has an id of its own."""
    ids = {answer.id for answer in answers}
    return None not in ids and len(ids) == len(answers)


def _answer(endpoint: Endpoint, question: Question) -> Answer:
    """The answer as it is, to be judged."""
    return endpoint.ask(question._replace(read=lambda answer: answer))


def _letters(text: str) -> str:
    """A text without white space and parts of characters, in which decoders differ."""
    return re.sub(r"[\s\ufffd]", "", text)


def _have_texts_of_ids(completions: Completions, answers: Sequence[Answer]) -> bool:
    """Whether answers have token ids that are those of their texts."""
    compared = False
    for answer in answers:
        (choice,) = answer.choices
        if choice.token_ids is None:
            return False
        ids = [token for token in choice.token_ids if token not in completions.ends]
        try:
            text = completions.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        except (IndexError, OverflowError, TypeError):
            return False
        if _letters(str(text)) != _letters(choice.text):
            return False
        compared |= bool(_letters(choice.text))
    return compared


def _prove_scores(
    endpoint: Endpoint, completions: Completions, one: list[int], other: list[int], greedy: list[int]
) -> tuple[ScoredBy | None, dict[str, str]]:
    """How the server gives the log probabilities of a prompt; and, where it does not, why not.

    greedy: what follows the first prompt, as far as it is known.
    """
    if not completions.by_ids:
        return None, {"scores": "the endpoint takes texts alone, whose tokens may not be those of the probes"}
    reason, ways = "", list[ScoredBy](["prompt_logprobs", "echo"])
    for way in ways[not completions.extensions :]:

        def scored(ids: list[int], way: ScoredBy = way) -> list[TokenRow]:
            question = completions.scores(ids, way)
            return question.read(_answer(endpoint, question))

        try:
            problem = _problem(scored, one, other, greedy) or _problem_of_draws(endpoint, completions, scored, one)
        except Refused as error:
            problem = f"a request for them is refused with status {error}"
        except BadAnswer as error:
            problem = f"an answer {error}"
        if problem is None:
            return way, {}
        reason = reason or problem
    return None, {"scores": f"the endpoint gives no log probabilities of a prompt that can be believed: {reason}"}


def _problem(
    scored: Callable[[list[int]], list[TokenRow]], one: list[int], other: list[int], greedy: list[int]
) -> str | None:
    """What is wrong with log probabilities; None if nothing is."""
    alone, whole, behind = (scored([*one, *more]) for more in ([], other, greedy))
    before = len(alone)
    total, of_part = sum(own for own, _ in alone), sum(own for own, _ in whole[:before])
    if not abs(total - of_part) <= CLOSE * before + SHARE * abs(total):
        return "those of a text are others when it goes on"
    if any(best is not None and own < best - NEAR_TIE for own, best in behind[before:]):
        return "they are not of the model that generates"
    tokens = [*greedy[:1], *[token for token in dict.fromkeys(other) if token not in greedy[:1]][:OTHERS]]
    values = [scored([*one, token])[-1][0] for token in tokens]
    if len({round(value, 6) for value in values}) == 1 or math.fsum(map(math.exp, values)) > CHANCES:
        return "several tokens in one place have the same, or are together likelier than 1"
    if greedy and values[0] < max(values) - NEAR_TIE:
        return "the token that the model says is not the likeliest"
    return None


def _problem_of_draws(
    endpoint: Endpoint, completions: Completions, scored: Callable[[list[int]], list[TokenRow]], prompt: list[int]
) -> str | None:
    """What is wrong with log probabilities beside those of tokens that the model draws: temperature and adapter are the
    same there."""
    differences = []
    for seed in range(DRAWN):
        drawing = {"temperature": 1, "seed": seed, "logprobs": 1}
        (choice,) = _answer(endpoint, completions.generation(prompt, 1, drawing)).choices
        values = choice.logprobs.token_logprobs if choice.logprobs else []
        token = _token_of(completions, choice)
        if token is not None and len(values) == 1 and values[0] is not None:
            differences.append(abs(scored([*prompt, token])[-1][0] - values[0]))
    if not differences:
        return "none of what the model says is given to compare them with"
    return "they are others than those of what the model says" if np.mean(differences) > DIFFERENT else None


def _token_of(completions: Completions, choice: Choice) -> int | None:
    """The one token of an answer; None where its text may be that of several."""
    if choice.token_ids is not None:
        return choice.token_ids[0] if len(choice.token_ids) == 1 else None
    texts = choice.logprobs.tokens if choice.logprobs else None
    tokenizer = completions.tokenizer
    fitting = [id for id in range(len(tokenizer)) if texts and tokenizer.decode([id]) == texts[0]]
    return fitting[0] if len(fitting) == 1 else None
