"""The teacher-forced pass: against one row at a time, against transformers' own warpers, against drawn samples."""

import numpy as np
import pytest
import torch
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from memorization.extraction import teacher_forcing
from memorization.extraction.decoding import continue_prefixes
from memorization.extraction.matches import matched_tokens
from memorization.extraction.sampling import GumbelNoise, scheme_processors
from memorization.extraction.teacher_forcing import token_scores
from memorization.shell.cli import UserError
from support.tiny_models import MODELS, make


def sampled_by(keys, seed, *scheme):
    """The logits processors of an engine's draws."""
    return [*scheme_processors(*scheme), GumbelNoise(keys, seed)]


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    lengths = [(1, 1), (7, 20), (3, 2), (12, 9), (7, 20)]
    return [[rng.integers(1, 50, n).tolist() for n in column] for column in zip(*lengths, strict=True)]


def expected(model, prefix, suffix, warpers=()):
    """The TokenScores of one suffix alone, a token at a time, in 64 bits from the model's scores on."""
    with torch.inference_mode():
        scores = model(input_ids=torch.tensor([prefix + suffix])).logits[0].float()
    columns = []
    for token, row in zip(suffix, scores[len(prefix) - 1 :], strict=False):
        log_probs = row.double().log_softmax(-1)
        drawn = row[None]
        for warp in warpers:
            drawn = warp(None, drawn)
        p, mean = log_probs.exp(), float((log_probs.exp() * log_probs).sum())
        std = float((p * (log_probs - mean) ** 2).sum()) ** 0.5
        scheme = float(drawn[0].double().log_softmax(-1)[token])
        columns.append((float(log_probs[token]), int(row.argmax()) == token, scheme, mean, std))
    return [np.array(column) for column in zip(*columns, strict=True)]


@pytest.mark.parametrize("name", MODELS)
def test_rows_together_are_as_each_alone(name, texts):
    model = make(name)
    for prefix, suffix, scored in zip(*texts, token_scores(model, *texts), strict=True):
        for one, other in zip(scored, expected(model, prefix, suffix), strict=False):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
        assert [column.dtype.name for column in scored] == ["float32", "bool", *["float32"] * 3, "int64", "float32"]


def test_the_vocabulary_is_worked_on_in_parts(texts, monkeypatch):
    model = make("gpt2")
    whole = token_scores(model, *texts, (0.7, 5, 1.0))
    monkeypatch.setattr(teacher_forcing, "CACHED", 150)
    for one, other in zip(whole, token_scores(model, *texts, (0.7, 5, 1.0)), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(0.5, 0, 1.0), (1.0, 5, 1.0), (2.0, 0, 0.6), (0.8, 9, 0.7)]
)
def test_the_scheme_is_what_samples_are_drawn_by(temperature, top_k, top_p, texts):
    model = make("llama")
    warpers = [TemperatureLogitsWarper(temperature)]
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []
    outside = 0
    for prefix, suffix, scored in zip(*texts, token_scores(model, *texts, (temperature, top_k, top_p)), strict=True):
        scheme = expected(model, prefix, suffix, warpers)[2]
        np.testing.assert_allclose(scored.scheme, scheme, rtol=1e-3, atol=1e-3)
        outside += np.isneginf(scored.scheme).sum()
    assert outside or not (top_k or top_p < 1)


def test_the_tokens_of_greedy_decoding_are_known_for_it(texts):
    model, prefixes = make("gpt-neo"), texts[0]
    suffixes = continue_prefixes(model, prefixes, 20, [0])
    suffixes = [suffix or [1] for suffix in suffixes]
    suffixes[1][5] = suffixes[1][5] % 49 + 1  # another token
    scored = token_scores(model, prefixes, suffixes)
    leading = [int(one.greedy.argmin()) if not one.greedy.all() else len(one.greedy) for one in scored]
    assert leading == [
        matched_tokens(ids, suffix)
        for ids, suffix in zip(continue_prefixes(model, prefixes, 20, [0]), suffixes, strict=True)
    ]
    assert leading[1] == 5 and max(leading) == 20


@pytest.mark.parametrize(("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.7, 4, 1.0), (1.3, 0, 0.8)])
def test_what_is_probable_is_drawn_as_often(temperature, top_k, top_p):
    """10,000 draws of 2 tokens: of each pair with a chance over 0.5 %, a count within 4.5 standard deviations."""
    model, prefix, draws = make("gpt2"), [4, 7, 1], 10_000
    with torch.no_grad():
        for weight in model.parameters():
            weight.div_(2)  # several likely continuations
    keys = [(9, 0, sample) for sample in range(draws)]
    drawn = continue_prefixes(model, [prefix] * draws, 2, [0], sampled_by(keys, 5, temperature, top_k, top_p))
    pairs, counts = np.unique([(*ids, 0, 0)[:2] for ids in drawn], axis=0, return_counts=True)
    pairs, counts = pairs[pairs.min(1) > 0].tolist(), counts[pairs.min(1) > 0]
    scored = token_scores(model, [prefix] * len(pairs), pairs, (temperature, top_k, top_p))
    p = np.exp([one.scheme.sum(dtype=np.float64) for one in scored])
    likely = p > 0.005
    assert likely.sum() >= 10
    assert (np.abs(counts - draws * p) <= 4.5 * np.sqrt(draws * p * (1 - p)))[likely].all()
    assert p.sum() <= 1 + 1e-5


def test_half_precision_differs_by_its_rounding_only(texts):
    model = make("llama")
    whole = token_scores(model, *texts)
    for one, other in zip(token_scores(model.bfloat16(), *texts), whole, strict=True):
        assert one.log_prob.dtype == np.float32
        assert np.abs(one.log_prob - other.log_prob).max() < 1.5


def test_scores_that_are_no_numbers_are_refused(texts):
    model = make("gpt2")
    with torch.no_grad():
        model.transformer.ln_f.weight[0] = torch.nan
    with pytest.raises(UserError, match="not numbers"):
        token_scores(model, *texts)
