"""One teacher-forced pass: what a model gives each token of a suffix, after its prefix and the tokens before it."""

import inspect
from typing import Any, NamedTuple

import numpy as np
import torch

from memorization.extraction.generation import leading, no_numbers, warpers
from memorization.models.passes import pass_inputs

CACHED, AT_ONCE = 1 << 20, 1 << 24  # scores (tokens times vocabulary) worked on together: by a CPU, by a GPU
HELD = 1 << 27  # scores held at once, half a GiB in 32 bits
READ = 640  # tokens that a CPU reads together: more at a time leave its caches, and take up to 40 % longer


class TokenScores(NamedTuple):
    """Of one suffix, arrays with a number a token.

    log_prob: float32, of the token under the softmax of the model's scores. greedy: bool, whether no token scores
    higher, as greedy decoding chooses. scheme: float32, log_prob under the sampling scheme, -inf outside of it. mean,
    std: float32, of the log probabilities of all tokens of the vocabulary, each as probable as it is.
    """

    log_prob: np.ndarray
    greedy: np.ndarray
    scheme: np.ndarray
    mean: np.ndarray
    std: np.ndarray


class Passed(NamedTuple):
    """What a pass leaves of one prefix and suffix.

    best: int64, at each of its tokens the one that scores highest. lead: float32, by how much (generation.leading).
    cache, row: what the model keeps of the texts read together, and which of them this is.
    """

    scores: TokenScores
    best: np.ndarray
    lead: np.ndarray
    cache: Any
    row: int


def token_scores(model, prefixes, suffixes, temperature=1.0, top_k=0, top_p=1.0, sources=None):
    """The TokenScores of each suffix, in passes of a language model; arguments as of passed."""
    return [one.scores for one in passed(model, prefixes, suffixes, (temperature, top_k, top_p), sources=sources)]


@torch.no_grad()  # inference mode would make what a model keeps of a pass unfit for training
def passed(model, prefixes, suffixes, scheme=(1.0, 0, 1.0), use_cache=False, sources=None):
    """The Passed of each prefix and suffix, in as few passes of a language model as HELD, and on a CPU READ, allow.

    prefixes, suffixes: lists of as many lists of token ids, none empty. sources: as many that the encoder reads of an
    encoder-decoder model, whose prefixes begin with what starts the decoder. scheme: temperature, top-k and top-p, as
    generation.warpers has them. Softmaxes are in 32 bits whatever the model's. Raises UserError for scores that are not
    numbers.
    """
    pairs = list(zip(prefixes, suffixes, sources or [None] * len(prefixes), strict=True))
    longest = max(len(prefix) + len(suffix) for prefix, suffix, _ in pairs)
    kept = longest - min(map(len, prefixes)) if keeping(model, 1) else longest
    step = read_together(model, longest, kept, max(len(source or ()) for *_, source in pairs))
    parts = (pairs[begin : begin + step] for begin in range(0, len(pairs), step))
    return [one for part in parts for one in _pass(model, part, scheme, use_cache)]


def read_together(model, longest, kept, source=0):
    """How many texts of up to `longest` tokens a pass reads, the scores of `kept` of which are held. source: tokens
    that the encoder reads of each. Of shorter texts it is no fewer.
    """
    texts = HELD // (kept * model.config.get_text_config().vocab_size)
    if model.device.type == "cpu":
        texts = min(texts, READ // (longest + source))
    return max(1, texts)


def keeping(model, number):
    """The argument that lets a model give the scores of the last tokens alone; none if it knows no such thing."""
    return {"logits_to_keep": number} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


def _pass(model, pairs, scheme, use_cache):
    prefixes, suffixes, sources = zip(*pairs, strict=True)
    texts = [[*prefix, *suffix[:-1]] for prefix, suffix, _ in pairs]
    first = min(map(len, prefixes)) - 1
    output = read(model, texts, max(map(len, texts)) - first, use_cache, sources if sources[0] else None)
    kept = output.logits
    lengths = [*map(len, suffixes)]
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.concatenate([np.arange(len(suffix)) + len(prefix) - 1 - first for prefix, suffix, _ in pairs])
    places -= max(map(len, texts)) - first - kept.shape[1]  # of a model that gives the scores of all tokens
    of_tokens = torch.from_numpy(np.stack([rows, places, np.concatenate(suffixes)])).to(kept.device)
    at_once = (CACHED if kept.device.type == "cpu" else AT_ONCE) // kept.shape[-1]
    parts = [
        _scores(kept[rows, places].float(), targets, scheme)
        for rows, places, targets in of_tokens.split(max(1, at_once), dim=1)
    ]
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    if np.isnan(columns[0]).any():
        raise no_numbers(model)
    ends = np.cumsum(lengths)[:-1]
    cache = output.past_key_values if use_cache else None
    for row, each in enumerate(zip(*(np.split(column, ends) for column in columns), strict=True)):
        yield Passed(TokenScores(*each[:5]), *each[5:], cache, row)


def read(model, texts, number, use_cache, sources=None):
    """What a model puts out for lists of token ids, none empty, with the scores of the last `number` columns at least.

    sources: what the encoder of an encoder-decoder model reads.
    """
    return model(**pass_inputs(model, texts, sources), use_cache=use_cache, **keeping(model, number))


def _scores(scores, targets, scheme):
    """The columns of TokenScores, best and lead, of scores [tokens, vocabulary], written over, and what follows."""

    def of_targets(values):
        return values.gather(1, targets[:, None])[:, 0]

    best, lead = leading(scores)
    greedy = best == targets
    in_scheme = None
    if scheme != (1.0, 0, 1.0):
        warped = scores
        for warp in warpers(*scheme):
            warped = warp(None, warped)
        in_scheme = of_targets(warped) - warped.logsumexp(-1)
        del warped
    scores -= scores.gather(1, best[:, None])
    of_target = of_targets(scores)
    scores.clamp_(min=-200)  # a probability of 0, and no infinity to multiply it with
    probs = scores.exp()
    total = probs.sum(-1)
    log_prob = of_target - total.log()
    probs *= scores
    mean = probs.sum(-1) / total
    probs *= scores
    std = (probs.sum(-1) / total - mean.square()).clamp(min=0).sqrt()
    return log_prob, greedy, log_prob if in_scheme is None else in_scheme, mean - total.log(), std, best, lead
