"""The transformers engine: the tokens of plain greedy decoding, without generating again what the pass verified."""

import random
import re

import numpy as np
import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

from memorization.extraction import decoding, teacher_forcing, transformers_engine
from memorization.extraction.decoding import continue_prefixes, next_token, rounding_margin
from memorization.extraction.engine import DecodingSettings, Prompt
from memorization.extraction.teacher_forcing import token_scores
from memorization.extraction.transformers_engine import TransformersEngine
from memorization.shell.cli import UserError
from support.tiny_models import MODELS, keeps_nothing, make, refusing

EOS, NEW = 0, 24


def mamba():
    torch.manual_seed(3)
    return MambaForCausalLM(MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=2, state_size=4)).eval()


def mistral(window):
    torch.manual_seed(3)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = MistralConfig(vocab_size=50, num_key_value_heads=1, sliding_window=window, **size)
    return MistralForCausalLM(config).eval()


def one_at_a_time(model, prefix, new_tokens=NEW):
    """The likeliest token after the text alone, again and again."""
    ids = list(prefix)
    with torch.inference_mode():
        while len(ids) < len(prefix) + new_tokens:
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if token == EOS:
                break
            ids.append(token)
    return ids[len(prefix) :]


def pairs(model, number=24, seed=0):
    """Prefixes of unlike lengths, suffixes that a model reproduces, leaves after some tokens, ends, or never says."""
    rng = random.Random(seed)
    prefixes = [[rng.randrange(1, 50) for _ in range(rng.randint(1, 12))] for _ in range(number)]
    wanted = [one_at_a_time(model, prefix) for prefix in prefixes]
    suffixes = []
    for i, ids in enumerate(wanted):
        suffix = list(ids) or [3]
        match i % 4:
            case 1:
                suffix[len(suffix) // 2] = suffix[len(suffix) // 2] % 49 + 1
            case 2:
                suffix = [rng.randrange(1, 50) for _ in range(rng.randint(1, NEW))]
            case 3:
                suffix = [*suffix[:7], EOS][: rng.randint(1, NEW)]
        suffixes.append(suffix)
    return prefixes, suffixes, wanted


def decode(model, prefixes, suffixes, size):
    """(scores, continuations) of an engine that scores so many texts at a time."""
    engine = TransformersEngine(model, [EOS], DecodingSettings(NEW), size)
    probes = [{"id": i, "prefix_ids": ids, "suffix_ids": suffixes[i]} for i, ids in enumerate(prefixes)]
    scores, continuations = [], []
    for start in range(0, len(probes), engine.batch_size):
        batch = probes[start : start + engine.batch_size]
        scores += engine.score(batch)
        continuations += engine.generate([Prompt(probe, 0, scores[probe["id"]]) for probe in batch])
    return scores, continuations


MAKERS = {**{name: lambda name=name: make(name) for name in MODELS}, "mistral": lambda: mistral(64), "mamba": mamba}
MAKERS |= {"narrow window": lambda: mistral(8), "no logits_to_keep": lambda: keeps_nothing("gpt2")}


@pytest.mark.parametrize("name", MAKERS)
def test_the_tokens_are_those_of_plain_greedy_decoding(name, monkeypatch):
    model = MAKERS[name]()
    prefixes, suffixes, wanted = pairs(model)
    assert continue_prefixes(model, prefixes, NEW, [EOS]) == wanted
    monkeypatch.setattr(transformers_engine, "TOGETHER", 2)
    for size in (24, 5, 3):
        scores, ids = decode(model, prefixes, suffixes, size)
        assert ids == wanted
        for one, other in zip(scores, token_scores(model, prefixes, suffixes), strict=True):
            np.testing.assert_allclose(one.log_prob, other.log_prob, rtol=1e-3, atol=1e-3)


def test_probes_without_scores_are_continued_too():
    model = make("gpt2")
    prefixes, _, wanted = pairs(model)
    probes = [{"id": 0, "prefix_ids": prefix, "suffix_ids": [1]} for prefix in prefixes]
    engine = TransformersEngine(model, [EOS], DecodingSettings(NEW), 4)
    assert engine.generate([Prompt(probe, 0, None) for probe in probes]) == wanted


@pytest.mark.parametrize("name", MODELS)
def test_near_ties_are_decided_as_for_a_text_alone(name, monkeypatch):
    """Of each pair of tokens the scores differ by rounding, at the most."""
    model = make(name)
    model.config.tie_word_embeddings = False
    head = torch.nn.Linear(16, 50, bias=False)
    head.weight.data = model.get_output_embeddings().weight.data.clone()
    for token in range(2, 50, 2):
        head.weight.data[token] = head.weight.data[token + 1] * (1 + 2e-7 * (token % 3))
    model.set_output_embeddings(head)
    prefixes, suffixes, wanted = pairs(model)
    decided = []
    monkeypatch.setattr(decoding, "next_token", lambda *text: decided.append(text) or next_token(*text))
    for size in (24, 3):
        assert decode(model, prefixes, suffixes, size)[1] == wanted
        assert continue_prefixes(model, prefixes[:size], NEW, [EOS]) == wanted[:size]
    assert len(decided) > 20


def test_rounding_is_below_what_may_decide():
    """Of the next token's score in a batch, padded, against the text alone."""
    for name in MODELS:
        model = make(name)
        prefixes, suffixes, _ = pairs(model, number=8, seed=1)
        together = token_scores(model, prefixes, suffixes)
        for prefix, suffix, one in zip(prefixes, suffixes, together, strict=True):
            for k in range(len(suffix)):
                scores = model(torch.tensor([prefix + suffix[:k]])).logits[0, -1]
                best, second = scores.topk(2).values.tolist()
                if int(scores.argmax()) == one.best[k]:
                    assert abs((best - second) / (1 + abs(best)) - one.margin[k]) < rounding_margin(model)
                else:
                    assert one.margin[k] < rounding_margin(model)


@pytest.fixture
def steps():
    """A function that lets a model count the tokens of each call, as [rows, columns]."""

    def count(model):
        shapes = []
        model.register_forward_pre_hook(lambda _, a, kw: shapes.append(tuple(kw["input_ids"].shape)), with_kwargs=True)
        return shapes

    return count


def reproduced(model, number=24):
    """Prefixes that a model continues to the limit, and their continuations."""
    prefixes, _, wanted = pairs(model, number)
    return zip(*[(prefix, ids) for prefix, ids in zip(prefixes, wanted, strict=True) if len(ids) == NEW], strict=True)


def test_what_was_verified_costs_no_step_and_the_rest_shares_its_batch_with_texts_as_long(steps, monkeypatch):
    model = make("gpt2")
    prefixes, wanted = reproduced(model)
    rounding_margin(model)
    shapes = steps(model)
    assert decode(model, prefixes, wanted, 4)[1] == list(wanted)
    assert len(shapes) == -(-len(prefixes) // 4)
    changed = [[*ids[:k], ids[k] % 49 + 1, *ids[k + 1 :]] for k, ids in enumerate(wanted)]
    shapes.clear()
    monkeypatch.setattr(transformers_engine, "TOGETHER", 1)
    monkeypatch.setattr(TransformersEngine, "batch_size", len(prefixes), raising=False)
    engine = TransformersEngine(model, [EOS], DecodingSettings(NEW), 4)
    probes = [{"id": i, "prefix_ids": [*ids], "suffix_ids": changed[i]} for i, ids in enumerate(prefixes)]
    prompts = [Prompt(*each) for each in zip(probes, [0] * len(probes), engine.score(probes), strict=True)]
    shapes.clear()
    assert engine.generate(prompts) == list(wanted)
    left = sorted((NEW - k - 1 for k in range(len(wanted))), reverse=True)  # the first token that differs is known
    assert len(shapes) == sum(max(left[i : i + 4]) for i in range(0, len(left), 4))  # four at a time


def test_a_tie_in_what_is_reproduced_costs_no_decoding(steps, monkeypatch):
    """Of a model whose every token rounding may decide."""
    model = make("gpt2")
    prefixes, wanted = reproduced(model, 8)
    monkeypatch.setitem(decoding._margins, model, 1e9)
    shapes = steps(model)
    assert decode(model, prefixes, wanted, 4)[1] == list(wanted)
    assert len(shapes) == -(-len(prefixes) // 4) + len(prefixes) * NEW


@pytest.mark.parametrize("name", ["gpt-neo", "mamba"])
@pytest.mark.parametrize("most", [24, 8])
def test_out_of_memory_halves_what_is_done_at_a_time(name, most, capsys):
    model = MAKERS[name]()
    prefixes, suffixes, wanted = pairs(model)
    whole = token_scores(model, prefixes, suffixes)
    scores, ids = decode(refusing(model, most), prefixes, suffixes, 24)
    assert ids == wanted
    for one, other in zip(scores, whole, strict=True):
        np.testing.assert_allclose(one.log_prob, other.log_prob, rtol=1e-3, atol=1e-3)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    sizes = [
        int(re.fullmatch("out of memory: from now on at most ([0-9]+) texts at a time", line)[1]) for line in lines
    ]
    assert sizes[:2] == ([] if most == 24 else [12, 6])  # the pass, then what is generated
    assert not sizes or sizes[-1] <= 8


def test_a_device_for_a_few_texts_alone():
    model = make("llama")
    prefixes, suffixes, wanted = pairs(model)
    assert decode(refusing(make("gpt-neo"), 1), prefixes[:4], suffixes[:4], 1)[1] == [
        one_at_a_time(make("gpt-neo"), prefix) for prefix in prefixes[:4]
    ]
    assert decode(refusing(model, 3), prefixes, suffixes, 3)[1] == wanted
    assert continue_prefixes(model, prefixes[:3], NEW, [EOS]) == wanted[:3]
    with pytest.raises(UserError, match="out of memory with a single text"):
        rounding_margin(refusing(make("llama"), 0))


def test_a_text_without_room_is_told():
    model = make("gpt2")
    rounding_margin(model)
    with pytest.raises(UserError, match="out of memory with a single text"):
        decode(refusing(model, 0), [[1, 2]], [[3]], 24)


def test_other_errors_are_not_taken_for_want_of_memory():
    model = make("gpt2")
    prefixes, suffixes, _ = pairs(model)
    rounding_margin(model)
    model.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("a fault")))
    with pytest.raises(RuntimeError, match="a fault"):
        decode(model, prefixes, suffixes, 24)


@pytest.mark.parametrize(("limit", "of_a_token"), [("HELD", 50), ("READ", 1)])
def test_a_batch_is_read_in_parts(limit, of_a_token, monkeypatch):
    for model in (make("llama"), keeps_nothing("gpt2")):
        prefixes, suffixes, _ = pairs(model)
        whole = token_scores(model, prefixes, suffixes)
        rows = []
        model.register_forward_pre_hook(lambda _, a, kw: rows.append(len(kw["input_ids"])), with_kwargs=True)  # noqa: B023
        longest = max(len(p) + len(s) for p, s in zip(prefixes, suffixes, strict=True))
        with monkeypatch.context() as patch:
            patch.setattr(teacher_forcing, limit, 5 * longest * of_a_token)
            parts = token_scores(model, prefixes, suffixes)
        assert sum(rows) == len(prefixes) and max(rows) <= 5
        for one, other in zip(parts, whole, strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
