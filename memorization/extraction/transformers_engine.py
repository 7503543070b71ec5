"""The engine that runs a transformers model in this process."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any

import transformers
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import PreTrainedModel
from transformers.generation import LogitsProcessor

from memorization.encoding.probes import Probes
from memorization.extraction.decoding import continue_prefixes, is_exact, verified_tokens
from memorization.extraction.engine import DecodingSettings, Prompt, TokenScores
from memorization.extraction.memory import Room, in_parts, ran_out
from memorization.extraction.sampling import GumbelNoise, scheme_processors
from memorization.extraction.teacher_forcing import token_scores
from memorization.models.limits import WHOLE
from memorization.models.passes import prompts_and_sources
from memorization.shell.cli import UserError

TOGETHER = 8  # times the batch size: texts that are decoded at a time where the tokens do not depend on the batch


class TransformersEngine:
    """An Engine of a causal or encoder-decoder model.

    Greedy in 32 bits, the tokens of a causal model do not depend on the batch. Then what the scores verify is not
    generated again, and the rest is generated in batches of much the same length, as large as memory allows. Otherwise
    the tokens depend on the batch, so that every batch must be as it was given, a continued run included.

    ends: the tokens that end a text. batch_size: probes that are scored at a time. source_length: the most tokens that
    an encoder reads.
    """

    not_computed: dict[str, str] = {}

    def __init__(
        self,
        model: PreTrainedModel,
        ends: Sequence[int],
        decoding: DecodingSettings,
        batch_size: int,
        source_length: int = WHOLE,
    ) -> None:
        self.model = model
        self._ends, self._decoding, self._source_length = ends, decoding, source_length
        self._exact = is_exact(model) and not decoding.temperature and not model.config.is_encoder_decoder
        self.batch_size = TOGETHER * batch_size if self._exact else batch_size
        self._scored, self._generated = Room(batch_size), Room(self.batch_size)

    @property
    def identity(self) -> dict[str, Any]:
        made_of = {"engine": "transformers", "engine_version": transformers.__version__}
        made_of["dtype"] = str(self.model.dtype).removeprefix("torch.")
        return made_of | {"batch_size": None if self._exact else self.batch_size}

    def fit(self, probes: Probes, generations: int) -> None:
        """Choose a batch size for so many generations, of which every rank makes its share.

        Where the tokens depend on the batch, halve it until all ranks have memory for one of the longest texts that
        there can be.
        """
        if self._exact:
            self.batch_size = min(self.batch_size, -(-generations // PartialState().num_processes))
            return
        prefix, new_tokens = probes.longest_prefix, self._decoding.max_new_tokens
        probe = probes[:1][0]
        text = list(islice(cycle(probe["prefix_ids"] + probe["suffix_ids"]), prefix + new_tokens))
        source = list(islice(cycle(probe["prefix_ids"] + probe["suffix_ids"]), probes.longest_source))
        scored = {"id": 0, "turn": 0, "prefix_ids": text[:prefix], "suffix_ids": text[prefix:], "source_ids": source}
        continued = scored | {"prefix_ids": text[: max(prefix, len(text) - 2)]}

        def work(number):
            self._score([scored] * number)
            self._continue([Prompt(continued, 0, None)] * number, min(new_tokens, 2))

        room = Room(self.batch_size)
        while ran_out(work, tried := min(room.size, generations))[0]:
            room.halve(tried)
        self.batch_size = min(gather_object([room.size]))

    def score(self, probes: Sequence[dict[str, Any]]) -> list[TokenScores]:
        if self._exact:
            return in_parts(self._score, probes, self._scored)
        return _with_memory(self._score, probes)

    def generate(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        if self._exact:
            return self._generate_exactly(prompts)
        return _with_memory(self._continue, prompts, self._decoding.max_new_tokens)

    def _generate_exactly(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        most = self._decoding.max_new_tokens
        continuations: list[list[int]] = []
        left: list[tuple[int, list[int], int]] = []  # number of the prompt, tokens so far, most tokens to come
        prefixes, _ = prompts_and_sources(self.model, [prompt.probe for prompt in prompts], self._source_length)
        for number, ((probe, _, scores), prefix) in enumerate(zip(prompts, prefixes, strict=True)):
            ended, tokens = False, list[int]()
            if scores is not None:
                suffix = probe["suffix_ids"][:most]
                tokens, ended = verified_tokens(self.model, prefix, suffix, scores, self._ends)
            continuations.append(tokens)
            if not ended and len(tokens) < most:
                left.append((number, [*prefix, *tokens], most - len(tokens)))
        left.sort(key=lambda text: -text[2])  # the longest first: memory runs out at once, if it does

        def work(part):
            _, prefixes, numbers = zip(*part, strict=True)
            return continue_prefixes(self.model, prefixes, max(numbers), self._ends)

        for (number, _, missing), tokens in zip(left, in_parts(work, left, self._generated), strict=True):
            continuations[number] = continuations[number] + tokens[:missing]
        return continuations

    def _score(self, probes: Sequence[dict[str, Any]]) -> list[TokenScores]:
        prefixes, sources = prompts_and_sources(self.model, probes, self._source_length)
        suffixes = [probe["suffix_ids"][: self._decoding.max_new_tokens] for probe in probes]
        return token_scores(self.model, prefixes, suffixes, self._decoding.scheme, sources)

    def _continue(self, prompts: Sequence[Prompt], new_tokens: int) -> list[list[int]]:
        """What follows each prompt of a batch; of an encoder-decoder model, prefixes of one length together."""
        prefixes, sources = prompts_and_sources(self.model, [prompt.probe for prompt in prompts], self._source_length)
        lengths = [len(prefix) if sources else 0 for prefix in prefixes]
        continuations: dict[int, list[int]] = {}
        for length in sorted(set(lengths)):
            rows = [row for row, own in enumerate(lengths) if own == length]
            sampling: list[LogitsProcessor] = []
            if self._decoding.temperature:
                keys = [prompts[row].key for row in rows]
                sampling = [*scheme_processors(*self._decoding.scheme), GumbelNoise(keys, self._decoding.seed)]
            of_rows = [prefixes[row] for row in rows], sources and [sources[row] for row in rows]
            tokens = continue_prefixes(self.model, of_rows[0], new_tokens, self._ends, sampling, of_rows[1])
            continuations |= dict(zip(rows, tokens, strict=True))
        return [continuations[row] for row in range(len(prompts))]


def _with_memory(work, texts, *arguments):
    """work(texts, *arguments). Raises UserError where there is no memory for it."""
    failed, results = ran_out(work, texts, *arguments)
    if failed:
        raise UserError(
            f"out of memory with {len(texts)} texts at a time, for which there was enough before; give the same "
            "command again once there is, and it goes on, or start anew with a lower --batch-size"
        )
    return results
