"""Continuing prefixes with a language model: batched, greedy unless told otherwise.

Greedy decoding takes the token with the highest score. Rounding changes the scores of a text with the texts beside it,
so where two tokens are nearly tied the choice would depend on the batch. In 32 bits there is an answer that does not:
where rounding may decide, the text is read alone and the first of the highest scores taken. So the tokens are the same
whatever shares a batch, and wherever decoding begins: what a teacher-forced pass has verified is not decoded again.
"""

import weakref
from collections.abc import Sequence

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessorList, PreTrainedModel
from transformers.generation import LogitsProcessor

from memorization.extraction.engine import TokenScores
from memorization.extraction.memory import no_room, ran_out
from memorization.models.limits import context_length
from memorization.models.passes import generate_inputs
from memorization.shell.cli import UserError

SAFETY = 10  # a margin of so many times the rounding that was measured is decided by the text alone
_margins: "weakref.WeakKeyDictionary[PreTrainedModel, float]" = weakref.WeakKeyDictionary()  # measured once a model


@torch.inference_mode()
def continue_prefixes(
    model: PreTrainedModel,
    prefixes: Sequence[list[int]],
    new_tokens: int,
    ends: Sequence[int],
    sampling: Sequence[LogitsProcessor] = (),
    sources: Sequence[list[int]] | None = None,
) -> list[list[int]]:
    """Continue each prefix by up to `new_tokens` tokens, ending before the first of the tokens `ends`.

    sampling: the logits processors that draw (sampling); without them the continuation is greedy. Nothing else decides
    it: what the checkpoint says of generation is put aside. sources: what the encoder of an encoder-decoder model
    reads; then the prefixes begin with the token that starts the decoder, and are of one length. Returns token ids, the
    prefix left out. Raises UserError for scores that are not numbers.
    """
    # an argument alone would not do: what it leaves unset is filled from the model's own
    model.generation_config = GenerationConfig(
        max_new_tokens=new_tokens, do_sample=False, eos_token_id=[*ends], pad_token_id=ends[0]
    )
    if sources:
        model.generation_config.decoder_start_token_id = prefixes[0][0]
    check = NumberCheck()
    ties = [] if sampling or sources or not is_exact(model) else [TieBreaker(model, prefixes, ends)]
    output = model.generate(  # type: ignore[operator]  # transformers types it as a tensor
        **generate_inputs(model, prefixes, ends[0], sources),
        generation_config=model.generation_config,
        logits_processor=LogitsProcessorList([check, *ties, *sampling]),
    )
    if check.failed:
        raise not_numbers(model)
    rows = output[:, max(map(len, prefixes)) :].tolist()
    return [_ended(row, ends)[0] for row in rows]


def _ended(tokens: list[int], ends: Sequence[int]) -> tuple[list[int], bool]:
    """The tokens before the first of `ends`, and whether there is one."""
    place = next((place for place, token in enumerate(tokens) if token in ends), None)
    return (tokens, False) if place is None else (tokens[:place], True)


def verified_tokens(
    model: PreTrainedModel, prefix: list[int], suffix: list[int], scores: TokenScores, ends: Sequence[int]
) -> tuple[list[int], bool]:
    """The tokens with which the greedy continuation of a prefix begins by the scores of its suffix: those that agree,
    and the model's own where it disagrees; and whether one of the tokens `ends` follows, which is left out.

    Where rounding may decide, the text is read alone: a suffix reproduced but for such places costs no decoding.
    """
    assert scores.margin is not None and scores.greedy is not None and scores.best is not None  # as of our own pass
    certain, tokens = scores.margin > rounding_margin(model), suffix
    for place in np.flatnonzero(~(scores.greedy & certain)):
        best = scores.best[place] if certain[place] else next_token(model, [*prefix, *suffix[:place]])
        if best != suffix[place]:
            tokens = [*suffix[:place], int(best)]
            break
    return _ended(tokens, ends)


def is_exact(model: PreTrainedModel) -> bool:
    """Whether a model computes in 32 bits, so that its greedy tokens do not depend on the batch."""
    return model.dtype == torch.float32


def best_tokens(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(token that scores highest, its margin over the second) of scores [rows, vocabulary].

    The margin is in units of 1 + the highest score, as rounding grows with what is rounded; NaN for scores that are not
    numbers.
    """
    on_cpu = scores.device.type == "cpu"  # where numpy's argmax is ten times as fast as torch's
    best = torch.from_numpy(scores.numpy().argmax(-1)) if on_cpu else scores.argmax(-1)
    top = scores.gather(1, best[:, None])[:, 0]
    scores.scatter_(1, best[:, None], -torch.inf)
    margin = (top - scores.amax(-1)) / (1 + top.abs())
    scores.scatter_(1, best[:, None], top[:, None])
    return best, margin


def forget_rounding(model: PreTrainedModel) -> None:
    """Measure the rounding_margin of a model anew when it is next asked for: its weights are others."""
    _margins.pop(model, None)


@torch.inference_mode()
def rounding_margin(model: PreTrainedModel) -> float:
    """The largest margin (best_tokens) that rounding error can produce, in a model that computes in 32 bits.

    Measured on made-up texts: read together, each alone up to some token, and token by token; on 8, or as many as there
    is memory for.
    """
    number = 8
    while model not in _margins:
        failed, change = ran_out(_margin_change, model, number)
        if failed and number == 1:
            raise no_room()
        if failed:
            number //= 2
        else:
            _margins[model] = max(1e-6, SAFETY * change)
    return _margins[model]


def _margin_change(model: PreTrainedModel, number: int) -> float:
    """The largest change of a margin by rounding in so many made-up texts."""
    config = model.config.get_text_config()
    length = min(48, context_length(config) or 48)
    ids = torch.from_numpy(np.random.default_rng(0).integers(config.vocab_size, size=(number, length))).to(model.device)
    together = model(input_ids=ids, use_cache=False).logits

    def change(rows, columns, scores):
        top = together[rows, columns].topk(min(8, config.vocab_size))
        by = top.values - scores.gather(-1, top.indices)
        return float(((by.amax(-1) - by.amin(-1)) / (1 + top.values[..., 0].abs())).nan_to_num().max())

    changes = []
    for row, end in enumerate(np.linspace(1, length, len(ids), dtype=int).tolist()):
        alone = model(input_ids=ids[row : row + 1, :end], use_cache=False).logits[0]
        changes.append(change(row, slice(end), alone))
    column = length // 3 or 1
    output = model(input_ids=ids[:, :column], use_cache=True)
    while (cache := getattr(output, "past_key_values", None)) is not None and column < length:
        output = model(input_ids=ids[:, column : column + 1], past_key_values=cache, use_cache=True)
        changes.append(change(slice(None), column, output.logits[:, 0]))
        column += 1
    return max(changes)


@torch.inference_mode()
def next_token(model: PreTrainedModel, ids: list[int]) -> int:
    """The token that scores highest after a text, read alone."""
    return int(model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, -1].argmax())


def not_numbers(model: PreTrainedModel) -> UserError:
    """The UserError for a model whose scores are not numbers."""
    return UserError(f"the model's scores are not numbers in {model.dtype}; choose --dtype float32 or bfloat16")


class NumberCheck(LogitsProcessor):
    """Notes whether any score is not a number: its argmax would be a token like any other."""

    failed: torch.Tensor | bool = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.failed = scores.sum().isnan() | self.failed  # stays on the device: no wait in each step
        return scores


class TieBreaker(LogitsProcessor):
    """Where rounding may decide which token is the likeliest, puts that of the text alone above all."""

    def __init__(self, model: PreTrainedModel, prefixes: Sequence[list[int]], ends: Sequence[int]) -> None:
        self._model, self._ends = model, ends
        self._width, self._lengths = max(map(len, prefixes)), [*map(len, prefixes)]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row in (best_tokens(scores)[1] <= rounding_margin(self._model)).nonzero()[:, 0].tolist():
            ids = input_ids[row, self._width - self._lengths[row] :].tolist()
            if not _ended(ids[self._lengths[row] :], self._ends)[1]:  # it has not ended yet
                scores[row, next_token(self._model, ids)] = torch.inf
        return scores
