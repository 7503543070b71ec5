"""Decoding what the pass did not verify: the tokens of plain greedy decoding, for no more steps than are needed."""

import random
import re
import weakref

import numpy as np
import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM

from memorization.extraction import decoding, generation, scoring, slots
from memorization.extraction.decoding import continued, verified
from memorization.extraction.generation import continue_prefixes, next_token, rounding
from memorization.extraction.scoring import token_scores
from memorization.extraction.slots import slot_bytes
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


def decode(model, prefixes, suffixes, batch, size):
    starts = range(0, len(prefixes), batch)
    batches = [(prefixes[i : i + batch], suffixes[i : i + batch]) for i in starts]
    found = list(continued(model, batches, NEW, EOS, size))
    assert [len(ids) for _, ids in found] == [len(one) for one, _ in batches]
    return [one for scores, _ in found for one in scores], [one for _, ids in found for one in ids]


SLOTS = {**{name: lambda name=name: make(name) for name in MODELS}, "mistral": lambda: mistral(64)}
OTHERS = {"mamba": mamba, "narrow window": lambda: mistral(8), "no logits_to_keep": lambda: keeps_nothing("gpt2")}


@pytest.mark.parametrize("name", {**SLOTS, **OTHERS})
def test_the_tokens_are_those_of_plain_greedy_decoding(name, monkeypatch):
    model = {**SLOTS, **OTHERS}[name]()
    assert bool(slot_bytes(model, 12 + NEW)) == (name in SLOTS or name == "no logits_to_keep")
    prefixes, suffixes, wanted = pairs(model)
    assert continue_prefixes(model, prefixes, NEW, EOS) == wanted
    monkeypatch.setattr(slots, "SPARE", 5)  # columns run out on the way
    for batch, size in ((24, 24), (5, 3), (3, 7)):
        scores, ids = decode(model, prefixes, suffixes, batch, size)
        assert ids == wanted
        for one, other in zip(scores, token_scores(model, prefixes, suffixes), strict=True):
            np.testing.assert_allclose(one.log_prob, other.log_prob, rtol=1e-3, atol=1e-3)


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
    for module in (slots, decoding):
        monkeypatch.setattr(module, "next_token", lambda *text: decided.append(text) or next_token(*text))
    for batch, size in ((24, 24), (5, 3)):
        assert decode(model, prefixes, suffixes, batch, size)[1] == wanted
        assert continue_prefixes(model, prefixes[:batch], NEW, EOS) == wanted[:batch]
    assert len(decided) > 20


def test_rounding_is_below_what_may_decide():
    """Of the next token's score in a batch, padded, and in slots, against the text alone."""
    for name in MODELS:
        model = make(name)
        prefixes, suffixes, _ = pairs(model, number=8, seed=1)
        found = scoring.passed(model, prefixes, suffixes)
        for prefix, suffix, one in zip(prefixes, suffixes, found, strict=True):
            for k in range(len(suffix)):
                scores = model(torch.tensor([prefix + suffix[:k]])).logits[0, -1]
                best, second = scores.topk(2).values.tolist()
                if int(scores.argmax()) == one.best[k]:
                    assert abs((best - second) / (1 + abs(best)) - one.lead[k]) < rounding(model)
                else:
                    assert one.lead[k] < rounding(model)


@pytest.fixture
def steps():
    """A function that lets a model count the tokens of each call, as [rows, columns]."""

    def count(model):
        seen = []
        model.register_forward_pre_hook(lambda _, a, kw: seen.append(tuple(kw["input_ids"].shape)), with_kwargs=True)
        return seen

    return count


def test_what_was_verified_costs_no_step_and_all_else_one(steps):
    model = make("gpt2")
    prefixes, _, wanted = pairs(model)
    wanted = [ids for ids in wanted if len(ids) == NEW]
    prefixes = [prefix for prefix in prefixes if len(one_at_a_time(model, prefix)) == NEW]
    rounding(model)
    seen = steps(model)
    slot_bytes(model, 12 + NEW)
    tried = len(seen)
    seen.clear()
    assert decode(model, prefixes, wanted, 4, 4)[1] == wanted
    assert len(seen) == tried + -(-len(prefixes) // 4)
    changed = [[*ids[:k], ids[k] % 49 + 1, *ids[k + 1 :]] for k, ids in enumerate(wanted)]
    seen.clear()
    assert decode(model, prefixes, changed, 4, 4)[1] == wanted
    one_by_one = [rows for rows, columns in seen[tried:] if columns == 1]
    assert sum(one_by_one) == sum(NEW - k - 1 for k in range(len(wanted)))  # the first that differs is known
    assert len(one_by_one) <= sum(one_by_one) / 4 + NEW  # four at a time until the last


def test_a_tie_in_what_is_reproduced_costs_no_decoding(steps, monkeypatch):
    """Of a model whose every token rounding may decide."""
    model = make("gpt2")
    prefixes, _, wanted = pairs(model, number=8)
    prefixes, wanted = zip(*[pair for pair in zip(prefixes, wanted, strict=True) if len(pair[1]) == NEW], strict=True)
    monkeypatch.setitem(generation._rounding, model, 1e9)
    seen = steps(model)
    slot_bytes(model, 12 + NEW)
    tried = len(seen)
    seen.clear()
    assert decode(model, prefixes, wanted, 4, 4)[1] == list(wanted)
    passes = -(-len(prefixes) // 4)
    assert len(seen) == tried + passes + len(prefixes) * NEW


def test_what_the_pass_keeps_of_a_verified_text_is_let_go():
    model = make("gpt2")
    prefixes, suffixes, _ = pairs(model)
    left = scoring.passed(model, prefixes, suffixes, use_cache=True)
    texts = [verified(model, *each, NEW, EOS) for each in zip(prefixes, suffixes, left, strict=True)]
    assert {text.done for text in texts} == {True, False}
    assert all((text.cache is None) == text.done for text in texts)


@pytest.mark.parametrize("name", ["gpt-neo", "mamba"])
@pytest.mark.parametrize("most", [24, 8])
def test_out_of_memory_halves_what_is_done_at_a_time(name, most, capsys):
    model = {**SLOTS, **OTHERS}[name]()
    prefixes, suffixes, wanted = pairs(model)
    whole = token_scores(model, prefixes, suffixes)
    scores, ids = decode(refusing(model, most), prefixes, suffixes, 24, 24)
    assert ids == wanted
    for one, other in zip(scores, whole, strict=True):
        np.testing.assert_allclose(one.log_prob, other.log_prob, rtol=1e-3, atol=1e-3)
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    sizes = [
        int(re.fullmatch("out of memory: from now on at most ([0-9]+) texts at a time", line)[1]) for line in lines
    ]
    assert sizes == ([] if most == 24 else [12, 6, 4] if name == "gpt-neo" else [12, 6])  # the pass, then the slots


def test_what_a_pass_keeps_is_let_go_before_the_next(monkeypatch, capsys):
    """A device that holds the keys and values of a few texts beside the slots does not run out with a single text."""
    model, kept, whole = make("gpt-neo"), [], scoring.read

    def read(model, texts, *arguments):
        if sum(rows for rows, cache in kept if cache()) + len(texts) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        output = whole(model, texts, *arguments)
        kept.append((len(texts), weakref.ref(output.past_key_values)))
        return output

    prefixes, suffixes, wanted = pairs(model, number=40)
    monkeypatch.setattr(scoring, "read", read)
    assert decode(model, prefixes, suffixes, 24, 24)[1] == wanted
    assert capsys.readouterr().out.count("out of memory") == 2 and len(kept) == 7


def test_buffers_too_large_for_a_single_text_are_halved(monkeypatch, capsys):
    model, zeros = make("llama"), torch.Tensor.new_zeros

    def new_zeros(tensor, rows, *shape, **options):
        if shape and rows > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return zeros(tensor, rows, *shape, **options)

    prefixes, suffixes, wanted = pairs(model, number=3)
    monkeypatch.setattr(torch.Tensor, "new_zeros", new_zeros)
    assert decode(model, prefixes[2:], suffixes[2:], 1, 8)[1] == wanted[2:]
    assert "at most 4 texts" in capsys.readouterr().out


def test_out_of_memory_while_slots_are_in_use(capsys):
    model = make("llama")
    prefixes, suffixes, wanted = pairs(model)
    calls = []

    def check(_, args, kwargs):
        calls.append(len(kwargs["input_ids"]))
        if len(calls) in (12, 25):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    rounding(model)
    model.register_forward_pre_hook(check, with_kwargs=True)
    assert decode(model, prefixes, suffixes, 6, 12)[1] == wanted
    assert capsys.readouterr().out.count("out of memory: from now on at most") == 2
    assert len(calls) > 40


def test_a_device_for_a_few_texts_alone():
    model = make("llama")
    prefixes, suffixes, wanted = pairs(model)
    assert decode(refusing(make("gpt-neo"), 1), prefixes[:4], suffixes[:4], 4, 1)[1] == [
        one_at_a_time(make("gpt-neo"), prefix) for prefix in prefixes[:4]
    ]
    assert decode(refusing(model, 3), prefixes, suffixes, 24, 3)[1] == wanted
    assert continue_prefixes(model, prefixes[:3], NEW, EOS) == wanted[:3]
    with pytest.raises(UserError, match="out of memory with a single text"):
        rounding(refusing(make("llama"), 0))


def test_a_text_without_room_is_told(monkeypatch):
    model = make("gpt2")
    rounding(model)
    monkeypatch.setattr("memorization.extraction.decoding.slot_bytes", lambda *_: 1)  # which would run out before
    with pytest.raises(UserError, match="out of memory with a single text"):
        decode(refusing(model, 0), [[1, 2]], [[3]], 24, 24)


def test_other_errors_are_not_taken_for_want_of_memory():
    model = make("gpt2")
    prefixes, suffixes, _ = pairs(model)
    rounding(model)
    model.register_forward_pre_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("a fault")))
    with pytest.raises(RuntimeError, match="a fault"):
        decode(model, prefixes, suffixes, 24, 24)


@pytest.mark.parametrize(("limit", "of_a_token"), [("HELD", 50), ("READ", 1)])
def test_a_batch_is_read_in_parts(limit, of_a_token, monkeypatch):
    for model in (make("llama"), keeps_nothing("gpt2")):
        prefixes, suffixes, _ = pairs(model)
        whole = token_scores(model, prefixes, suffixes)
        rows = []
        model.register_forward_pre_hook(lambda _, a, kw: rows.append(len(kw["input_ids"])), with_kwargs=True)  # noqa: B023
        longest = max(len(p) + len(s) for p, s in zip(prefixes, suffixes, strict=True))
        with monkeypatch.context() as patch:
            patch.setattr(scoring, limit, 5 * longest * of_a_token)
            parts = token_scores(model, prefixes, suffixes)
        assert sum(rows) == len(prefixes) and max(rows) <= 5
        for one, other in zip(parts, whole, strict=True):
            for a, b in zip(one, other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
