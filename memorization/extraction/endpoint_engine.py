"""The engine that asks a model behind an OpenAI-compatible endpoint of completions."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from memorization.extraction.completions import Completions
from memorization.extraction.endpoint import Endpoint, Journal, Question, Refused
from memorization.extraction.engine import DecodingSettings, Prompt, TokenScores
from memorization.extraction.handshake import handshake
from memorization.shell.cli import UserError
from memorization.store.manifests import identity

TOGETHER = 8  # times as many generations as requests at a time: few wait for the last of a batch
IMPOSSIBLE = -9999.0  # how servers write the logarithm of 0


class EndpointEngine:
    """An Engine of a model behind an Endpoint; a handshake finds out what it gives.

    Answers stand in a journal until the rows of their batch are written, so that nothing is asked twice. Probes are
    scored and continued in requests of their own. The draws of a generation depend on the seed and its key, as far as
    the server heeds a seed.

    model: how the server calls it. ends: the tokens that end a text. at_a_time: requests. result: the file of the rows,
    beside which the journal lies; who uses the engine has the lock of it. Raises UserError as handshake does.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        tokenizer: PreTrainedTokenizerBase,
        ends: Sequence[int],
        decoding: DecodingSettings,
        at_a_time: int,
        result: Path,
    ) -> None:
        self._endpoint, self._decoding = endpoint, decoding
        self.batch_size = TOGETHER * at_a_time
        self.abilities = handshake(endpoint, Completions(model, tokenizer, tuple(ends)), decoding)
        self.not_computed = self.abilities.lacks
        self._journal_path = result.with_name(f"{result.name}.{identity([model, self.identity])}.answers")
        self._begun = False

    @property
    def identity(self) -> dict[str, Any]:
        asked = self.abilities.completions
        return {
            "engine": "endpoint",
            "engine_version": None,
            "batch_size": None,
            "prompts": "token ids" if asked.by_ids else "text",
            "continuations": "token ids" if asked.gives_ids else "text",
            "scored_by": self.abilities.scored_by,
        }

    @cached_property
    def _journal(self) -> Journal:
        return Journal(self._journal_path)

    def close(self) -> None:
        """Forget the answers: their rows are written."""
        self._journal.clear()

    def score(self, probes: Sequence[dict[str, Any]]) -> Sequence[TokenScores | None]:
        if self._begun:  # else the batch may be one that was stopped
            self._journal.clear()
            self._endpoint.forget_ids()
        self._begun = True
        way, ask = self.abilities.scored_by, self.abilities.completions.scores
        if way is None:
            return [None] * len(probes)
        suffixes = [probe["suffix_ids"][: self._decoding.max_new_tokens] for probe in probes]
        texts = [[*probe["prefix_ids"], *suffix] for probe, suffix in zip(probes, suffixes, strict=True)]
        answers = self._ask([ask(ids, way) for ids in texts])
        return [self._token_scores(rows[-len(suffix) :]) for rows, suffix in zip(answers, suffixes, strict=True)]

    def generate(self, prompts: Sequence[Prompt]) -> Sequence[list[int] | str]:
        ask, most = self.abilities.completions.generation, self._decoding.max_new_tokens
        return self._ask([ask(prompt.probe["prefix_ids"], most, self._sampling(prompt)) for prompt in prompts])

    def _sampling(self, prompt: Prompt) -> dict[str, Any]:
        decoding = self._decoding
        if not decoding.temperature:
            return {"temperature": 0}
        seed = int(np.random.SeedSequence((decoding.seed, *prompt.key)).generate_state(1)[0] >> 1)
        sampling = {"temperature": decoding.temperature, "top_p": decoding.top_p, "seed": seed}
        return sampling | ({"top_k": decoding.top_k} if decoding.top_k else {})

    def _ask(self, questions: Sequence[Question]) -> list[Any]:
        keyed = [(identity(question.body), question) for question in questions]
        try:
            self._endpoint.ask_all(dict(keyed), self._journal)
        except Refused as error:
            raise UserError(f"{self._endpoint.url}: refuses a request with status {error}") from None
        return [self._journal.answers[key] for key, _ in keyed]

    def _token_scores(self, rows: list[list[float | None]]) -> TokenScores:
        own, best = np.array(rows, np.float32).T
        own = np.where(own <= IMPOSSIBLE, -np.inf, own)
        greedy = None if self.abilities.scored_by == "echo" else own >= best
        return TokenScores(own, greedy, None if "scores.log_p_z" in self.not_computed else own)
