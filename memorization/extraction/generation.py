"""Continuing prefixes with a language model: batched, greedy unless told otherwise.

Greedy decoding takes the token with the highest score. Scores of a text differ by rounding with the texts that are
read beside it, so that where two are nearly tied the token would depend on the batch. In 32 bits there is an answer
that does not: where rounding may decide, the text is read alone and the first of the highest scores taken. So whatever
shares a batch, and wherever decoding begins (extraction.decoding), the tokens are the same.
"""

import weakref

import numpy as np
import torch
from transformers import GenerationConfig, LogitsProcessorList
from transformers.generation import LogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from memorization.extraction.memory import no_room, ran_out
from memorization.models.limits import context_length
from memorization.models.passes import generate_inputs
from memorization.shell.cli import UserError

SAFETY = 10  # times the rounding that was seen is what may decide
_rounding = weakref.WeakKeyDictionary()  # of models, measured once each


def check_model(name, config, greatest_id, prefix_length, new_tokens, source_length=0):
    """Raise UserError if a model of this config cannot hold a prefix and its continuation, or lacks one of its tokens.

    name: of the model. greatest_id: of the tokens of the probes; what else a tokenizer has does not matter.
    prefix_length: tokens that are continued. source_length: that an encoder reads.
    """
    config = config.get_text_config()
    prefix_length += config.is_encoder_decoder  # the token that the decoder starts with
    context = context_length(config)
    if context is not None and prefix_length + new_tokens > context:
        raise UserError(
            f"{name}: its context of {context} tokens is shorter than prefix + new tokens ({prefix_length} + "
            f"{new_tokens}); lower --max-new-tokens or --prefix-length, or encode shorter texts for --probe target"
        )
    if context is not None and source_length > context:
        raise UserError(
            f"{name}: its context of {context} tokens is shorter than what its encoder is to read ({source_length}); "
            "lower --prefix-length"
        )
    if greatest_id >= config.vocab_size:
        raise UserError(
            f"{name}: token id {greatest_id} of the probes is beyond its vocabulary of {config.vocab_size}; name the "
            "model that they were encoded for"
        )


@torch.inference_mode()
def continue_prefixes(model, prefixes, new_tokens, eos, sampling=(), sources=None):
    """Continue each prefix by up to `new_tokens` tokens, ending before the end-of-text token `eos`.

    prefixes: list of lists of token ids. sampling: the logits processors that draw (below); without them the
    continuation is greedy. Nothing else decides it: what the checkpoint says of generation is put aside. sources: what
    the encoder of an encoder-decoder model reads; then the prefixes begin with what starts the decoder, and are of one
    length.
    Returns a list of lists of token ids, the prefix left out. Raises UserError for scores that are not numbers.
    """
    # an argument alone would not do: what it leaves unset is filled from the model's own
    model.generation_config = GenerationConfig(
        max_new_tokens=new_tokens, do_sample=False, eos_token_id=eos, pad_token_id=eos
    )
    if sources:
        model.generation_config.decoder_start_token_id = prefixes[0][0]
    numbers = Numbers()
    ties = [] if sampling or sources or not is_exact(model) else [Ties(model, prefixes, eos)]
    output = model.generate(
        **generate_inputs(model, prefixes, eos, sources),
        generation_config=model.generation_config,
        logits_processor=LogitsProcessorList([numbers, *ties, *sampling]),
    )
    if numbers.missing:
        raise no_numbers(model)
    rows = output[:, max(map(len, prefixes)) :].tolist()
    return [row[: row.index(eos)] if eos in row else row for row in rows]


def is_exact(model):
    """Whether a model computes in 32 bits, so that its greedy tokens do not depend on the batch."""
    return model.dtype == torch.float32


def leading(scores):
    """(token that scores highest, its lead over the second) of scores [rows, vocabulary].

    The lead is in units of 1 + the highest score, as rounding grows with what is rounded; NaN for scores that are not
    numbers.
    """
    on_cpu = scores.device.type == "cpu"  # where numpy's argmax is ten times as fast as torch's
    best = torch.from_numpy(scores.numpy().argmax(-1)) if on_cpu else scores.argmax(-1)
    top = scores.gather(1, best[:, None])[:, 0]
    scores.scatter_(1, best[:, None], -torch.inf)
    lead = (top - scores.amax(-1)) / (1 + top.abs())
    scores.scatter_(1, best[:, None], top[:, None])
    return best, lead


@torch.inference_mode()
def rounding(model):
    """The lead at most of a token that rounding may have put first, in a model that computes in 32 bits.

    Measured on made-up texts: read together, each alone up to some token, and token by token; on 8, or as many as there
    is memory for.
    """
    number = 8
    while model not in _rounding:
        failed, found = ran_out(_moved, model, number)
        if failed and number == 1:
            raise no_room()
        if failed:
            number //= 2
        else:
            _rounding[model] = max(1e-6, SAFETY * found)
    return _rounding[model]


def _moved(model, number):
    """The greatest change of a lead that rounding makes in so many made-up texts."""
    config = model.config.get_text_config()
    length = min(48, context_length(config) or 48)
    ids = np.random.default_rng(0).integers(config.vocab_size, size=(number, length))
    ids = torch.from_numpy(ids).to(model.device)
    together = model(input_ids=ids, use_cache=False).logits

    def moved(rows, columns, scores):
        top = together[rows, columns].topk(min(8, config.vocab_size))
        by = top.values - scores.gather(-1, top.indices)
        return float(((by.amax(-1) - by.amin(-1)) / (1 + top.values[..., 0].abs())).nan_to_num().max())

    found = []
    for row, end in enumerate(np.linspace(1, length, len(ids), dtype=int).tolist()):
        alone = model(input_ids=ids[row : row + 1, :end], use_cache=False).logits[0]
        found.append(moved(row, slice(end), alone))
    output, column = model(input_ids=ids[:, : length // 3 or 1], use_cache=True), length // 3 or 1
    while (cache := getattr(output, "past_key_values", None)) is not None and column < length:
        output = model(input_ids=ids[:, column : column + 1], past_key_values=cache, use_cache=True)
        found.append(moved(slice(None), column, output.logits[:, 0]))
        column += 1
    return max(found)


@torch.inference_mode()
def next_token(model, ids):
    """The token that scores highest after a list of token ids, read alone."""
    return int(model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, -1].argmax())


def no_numbers(model):
    """The UserError for a model whose scores are not numbers."""
    return UserError(f"the model's scores are not numbers in {model.dtype}; choose --dtype float32 or bfloat16")


def warpers(temperature, top_k=0, top_p=1.0):
    """What makes a sampling scheme of scores, in order: temperature, then top-k (0: all), then top-p."""
    processors = [TemperatureLogitsWarper(float(temperature))]
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        processors.append(TopPLogitsWarper(top_p))
    return processors


def sampling(keys, seed, temperature, top_k=0, top_p=1.0):
    """The logits processors that let each row of a batch be a draw: temperature, then top-k, then top-p, then Gumbel.

    keys: (id, sample) of each row, ints. Serves for one batch.
    """
    return [*warpers(temperature, top_k, top_p), Gumbel(keys, seed)]


class Gumbel(LogitsProcessor):
    """Adds Gumbel noise to the scores, so that their argmax is a draw from their softmax (Gumbel 1954).

    The noise of a row depends on (seed, id, sample) alone, whatever batch the row is in and on whatever device.
    """

    def __init__(self, keys, seed):
        self._generators = [np.random.default_rng((seed, *key)) for key in keys]

    def __call__(self, input_ids, scores):
        noise = np.empty(scores.shape)  # of 64 bits: in 32 an exponential draw is exactly 0 too often
        for row, generator in zip(noise, self._generators, strict=True):
            generator.standard_exponential(out=row)
        return scores - torch.from_numpy(noise).to(scores.dtype).to(scores.device).log()


class Numbers(LogitsProcessor):
    """Sees whether any score is not a number: its argmax would be a token like any other."""

    missing = False

    def __call__(self, input_ids, scores):
        self.missing = scores.isnan().any() | self.missing  # stays on the device: no wait in each step
        return scores


class Ties(LogitsProcessor):
    """Where rounding may decide which token is the likeliest, puts that of the text alone above all."""

    def __init__(self, model, prefixes, eos):
        self._model, self._eos = model, eos
        self._width, self._lengths = max(map(len, prefixes)), [*map(len, prefixes)]

    def __call__(self, input_ids, scores):
        for row in (leading(scores)[1] <= rounding(self._model)).nonzero()[:, 0].tolist():
            ids = input_ids[row, self._width - self._lengths[row] :].tolist()
            if self._eos not in ids[self._lengths[row] :]:  # it has not ended yet
                scores[row, next_token(self._model, ids)] = torch.inf
        return scores
