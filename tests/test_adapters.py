"""Adapters of peft: read as peft reads them, unmerged, beside a base model whose weights are in memory once."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

peft = pytest.importorskip("peft")

from datasets import load_from_disk  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM, LlamaForCausalLM, T5ForConditionalGeneration  # noqa: E402

import run_clm  # noqa: E402
from attention_analysis import AttentionSettings, measure_members  # noqa: E402
from memorization.encoding.probes import Probes  # noqa: E402
from memorization.extraction.attention import attention_measures  # noqa: E402
from memorization.extraction.engine import DecodingSettings, Prompt  # noqa: E402
from memorization.extraction.generations import read_generations  # noqa: E402
from memorization.extraction.local_models import identify  # noqa: E402
from memorization.extraction.transformers_engine import TransformersEngine  # noqa: E402
from memorization.models.adapted import ModelWeights  # noqa: E402
from memorization.models.adapters import adapter_labels, model_source, model_sources, read_adapter  # noqa: E402
from memorization.models.hub import load_tokenizer  # noqa: E402
from memorization.models.loading import load_for_generation  # noqa: E402
from memorization.models.passes import virtual_ids  # noqa: E402
from memorization.shell.cli import UserError  # noqa: E402
from memorization.store.files import read_json, write_json  # noqa: E402
from memorization.store.fingerprints import adapted_fingerprint, model_fingerprint  # noqa: E402
from memorization.store.locations import base_path  # noqa: E402
from support.adapter_case import (  # noqa: E402
    KINDS,
    WORDS,
    encode,
    save_adapter,
    save_base,
    save_memorizing_adapter,
)
from support.command_line import ROOT, one_line, read_jsonl, run_script  # noqa: E402
from support.tiny_models import damage, edited, save_t5, save_word_tokenizer  # noqa: E402
from support.training_runs import as_killed  # noqa: E402

CHAT = (ROOT.parent / "shared" / "chat").resolve()
READ = [kind for kind in KINDS if kind != "prefix"]
NEW = 12  # tokens


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """An encoding, a base model, an adapter of each kind in its kind's directory, and one that knows the members."""
    path = tmp_path_factory.mktemp("home")
    encode(path, save_base(path / "base"))
    for kind in KINDS:
        save_adapter(path / kind, kind, path / "base")
    save_memorizing_adapter(path / "known", path / "base", path / "tokenized_dialogue_train")
    return path


def infer(home, out, *flags):
    where = "--tokenized-dir", home, "--output-dir", out, "--output-name", "g", "--max-new-tokens", NEW
    return run_script("inference_prefix.py", *where, *flags)


def result(out, name="g"):
    return out / "memorization_finetuned_dialogue" / "dialogue" / f"{name}.jsonl"


def exact(path):
    """The numbers of (members, held-out samples) that come out exactly, and of all."""
    rows = list(read_generations(path)[0])
    sides = [[row.exact_match for row in rows if row.member is side] for side in (True, False)]
    return [sum(side) for side in sides], [len(side) for side in sides]


# ---- stage 3


@pytest.fixture(scope="module")
def memorizing(home):
    """Stage 3 of the adapter that knows the members, with its base model."""
    flags = "--adapter", home / "known", "--base-model", home / "base"
    assert infer(home, home / "with-base", *flags) == 0
    return result(home / "with-base")


def test_what_an_adapter_memorized_is_found_with_it_and_not_without(memorizing):
    assert exact(memorizing) == ([14, 0], [14, 6])
    assert exact(base_path(memorizing)) == ([0, 0], [14, 6])


def test_the_results_are_those_of_adapter_and_base_and_of_the_base_model_alone(home, memorizing, tmp_path):
    assert infer(home, tmp_path, "--model-path", home / "base") == 0
    plain, base = result(tmp_path), base_path(memorizing)
    assert plain.read_bytes() == base.read_bytes()
    (_, tuned), (_, of_plain), (_, of_base) = map(read_generations, (memorizing, plain, base))
    assert of_plain.identity == of_base.identity and of_base.made_of["model"] == model_fingerprint(home / "base")
    parts = {"adapter": model_fingerprint(home / "known"), "base_model": model_fingerprint(home / "base")}
    assert tuned.made_of["model"] == adapted_fingerprint(*parts.values()) and tuned.facts["adapter"] == parts
    assert tuned.facts["base"]["identity"] == of_plain.identity


def test_the_directory_of_an_adapter_is_a_model(home, memorizing, tmp_path):
    assert infer(home, tmp_path, "--model-path", home / "known") == 0
    assert result(tmp_path).read_bytes() == memorizing.read_bytes()
    assert read_generations(result(tmp_path))[1].identity == read_generations(memorizing)[1].identity


def test_merged_the_adapter_says_the_same(home, memorizing, tmp_path):
    merged = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(home / "base"), home / "known")
    merged.merge_and_unload().save_pretrained(tmp_path / "merged")
    save_word_tokenizer(tmp_path / "merged", WORDS)
    assert infer(home, tmp_path, "--model-path", tmp_path / "merged") == 0
    for one, other in zip(read_generations(memorizing)[0], read_generations(result(tmp_path))[0], strict=True):
        assert one.scores.log_likelihood == pytest.approx(other.scores.log_likelihood, abs=1e-3)
        assert one.generation_ids == other.generation_ids


def test_an_adapter_is_not_put_on_weights_that_come_from_disk(home, monkeypatch):
    size = (home / "base" / "model.safetensors").stat().st_size
    monkeypatch.setattr("memorization.models.loading.rank_memory", lambda: {"cpu": int(0.9 * size)})
    weights = ModelWeights(str(home / "base"), "auto", "auto")
    with pytest.raises(UserError, match="peft can't put it on weights that come from memory or disk in each pass"):
        weights.using(read_adapter(home / "known")).__enter__()
    with weights.using() as model:
        assert model.device.type == "cpu"


def test_several_adapters_on_one_base_model_that_is_loaded_once(home, memorizing, tmp_path, monkeypatch):
    loaded = []

    def counting(name, *arguments):
        loaded.append(Path(name).name)
        return load_for_generation(name, *arguments)

    monkeypatch.setattr("memorization.models.adapted.load_for_generation", counting)
    adapters = "--adapter", *(home / kind for kind in ("known", "ia3", "prompt", "dora"))
    assert infer(home, tmp_path, *adapters, "--base-model", home / "base") == 0
    assert loaded == ["base"]
    for kind in ("ia3", "prompt", "dora"):
        assert infer(home, tmp_path / kind, "--adapter", home / kind) == 0
        assert result(tmp_path / kind).read_bytes() == result(tmp_path, f"g-{kind}").read_bytes()
    assert result(tmp_path, "g-known").read_bytes() == memorizing.read_bytes()
    for kind in ("known", "ia3", "prompt", "dora"):
        assert read_generations(base_path(result(tmp_path, f"g-{kind}")))[1].identity == (
            read_generations(base_path(memorizing))[1].identity
        )


@pytest.mark.parametrize("kind", ["biases", "pissa"])
def test_an_adapter_that_changes_weights_of_its_base_model_leaves_the_base_row_as_it_is(
    home, memorizing, tmp_path, kind
):
    assert infer(home, tmp_path, "--adapter", home / kind, home / "known", "--base-model", home / "base") == 0
    assert base_path(result(tmp_path, f"g-{kind}")).read_bytes() == base_path(memorizing).read_bytes()
    assert result(tmp_path, "g-known").read_bytes() == memorizing.read_bytes()


def test_a_killed_run_goes_on(home, memorizing, tmp_path):
    """Behind the adapter's rows and some of the base model's."""
    shutil.copytree(memorizing.parents[2], tmp_path / "out")
    flags = "--adapter", home / "known", "--base-model", home / "base"
    for path in (result(tmp_path / "out"), base_path(result(tmp_path / "out"))):
        path.with_name(f"{path.name}.manifest.json").unlink()
        path.unlink()
        path.with_suffix(".txt").unlink()
    assert infer(home, tmp_path / "out", *flags) == 0
    assert result(tmp_path / "out").read_bytes() == memorizing.read_bytes()


# ---- as peft reads them


def by_hand(home, kind, prefix, suffix):
    """The log probability of a suffix and the greedy continuation, by peft's own passes over a text alone."""
    model = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(home / "base"), home / kind).eval()
    with torch.no_grad():
        scores = model(input_ids=torch.tensor([[*prefix, *suffix]])).logits[0, -len(suffix) - 1 : -1].log_softmax(-1)
        log_probs = scores[torch.arange(len(suffix)), suffix]
        tokens = []
        while len(tokens) < NEW and 0 not in tokens:
            tokens.append(int(model(input_ids=torch.tensor([[*prefix, *tokens]])).logits[0, -1].argmax()))
    return log_probs.numpy(), [token for token in tokens if token]


def measured(home, kind, batch_size, dtype="float32"):
    """(log probabilities, tokens) of each probe, prompts of several lengths, by the engine of stage 3."""
    adapter = read_adapter(str(home / kind))
    probes = [dict(probe) for probe in Probes(home, "dialogue")[:8]]
    for number, probe in enumerate(probes):
        probe["prefix_ids"] = probe["prefix_ids"][number % 4 :]
    with ModelWeights(str(home / "base"), dtype, "cpu").using(adapter) as model:
        engine = TransformersEngine(model, [0], DecodingSettings(NEW), batch_size)
        scores = engine.score(probes)
        rows = engine.generate([Prompt(probe, 0, score) for probe, score in zip(probes, scores, strict=True)])
    return [score.log_prob for score in scores], rows, probes


@pytest.mark.parametrize("kind", READ)
def test_scores_and_tokens_are_those_of_pefts_own_passes_in_any_batch(home, kind):
    together, alone = (measured(home, kind, batch_size) for batch_size in (8, 1))
    assert together[1] == alone[1]
    for log_probs, tokens, probe in zip(*together, strict=True):
        expected, greedy = by_hand(home, kind, probe["prefix_ids"], probe["suffix_ids"][:NEW])
        assert np.allclose(log_probs, expected, atol=1e-4) and tokens == greedy


def test_sampled_tokens_of_prompt_tuning_are_of_the_longer_prompt(home):
    """In half precision and by sampling, prompts of different lengths are padded: the words keep their places."""
    log_probs, _, probes = measured(home, "prompt", 8, "bfloat16")
    for each, probe in zip(log_probs, probes, strict=True):
        expected, _ = by_hand(home, "prompt", probe["prefix_ids"], probe["suffix_ids"][:NEW])
        assert np.allclose(each, expected, atol=0.3) and np.abs(each - expected).mean() < 0.1


def test_virtual_tokens_take_room_in_the_context(home, tmp_path, capsys):
    """48 positions: 6 tokens of a prefix and 40 new ones fit, 5 virtual ones more do not."""
    long = "--max-new-tokens", 40
    assert infer(home, tmp_path, "--model-path", home / "base", *long) == 0
    assert infer(home, tmp_path / "lora", "--adapter", home / "lora", *long) == 0
    capsys.readouterr()
    assert infer(home, tmp_path / "prompt", "--adapter", home / "prompt", *long) == 2
    assert "its context of 48 tokens is shorter" in one_line(capsys)


def test_the_base_model_is_as_before_behind_an_adapter(home):
    weights = ModelWeights(str(home / "base"), "float32", "cpu")
    ids = torch.arange(1, 20)[None]
    with weights.using() as model, torch.no_grad():
        before, names = model(input_ids=ids).logits, [name for name, _ in model.named_modules()]
    for kind in READ:
        with weights.using(read_adapter(str(home / kind))) as model, torch.no_grad():
            text = torch.tensor([[*virtual_ids(model), *ids[0].tolist()]])
            assert not torch.equal(model(input_ids=text).logits[:, -19:], before)
        with weights.using() as model, torch.no_grad():
            assert torch.equal(model(input_ids=ids).logits, before), kind
            assert [name for name, _ in model.named_modules()] == names


# ---- vocabularies and tokenizers


def larger(home, path):
    """An adapter for two more tokens than its base model has, which brings its embeddings along."""
    saves = ["embed_tokens", "lm_head"]
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=saves)
    adapted = save_adapter(path, lambda: config, home / "base", size=WORDS + 2)
    save_word_tokenizer(path, WORDS + 2)
    return adapted


def test_an_adapter_with_more_tokens_than_its_base_model(home, tmp_path):
    adapted = larger(home, tmp_path / "larger")
    ids = torch.tensor([[3, WORDS, 4, WORDS + 1, 9]])
    weights = ModelWeights(str(home / "base"), "float32", "cpu")
    with weights.using(read_adapter(str(tmp_path / "larger"))) as model, torch.no_grad():
        assert torch.allclose(model(input_ids=ids).logits, adapted(input_ids=ids).logits, atol=1e-5)
    with weights.using() as model:
        assert model.config.vocab_size == len(model.get_input_embeddings().weight) == WORDS
    flags = "--adapter", tmp_path / "larger", home / "lora", "--base-model", home / "base"
    assert infer(home, tmp_path, *flags) == 0


def test_an_adapter_that_lacks_the_embeddings_of_its_tokens_is_refused(home, tmp_path):
    larger(home, tmp_path / "larger")
    file = tmp_path / "larger" / "adapter_model.safetensors"
    save_file({name: weight for name, weight in load_file(file).items() if ".lm_head." not in name}, file)
    with pytest.raises(UserError, match="is for a vocabulary of 62 tokens, .*base has 60, .* lack the output embed"):
        generating(home / "base", tmp_path / "larger")


def test_the_tokenizer_is_the_adapters_if_it_has_one_else_the_base_models(home, tmp_path):
    shutil.copytree(home / "lora", tmp_path / "lora")
    source = model_source(None, str(tmp_path / "lora"))
    assert source.tokenizer == source.plain == str(home / "base")
    assert len(load_tokenizer(tmp_path / "lora")) == WORDS
    save_word_tokenizer(tmp_path / "lora", 20)
    assert model_source(None, str(tmp_path / "lora")).tokenizer == str(tmp_path / "lora")
    assert infer(home, tmp_path, "--adapter", tmp_path / "lora") == 2  # its words are others than stage 1's
    assert infer(home, tmp_path, "--adapter", tmp_path / "lora", "--token-path", home / "base") == 0


# ---- where the base model is


def test_the_base_model_is_looked_for_beside_the_adapter_then_where_one_works(home, tmp_path, monkeypatch):
    place = tmp_path / "place"
    shutil.copytree(home / "lora", place / "lora")
    monkeypatch.chdir(tmp_path)

    def base(name):
        write_json(place / "lora" / "adapter_config.json", read_json(home / "lora" / "adapter_config.json") | name)
        return model_source("place/lora", None).plain

    assert base({"base_model_name_or_path": "org/model"}) == "org/model"  # of the hub
    for directory in (tmp_path / "b", place / "lora" / "b", place / "b"):
        directory.mkdir()
        assert Path(base({"base_model_name_or_path": "b"})).resolve() == directory
    assert model_source("other", "place/lora").plain == "other"
    with pytest.raises(UserError, match="place/lora: .* names the base model ./gone, which is not there; name it"):
        base({"base_model_name_or_path": "./gone"})
    with pytest.raises(UserError, match="place/lora: .* does not say of which base model it is"):
        base({"base_model_name_or_path": None})


def test_adapters_of_different_base_models_are_refused(home, tmp_path):
    shutil.copytree(home / "lora", tmp_path / "lora")
    file = tmp_path / "lora" / "adapter_config.json"
    write_json(file, read_json(file) | {"base_model_name_or_path": str(home)})
    with pytest.raises(UserError, match="are of different base models"):
        model_sources(None, [str(home / "dora"), str(tmp_path / "lora")])


def test_names_of_adapters_tell_them_apart(home, tmp_path):
    for name in ("a/checkpoint-5", "b/checkpoint-5"):
        shutil.copytree(home / "lora", tmp_path / name)
    sources = model_sources(str(home / "base"), [str(tmp_path / "a/checkpoint-5"), str(tmp_path / "b/checkpoint-5")])
    assert adapter_labels(sources) == ["a-checkpoint-5", "b-checkpoint-5"]
    with pytest.raises(UserError, match="an adapter is named twice"):
        adapter_labels([sources[0], sources[0]])


def test_the_fingerprint_is_of_what_an_adapter_does_not_of_names(home, tmp_path):
    copy = shutil.copytree(home / "lora", tmp_path / "copy")
    of = read_json(copy / "adapter_config.json")
    same = of | {"base_model_name_or_path": "elsewhere", "target_modules": of["target_modules"][::-1]}
    write_json(copy / "adapter_config.json", same)
    assert model_fingerprint(copy) == model_fingerprint(home / "lora")
    write_json(copy / "adapter_config.json", of | {"lora_alpha": 9})
    assert model_fingerprint(copy) != model_fingerprint(home / "lora")


def test_an_adapter_of_an_encoder_decoder_model(tmp_path):
    save_t5(tmp_path / "t5", ["w1 w2 w3"] * 9)
    config = peft.LoraConfig(r=4, target_modules=["q", "v"], task_type="SEQ_2_SEQ_LM", init_lora_weights=False)
    base = T5ForConditionalGeneration.from_pretrained(tmp_path / "t5")
    adapted = peft.get_peft_model(base, config).eval()
    adapted.save_pretrained(tmp_path / "lora")
    inputs = {"input_ids": torch.tensor([[5, 4, 3]]), "decoder_input_ids": torch.tensor([[0, 7, 6, 5]])}
    weights = ModelWeights(str(tmp_path / "t5"), "float32", "cpu")
    with weights.using(read_adapter(str(tmp_path / "lora"))) as model, torch.no_grad():
        assert torch.allclose(model(**inputs).logits, adapted(**inputs).logits, atol=1e-5)
    with pytest.raises(UserError, match="is an adapter for SEQ_2_SEQ_LM, which .*base is not; name its own base model"):
        generating(save_base(tmp_path / "base"), tmp_path / "lora")
    write_json(tmp_path / "lora" / "adapter_config.json", {"task_type": "SEQ_2_SEQ_LM", "num_virtual_tokens": 3})
    with pytest.raises(UserError, match="is prompt tuning of an encoder-decoder model, which is not read here"):
        read_adapter(str(tmp_path / "lora"))


# ---- a model that was trained elsewhere


@pytest.mark.skipif(not CHAT.is_dir(), reason="is not part of the project")
def test_an_adapter_of_trl_says_the_same_merged_but_for_rounding():
    source = model_source(None, str(CHAT / "lora"))
    assert Path(source.plain) == CHAT / "base" and source.tokenizer == str(CHAT / "lora")
    tokenizer, probes = load_tokenizer(source.tokenizer), []
    for line in (CHAT / "train.jsonl").read_text().splitlines()[:12]:
        chat = json.loads(line)["messages"]
        at = next(number for number, message in enumerate(chat) if message["role"] == "assistant")
        asked = tokenizer.apply_chat_template(chat[:at], add_generation_prompt=True, return_dict=True)["input_ids"]
        answer = tokenizer(chat[at]["content"], add_special_tokens=False)["input_ids"]
        probes.append({"id": len(probes), "turn": 0, "prefix_ids": asked, "suffix_ids": answer})

    def measure(model):
        engine = TransformersEngine(model, [tokenizer.eos_token_id], DecodingSettings(30), 8)
        scores = engine.score(probes)
        rows = engine.generate([Prompt(probe, 0, score) for probe, score in zip(probes, scores, strict=True)])
        return np.concatenate([score.log_prob for score in scores]), rows

    weights = ModelWeights(source.plain, "float32", "cpu")
    with weights.using(source.adapter) as model:
        log_probs, tokens = measure(model)
    with weights.using() as model:
        assert np.abs(measure(model)[0] - log_probs).mean() > 0.5  # the base model
    base = AutoModelForCausalLM.from_pretrained(source.plain, dtype=torch.float32)
    merged, merged_tokens = measure(peft.PeftModel.from_pretrained(base, CHAT / "lora").merge_and_unload().eval())
    assert np.abs(merged - log_probs).max() < 1e-4 and merged_tokens == tokens


# ---- stage 2


def train(home, out, *flags):
    sets = [
        f"--{side}_file={home}/tokenized_dialogue_{name}" for side, name in (("train", "train"), ("validation", "test"))
    ]
    size = "--num_train_epochs", "2", "--per_device_train_batch_size", "7", "--learning_rate", "3e-3"
    run_clm.main(
        [*sets, *size, "--save_strategy", "steps", "--save_steps", "1", "--output_dir", str(out), *map(str, flags)]
    )


@pytest.fixture(scope="module")
def continued(home):
    """An adapter that stage 2 went on training: DoRA, whose weights no stage merges."""
    train(home, home / "continued", "--adapter", home / "dora")
    return home / "continued"


def test_stage_2_goes_on_training_an_adapter_and_nothing_else(home, continued, tmp_path):
    before, after = (load_file(path / "adapter_model.safetensors") for path in (home / "dora", continued))
    assert before.keys() == after.keys() and not any(torch.equal(before[name], after[name]) for name in before)
    assert not list(continued.glob("model*")) and model_source(None, str(continued)).plain == str(home / "base")
    losses = [row["train_loss"] for row in read_jsonl(continued / "losses.jsonl")]
    assert losses[-1] < losses[0]
    adapted = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(home / "base"), continued).eval()
    held_out = [row["input_ids"] for row in load_from_disk(str(home / "tokenized_dialogue_test"))]
    with torch.no_grad():
        rows = [torch.tensor([ids]) for ids in held_out]
        each = [adapted(input_ids=ids).logits[0, :-1].log_softmax(-1) for ids in rows]
    log_probs = torch.cat([scores.gather(1, ids[0, 1:, None]) for scores, ids in zip(each, rows, strict=True)])
    assert read_json(continued / "eval_results.json")["eval_loss"] == pytest.approx(-log_probs.mean().item(), rel=1e-5)


def test_a_run_that_continues_an_adapter_goes_on_after_a_kill_and_is_finished_once(home, continued, tmp_path, capsys):
    output = as_killed(continued, tmp_path / "killed", 2)
    train(home, output, "--adapter", home / "dora")
    for name in ("adapter_model.safetensors", "losses.jsonl"):
        assert (output / name).read_bytes() == (continued / name).read_bytes()
    capsys.readouterr()
    train(home, output, "--adapter", home / "dora")
    assert "this run is finished, nothing to train" in capsys.readouterr().out
    with pytest.raises(UserError, match="is of a run with another adapter"):
        train(home, output, "--adapter", home / "lora")


def test_stage_3_knows_what_an_adapter_of_stage_2_was_trained_on(home, continued, tmp_path):
    for name in (continued, continued / "checkpoint-2"):
        assert infer(home, tmp_path / name.name, "--model-path", name) == 0
        made_of = read_generations(result(tmp_path / name.name))[1].made_of
        assert made_of["trained_on"] == made_of["encoding"]
    save_base(tmp_path / "other", seed=9)
    with pytest.raises(UserError, match="continued: was trained on another base model than .*other; name that one"):
        identify(model_source(str(tmp_path / "other"), str(continued)))


def test_mistakes_of_stage_2_with_adapters_are_told(home, tmp_path):
    for flags, message in {
        ("--adapter", home / "prompt"): "prompt: is prompt tuning, which peft cannot go on training",
        ("--adapter", home / "dora", "--lora-rank", 2): "--lora-rank: leave it out; with --adapter it is that one",
        ("--model-name-or-path", home / "dora", "--lora-rank", 2): "--lora-rank: leave it out; .*dora is an adapter",
        ("--adapter", home / "dora", "--config-name", home / "base"): "name either a --model-name-or-path",
    }.items():
        with pytest.raises(UserError, match=message):
            train(home, tmp_path / "out", *flags)
    with pytest.raises(UserError, match="dora: holds the model to fine-tune"):
        train(home, home / "dora", "--adapter", home / "dora")
    assert not list(tmp_path.iterdir())


# ---- attention


def test_the_attention_study_reads_the_model_with_its_adapter(home, memorizing, tmp_path):
    options = dict.fromkeys(AttentionSettings.__dataclass_fields__) | {"batch_size": 4, "seed": 5}
    members, _ = measure_members(memorizing, None, None, None, AttentionSettings(**options), tmp_path / "rows.jsonl")
    adapted = peft.PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(home / "base"), home / "known").eval()
    model = adapted.get_base_model()
    model.set_attn_implementation("eager")
    asked = [probe for probe in Probes(home, "dialogue")[:] if probe["member"]]
    expected = attention_measures(model, asked, 0, NEW)
    assert np.allclose(members.values, expected, atol=1e-5)
    with adapted.disable_adapter():
        assert not np.allclose(members.values, attention_measures(model, asked, 0, NEW), atol=1e-2)
    study = "--generations", memorizing, "--output", tmp_path / "study"
    assert run_script("attention_analysis.py", *study, "--adapter", home / "ia3") == 2  # another model


# ---- what is wrong


def generating(base, adapter):
    with ModelWeights(str(base), "float32", "cpu").using(read_adapter(str(adapter))):
        pass


def without(name):
    def remove(path):
        for file in path.glob(name):
            file.unlink()

    return remove


def says(**changes):
    return lambda path: write_json(path / "adapter_config.json", read_json(path / "adapter_config.json") | changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("adapter_config.json"), "weights of an adapter without its adapter_config.json"),
        (without("adapter_model.safetensors"), "has an adapter_config.json and no adapter_model.safetensors, its weig"),
        (without("*"), "is an empty directory"),
        (damage("adapter_config.json", lambda data: data[:20]), "adapter_config.json is damaged: it is no valid JSON"),
        (
            damage("adapter_model.safetensors", lambda data: b"version https://git-lfs.github.com/spec/v1"),
            "is a pointer of Git LFS",
        ),
        (damage("adapter_model.safetensors", lambda data: data[:-9]), "is cut short"),
        (
            lambda path: (path / "model.safetensors").touch(),
            "an adapter .* beside a model.*move adapter_config.json away",
        ),
        (says(peft_type="PREFIX_TUNING"), "of the kind PREFIX_TUNING, which is not read here"),
        (says(alora_invocation_tokens=[1]), "of the kind activated LoRA, which is not read here"),
        (says(peft_type="NEW_KIND"), "was saved by a later peft .its peft_type is unknown"),
        (says(new_setting=3), "was saved by a later peft .its new_setting is unknown.*; pip install --upgrade peft"),
        (says(task_type="SEQ_CLS"), "is an adapter for SEQ_CLS, not of a language model"),
        (says(task_type="SEQ_2_SEQ_LM"), "is an adapter for SEQ_2_SEQ_LM, which .*base is not; name its own base"),
        (says(target_modules=["c_attn"]), "does not fit .*base: the layers that it adapts are not there"),
        (says(target_modules=["q_proj"]), r"has weights of other layers \(.*, \.\.\.\), so it is damaged or not of"),
        (says(target_modules=[*"q k v o gate up down".split()]), "does not fit"),
        (says(r=4), r"does not fit .*base: its weights are of other sizes \(.*lora_A"),
    ],
)
def test_what_is_no_adapter_of_the_model_is_one_line(home, tmp_path, change, message):
    path = edited(home / "lora", tmp_path / "lora", change)
    with pytest.raises(UserError) as refused:
        generating(home / "base", path)
    line = str(refused.value)
    assert line.startswith(str(path)) and re.search(message, line) and "\n" not in line, line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 32}, "its weights are of other sizes"),
        ({"num_hidden_layers": 1}, "has weights of other layers"),
        ({"num_hidden_layers": 3}, "lacks weights"),
    ],
)
def test_an_adapter_of_a_model_of_another_size_is_refused(home, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        generating(save_base(tmp_path / "base", **changes), home / "lora")


def test_an_adapter_of_a_causal_model_on_an_encoder_decoder_model_is_refused(home, tmp_path):
    save_t5(tmp_path / "t5", ["w1 w2 w3"] * 9)
    with pytest.raises(UserError, match="is an adapter for CAUSAL_LM, which .*t5 is not; name its own base model"):
        generating(tmp_path / "t5", home / "lora")


def test_an_adapter_that_changes_nothing_is_refused(home, tmp_path):
    save_adapter(tmp_path / "new", "lora", home / "base", scale=0)
    with pytest.raises(UserError, match="new: changes nothing of .*base: it was not trained, or is of another model"):
        generating(home / "base", tmp_path / "new")


def test_an_adapter_that_is_not_finite_is_refused(home, tmp_path):
    save_adapter(tmp_path / "nan", "lora", home / "base", scale=float("nan"))
    with pytest.raises(UserError, match="nan: holds weights that are NaN or infinite"):
        generating(home / "base", tmp_path / "nan")


def test_mistakes_of_names_are_one_line(home, tmp_path, capsys):
    for flags, message in {
        (): "--model-path is missing: name the model, or an adapter by --adapter",
        ("--adapter", tmp_path / "gone"): "gone: no such directory",
        ("--adapter", home / "base"): "has no adapter_config.json, so it is no adapter",
        ("--adapter", home / "lora", home / "lora"): "an adapter is named twice",
        ("--model-path", home / "dora", "--adapter", home / "lora"): "dora: holds an adapter .LoRA. of .* and no model",
        ("--adapter", home / "lora", "--base-model", home / "dora"): "dora: holds an adapter",
        ("--model-path", tmp_path / "gone", "--adapter", home / "lora"): "gone: no such directory.*of the adapter",
    }.items():
        assert infer(home, tmp_path, *flags) == 2
        assert re.search(message, one_line(capsys))
    assert not list(tmp_path.iterdir())


def test_without_peft_a_message_says_what_is_missing(home, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="is an adapter, which takes peft to read; pip install peft"):
        generating(home / "base", home / "lora")
