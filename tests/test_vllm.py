"""The vLLM engine gives what the transformers engine gives, up to rounding and near ties (docs/scaling.md says how to
run these)."""

import os

import numpy as np
import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: it has an environment of its own (docs/scaling.md)")
pytestmark = pytest.mark.slow

os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}

import peft  # noqa: E402
import torch  # noqa: E402
from scipy.stats import chisquare  # noqa: E402
from transformers import LlamaForCausalLM  # noqa: E402

from memorization.encoding.probes import Probes  # noqa: E402
from memorization.extraction.decoding import rounding_margin  # noqa: E402
from memorization.extraction.engine import DecodingSettings, Prompt  # noqa: E402
from memorization.extraction.generations import read_generations  # noqa: E402
from memorization.extraction.transformers_engine import TransformersEngine  # noqa: E402
from memorization.extraction.vllm_engine import VllmEngine  # noqa: E402
from memorization.extraction.vllm_models import load_llm  # noqa: E402
from memorization.models.adapted import ModelWeights  # noqa: E402
from memorization.models.adapters import read_adapter  # noqa: E402
from memorization.shell.cli import UserError  # noqa: E402
from memorization.store.locations import base_path  # noqa: E402
from support.adapter_case import (  # noqa: E402
    OF_LAYERS,
    WORDS,
    encode,
    save_adapter,
    save_base,
    save_memorizing_adapter,
)
from support.command_line import one_line, read_jsonl, run_script  # noqa: E402
from support.tiny_models import save_language_model, save_word_tokenizer  # noqa: E402

NEW = 12  # tokens
CONTEXT = 48  # tokens, all of the model's
# log probabilities in 32 bits: sums of 64 to 128 products in another order, by some 1e-6 each; a wrong token, position
# or adapter changes them by whole units
CLOSE = 1e-4


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An encoding, a base model, and a LoRA adapter on it that knows the members."""
    path = tmp_path_factory.mktemp("home")
    encode(path, save_base(path / "base", num_attention_heads=2, num_key_value_heads=2, head_dim=32))
    save_memorizing_adapter(path / "known", path / "base", path / "tokenized_dialogue_train")
    return path


@pytest.fixture(scope="module")
def adapter(home):
    return read_adapter(str(home / "known"))


@pytest.fixture(scope="module")
def llm(home, adapter):
    return load_llm(str(home / "base"), "float32", CONTEXT, [adapter])


@pytest.fixture(scope="module")
def probes(home):
    return Probes(home, "dialogue")[:]


@pytest.fixture(params=["adapter", "base"])
def engines(request, home, llm, adapter):
    """(vLLM's, transformers') engine of the same model; greedy."""
    used, decoding = adapter if request.param == "adapter" else None, DecodingSettings(NEW)
    with ModelWeights(str(home / "base"), "float32", "cpu").using(used) as model:
        yield VllmEngine(llm, [0], decoding, 8, used), TransformersEngine(model, [0], decoding, 8)


def test_scores_are_those_of_the_transformers_engine(engines, probes):
    engine, reference = engines
    ties = rounding_margin(reference.model)
    for own, expected in zip(engine.score(probes), reference.score(probes), strict=True):
        np.testing.assert_allclose(own.log_prob, expected.log_prob, atol=CLOSE)
        np.testing.assert_array_equal(own.scheme, own.log_prob)
        certain = expected.margin > ties
        np.testing.assert_array_equal(own.greedy[certain], expected.greedy[certain])
        assert own.mean is own.std is own.best is own.margin is None
    assert engine.not_computed.keys() == {"scores.min_k_plus"}


def test_scores_do_not_depend_on_what_was_asked_before(engines, probes):
    engine, _ = engines
    for _ in range(2):
        engine.generate([Prompt(probe, 0, None) for probe in probes])
        for one, other in zip(engine.score(probes), engine.score(probes[::-1])[::-1], strict=True):
            np.testing.assert_allclose(one.log_prob, other.log_prob, atol=CLOSE)


def test_greedy_generations_are_those_of_the_transformers_engine(engines, probes):
    engine, reference = engines
    expected = reference.generate([Prompt(probe, 0, None) for probe in probes])
    reached = [probe | {"suffix_ids": tokens} for probe, tokens in zip(probes, expected, strict=True)]
    ties, compared = rounding_margin(reference.model), 0
    own = engine.generate([Prompt(probe, 0, None) for probe in probes])
    for scores, *pair in zip(reference.score(reached), own, expected, strict=True):
        certain = len(scores.margin) if scores.margin.min() > ties else int(np.argmax(scores.margin <= ties))
        assert pair[0][:certain] == pair[1][:certain]
        compared += certain
    assert compared > 0.9 * sum(map(len, expected))


def test_the_text_may_fill_the_context(engines, probes):
    engine, reference = engines
    text = probes[0]["prefix_ids"] + probes[0]["suffix_ids"]
    text = (text * CONTEXT)[:CONTEXT]
    full = probes[0] | {"prefix_ids": text[:-NEW], "suffix_ids": text[-NEW:]}
    (own,), (expected,) = engine.score([full]), reference.score([full])
    np.testing.assert_allclose(own.log_prob, expected.log_prob, atol=CLOSE)
    assert len(engine.generate([Prompt(full, 0, None)])[0]) <= NEW


def test_a_generation_ends_before_the_first_token_that_ends_a_text(llm, adapter, probes):
    prompts = [Prompt(probe, 0, None) for probe in probes]
    whole = VllmEngine(llm, [], DecodingSettings(NEW), 8, adapter).generate(prompts)
    ends = [whole[0][3], whole[1][5]]
    cut = VllmEngine(llm, ends, DecodingSettings(NEW), 8, adapter).generate(prompts)
    for one, other in zip(whole, cut, strict=True):
        assert len(one) == NEW
        assert other == one[: next((place for place, token in enumerate(one) if token in ends), NEW)]


def sampled(llm, probe, number, **scheme):
    """The first tokens of so many samples of a probe's prompt."""
    engine = VllmEngine(llm, [], DecodingSettings(1, **scheme), number)
    return [token for (token,) in engine.generate([Prompt(probe, sample, None) for sample in range(number)])]


def test_samples_have_the_probabilities_of_the_scheme(home, llm, probes):
    scheme = {"temperature": 0.7, "top_k": 12, "top_p": 0.9}
    drawn = np.bincount(sampled(llm, probes[0], 2000, **scheme), minlength=WORDS)
    model = LlamaForCausalLM.from_pretrained(home / "base")
    with torch.no_grad():
        scores = model(torch.tensor([probes[0]["prefix_ids"]])).logits[0, -1].double() / 0.7
    probabilities = scores.topk(12).values.softmax(-1)  # of the 12 likeliest, in order
    kept = int((probabilities.cumsum(-1) < 0.9).sum()) + 1
    likeliest = scores.topk(kept).indices
    expected = scores[likeliest].softmax(-1).numpy() * 2000
    assert drawn.sum() == drawn[likeliest].sum() == 2000  # nothing outside of the scheme
    assert chisquare(drawn[likeliest], expected).pvalue > 1e-3


def test_samples_depend_on_seed_and_key_alone(llm, probes):
    first = sampled(llm, probes[0], 64, temperature=1.0)
    assert sampled(llm, probes[0], 64, temperature=1.0) == first
    assert sampled(llm, probes[0], 16, temperature=1.0) == first[:16]
    assert sampled(llm, probes[0], 64, temperature=1.0, seed=6) != first
    assert sampled(llm, probes[0] | {"turn": 1}, 64, temperature=1.0) != first


def test_only_what_is_computed_is_given(llm, probes):
    engine = VllmEngine(llm, [0], DecodingSettings(NEW, temperature=0.7), 8)
    assert all(scores.scheme is None for scores in engine.score(probes[:2]))
    assert engine.not_computed.keys() == {"scores.min_k_plus", "scores.log_p_z"}


# ---- what vLLM does not take


NOT_TAKEN = {  # adapters -> why they are not
    "dora": "lora_magnitude_vector",
    "ia3": "of the kind IA3",
    "prompt": "of the kind PROMPT_TUNING",
    "whole layers": "does not apply",
    "tokens": "does not apply",
    "biases": "does not apply",
    "output layer": "lm_head",
    "embeddings": "embed_tokens",
    "pissa": "PiSSA",
}
OTHERS = {
    "output layer": lambda: peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "lm_head"]),
    "embeddings": lambda: peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "embed_tokens"]),
}


@pytest.mark.parametrize("kind", NOT_TAKEN)
def test_an_adapter_that_vllm_would_take_in_part_is_refused_before_it_loads(home, tmp_path, kind, capsys):
    save_adapter(tmp_path / "adapter", OTHERS.get(kind, kind), home / "base")
    capsys.readouterr()
    assert infer(home, tmp_path, "vllm", "--adapter", tmp_path / "adapter") == 2
    message = one_line(capsys)
    assert NOT_TAKEN[kind] in message and "merge it" in message and "--engine transformers" in message


def test_an_adapter_that_changes_nothing_is_refused(home, tmp_path):
    peft.get_peft_model(
        LlamaForCausalLM.from_pretrained(home / "base"), peft.LoraConfig(r=4, **OF_LAYERS)
    ).save_pretrained(tmp_path / "new")
    with pytest.raises(UserError, match="new: changes nothing of .*base"):
        load_llm(str(home / "base"), "float32", CONTEXT, [read_adapter(str(tmp_path / "new"))])


def test_ranks_and_scales_of_an_adapter_are_peft_s(home, probes, tmp_path):
    config = {
        "r": 3,
        "lora_alpha": 7,
        "use_rslora": True,
        "rank_pattern": {"q_proj": 9},
        "alpha_pattern": {"v_proj": 5},
    }
    save_adapter(tmp_path / "a", lambda: peft.LoraConfig(**config, **OF_LAYERS), home / "base")
    adapter, decoding = read_adapter(str(tmp_path / "a")), DecodingSettings(NEW)
    engine = VllmEngine(load_llm(str(home / "base"), "float32", CONTEXT, [adapter]), [0], decoding, 8, adapter)
    with ModelWeights(str(home / "base"), "float32", "cpu").using(adapter) as model:
        reference = TransformersEngine(model, [0], decoding, 8)
        for own, expected in zip(engine.score(probes), reference.score(probes), strict=True):
            np.testing.assert_allclose(own.log_prob, expected.log_prob, atol=CLOSE)


def test_a_model_that_vllm_does_not_run_is_one_line(home, tmp_path, capsys):
    save_language_model(tmp_path / "neo", home / "base")
    assert infer(home, tmp_path, "vllm", "--model-path", tmp_path / "neo") == 2
    assert "neo: vLLM cannot load it (" in (message := one_line(capsys)) and "--engine transformers" in message


def test_a_temperature_that_vllm_does_not_sample_at_is_refused(home, tmp_path, capsys):
    assert infer(home, tmp_path, "vllm", "--model-path", home / "base", "--temperature", "0.005") == 2
    assert "--temperature 0.005: vLLM samples at 0.01 or above" in one_line(capsys)


# ---- the stages


def infer(home, out, engine, *flags):
    where = "--tokenized-dir", home, "--output-dir", out, "--output-name", "g", "--max-new-tokens", NEW
    return run_script("inference_prefix.py", *where, "--engine", engine, *flags)


def result(out, name="g"):
    return out / "memorization_finetuned_dialogue" / "dialogue" / f"{name}.jsonl"


@pytest.fixture(scope="module")
def both(home):
    """Stage 3 of the adapter and its base model, by each engine: in batches of one eighth."""
    flags = "--adapter", home / "known", "--base-model", home / "base", "--batch-size", "1"
    for engine in ("vllm", "transformers"):
        assert infer(home, home / engine, engine, *flags) == 0
    return [result(home / engine) for engine in ("vllm", "transformers")]


@pytest.mark.parametrize("of", [lambda path: path, base_path], ids=["adapter", "base"])
def test_stage_3_has_the_rows_of_the_transformers_engine(both, of):
    (own, manifest), (expected, _) = (read_generations(of(path)) for path in both)
    assert sum(row.exact_match for row in own) == (14 if of(both[0]) == both[0] else 0)
    for one, other in zip(own, expected, strict=True):
        assert (one.key, one.prefix, one.suffix, one.exact_match) == (
            other.key,
            other.prefix,
            other.suffix,
            other.exact_match,
        )
        assert one.generation_ids == other.generation_ids and one.near == other.near
        assert one.scores.log_likelihood == pytest.approx(other.scores.log_likelihood, abs=NEW * CLOSE)
        assert one.scores.matched_tokens == other.scores.matched_tokens
    assert manifest.facts["greedy_check"] == {"compared": 20, "differ": 0}
    made_of = manifest.made_of
    assert (made_of["engine"], made_of["dtype"], made_of["batch_size"]) == ("vllm", "float32", 8)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(home, both, tmp_path, monkeypatch):
    flags = "--adapter", home / "known", "--base-model", home / "base", "--batch-size", "1"
    generate, calls = VllmEngine.generate, []

    def killed_at_the_second_batch(engine, prompts):
        calls.append(len(prompts))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(engine, prompts)

    monkeypatch.setattr(VllmEngine, "generate", killed_at_the_second_batch)
    assert infer(home, tmp_path, "vllm", *flags) == 130
    assert infer(home, tmp_path, "vllm", *flags) == 0
    assert calls == [8, 8, 8, 4, 8, 8, 4]  # 8 of 20 are not made again; then the base model's
    for of in (lambda path: path, base_path):
        assert of(result(tmp_path)).read_bytes() == of(both[0]).read_bytes()


def test_a_model_and_its_base_model_of_other_weights(home, both, tmp_path):
    merged = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(home / "base"), home / "known")
    merged.merge_and_unload().save_pretrained(tmp_path / "merged")
    save_word_tokenizer(tmp_path / "merged", WORDS)
    assert infer(home, tmp_path, "vllm", "--model-path", tmp_path / "merged", "--base-model", home / "base") == 0
    for path, expected in ((result(tmp_path), both[0]), (base_path(result(tmp_path)), base_path(both[0]))):
        for one, other in zip(read_generations(path)[0], read_generations(expected)[0], strict=True):
            assert one.scores.log_likelihood == pytest.approx(other.scores.log_likelihood, abs=NEW * CLOSE)
            assert one.exact_match == other.exact_match


def test_stage_5_and_the_report_take_the_rows(home, both, tmp_path, capsys):
    """The detections are those of the transformers engine's rows, and what lacks is named."""
    index = "--indexes", tmp_path / "indexes", "--index-xsuffix", "i"
    assert run_script("load_to_elastic.py", "-dir", home, "-fn", "dialogue_prefix.json", *index) == 0
    for path, kind in zip(both, ("vllm", "transformers"), strict=True):
        what = "--filedir", path, "--type", kind, "--output-dir", tmp_path, *index
        assert run_script("plagiarism_detect.py", *what, "--paraphrase-model", "none") == 0
    detections = [read_jsonl(tmp_path / kind / "dialogue" / "detections.jsonl") for kind in ("vllm", "transformers")]
    own, expected = ([row | {"generation": None} for row in rows] for rows in detections)
    assert own == expected and sum(row["labels"]["label"] == "verbatim" for row in own) == 14
    capsys.readouterr()
    assert run_script("report.py", tmp_path / "vllm" / "dialogue", "--output", tmp_path / "report") == 0
    reason = "min-k %++: not computed, as vLLM gives the log probabilities of the tokens alone"
    assert reason in " ".join(capsys.readouterr().out.split())
