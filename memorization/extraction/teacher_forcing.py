"""One teacher-forced pass: what a model gives each token of a suffix, after its prefix and the tokens before it."""

import inspect
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from memorization.extraction.decoding import best_tokens, not_numbers
from memorization.extraction.engine import TokenScores
from memorization.extraction.sampling import scheme_processors
from memorization.models.passes import pass_inputs

CACHED, AT_ONCE = 1 << 20, 1 << 24  # scores (tokens times vocabulary) worked on together: by a CPU, by a GPU
HELD = 1 << 27  # scores held at once, half a GiB in 32 bits
READ = 640  # tokens that a CPU reads together: more at a time leave its caches, and take up to 40 % longer


@torch.no_grad()  # inference mode would make what a model keeps of a pass unfit for training
def token_scores(
    model: PreTrainedModel,
    prefixes: Sequence[list[int]],
    suffixes: Sequence[list[int]],
    scheme: tuple[float, int, float] = (1.0, 0, 1.0),
    sources: Sequence[list[int] | None] | None = None,
) -> list[TokenScores]:
    """The TokenScores of each suffix, in as few passes of a model as HELD, and on a CPU READ, allow.

    prefixes, suffixes: as many lists of token ids, none empty. scheme: temperature, top-k and top-p. sources: what the
    encoder of an encoder-decoder model reads, whose prefixes begin with the token that starts the decoder. Softmaxes
    are in 32 bits whatever the model's precision. Raises UserError for scores that are not numbers.
    """
    texts = list(zip(prefixes, suffixes, sources or [None] * len(prefixes), strict=True))
    longest = max(len(prefix) + len(suffix) for prefix, suffix, _ in texts)
    scored = longest - min(map(len, prefixes)) if last_logits(model, 1) else longest
    step = texts_a_pass(model, longest, scored, max(len(source or ()) for *_, source in texts))
    parts = (texts[begin : begin + step] for begin in range(0, len(texts), step))
    return [scores for part in parts for scores in _read(model, part, scheme)]


def texts_a_pass(model: PreTrainedModel, longest: int, scored: int, source: int = 0) -> int:
    """How many texts of up to `longest` tokens a pass reads, of which it holds the scores of `scored` tokens each.

    source: tokens that the encoder reads of each. Of shorter texts it is no fewer.
    """
    texts = HELD // (scored * model.config.get_text_config().vocab_size)
    if model.device.type == "cpu":
        texts = min(texts, READ // (longest + source))
    return max(1, texts)


def last_logits(model: PreTrainedModel, number: int) -> dict[str, int]:
    """The argument that makes a model return the scores of the last tokens alone; none if it has no such argument."""
    return {"logits_to_keep": number} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}


def _read(model: PreTrainedModel, texts: list[tuple], scheme: tuple[float, int, float]) -> Iterator[TokenScores]:
    """The TokenScores of texts (prefix, suffix, source) that are read together."""
    _, suffixes, sources = zip(*texts, strict=True)
    ids = [[*prefix, *suffix[:-1]] for prefix, suffix, _ in texts]
    first = min(len(prefix) for prefix, *_ in texts) - 1
    number = max(map(len, ids)) - first
    inputs = pass_inputs(model, ids, sources if sources[0] else None)
    scores = model(**inputs, use_cache=False, **last_logits(model, number)).logits
    lengths = [*map(len, suffixes)]
    rows = np.repeat(np.arange(len(lengths)), lengths)
    places = np.concatenate([np.arange(len(suffix)) + len(prefix) - 1 - first for prefix, suffix, _ in texts])
    places -= number - scores.shape[1]  # of a model that returns the scores of all tokens
    of_tokens = torch.from_numpy(np.stack([rows, places, np.concatenate(suffixes)])).to(scores.device)
    at_once = (CACHED if scores.device.type == "cpu" else AT_ONCE) // scores.shape[-1]
    parts = [
        _columns(scores[rows, places].float(), targets, scheme)
        for rows, places, targets in of_tokens.split(max(1, at_once), dim=1)
    ]
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    if np.isnan(columns[0]).any():
        raise not_numbers(model)
    ends = np.cumsum(lengths)[:-1]
    for each in zip(*(np.split(column, ends) for column in columns), strict=True):
        yield TokenScores(*each)


def _columns(scores: torch.Tensor, targets: torch.Tensor, scheme: tuple[float, int, float]) -> tuple[torch.Tensor, ...]:
    """The columns of TokenScores of scores [tokens, vocabulary], which are written over. targets: the suffix tokens."""

    def of_targets(values):
        return values.gather(1, targets[:, None])[:, 0]

    best, margin = best_tokens(scores)
    in_scheme = None
    if scheme != (1.0, 0, 1.0):
        warped = scores
        for process in scheme_processors(*scheme):
            warped = process(None, warped)
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
    in_scheme = log_prob if in_scheme is None else in_scheme
    return log_prob, best == targets, in_scheme, mean - total.log(), std, best, margin
