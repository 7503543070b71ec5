"""One teacher-forced pass: what a model gives each token of a suffix, after its prefix and the tokens before it."""

from typing import NamedTuple

import numpy as np
import torch

from memorization.extraction.generation import no_numbers, warpers

AT_ONCE = 1 << 24  # scores (tokens times vocabulary) worked on together in 32 bits


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


@torch.inference_mode()
def token_scores(model, prefixes, suffixes, temperature=1.0, top_k=0, top_p=1.0):
    """The TokenScores of each suffix, in one pass of a causal language model over all.

    prefixes, suffixes: lists of as many lists of token ids, none empty. temperature, top_k, top_p: of the scheme, as
    generation.warpers has them. Softmaxes are in 32 bits whatever the model's. Raises UserError for scores that are not
    numbers.
    """
    width = max(len(prefix) + len(suffix) for prefix, suffix in zip(prefixes, suffixes, strict=True)) - 1
    ids = torch.zeros((len(prefixes), width), dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, (prefix, suffix) in enumerate(zip(prefixes, suffixes, strict=True)):
        read = torch.tensor([*prefix, *suffix[:-1]])  # padded on the right, where no token of the text looks
        ids[row, : len(read)], mask[row, : len(read)] = read, 1
    first = min(map(len, prefixes)) - 1  # what foretells a suffix's first token is its prefix's last
    kept = model(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        use_cache=False,
        logits_to_keep=width - first,
    ).logits
    lengths = [*map(len, suffixes)]
    rows = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    places = torch.cat([torch.arange(len(s)) + len(p) - 1 - first for p, s in zip(prefixes, suffixes, strict=True)])
    targets = torch.cat([torch.tensor(suffix) for suffix in suffixes])
    step = max(1, AT_ONCE // kept.shape[-1])
    parts = [
        _scores(kept[r.to(kept.device), p.to(kept.device)].float(), t.to(kept.device), temperature, top_k, top_p)
        for r, p, t in zip(rows.split(step), places.split(step), targets.split(step), strict=True)
    ]
    columns = [torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)]
    if np.isnan(columns[0]).any():
        raise no_numbers(model)
    ends = np.cumsum(lengths)[:-1]
    return [TokenScores(*each) for each in zip(*(np.split(column, ends) for column in columns), strict=True)]


def _scores(scores, targets, temperature, top_k, top_p):
    """The columns of TokenScores, of scores [tokens, vocabulary] and the tokens that follow."""

    def of_targets(values):
        return values.gather(1, targets[:, None])[:, 0]

    log_probs = scores.log_softmax(-1)
    probs = log_probs.exp()
    some = torch.where(probs > 0, log_probs, 0)  # what has no probability has no part in a mean
    mean = (probs * some).sum(-1)
    std = (probs * (some - mean[:, None]).square()).sum(-1).sqrt()
    greedy = scores.argmax(-1) == targets
    log_prob = of_targets(log_probs)
    del probs, some, log_probs
    for warp in warpers(temperature, top_k, top_p):
        scores = warp(None, scores)
    return log_prob, greedy, of_targets(scores.log_softmax(-1)), mean, std
