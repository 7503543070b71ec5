"""Loading models: what is whole loads, in 32 bits for training; what can't be right is one line."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    GPTNeoForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)

from memorization.models.hub import load_tokenizer
from memorization.models.loading import (
    CAUSAL,
    ENCODER_DECODER,
    load_config,
    load_for_generation,
    load_for_training,
    weights_of,
)
from memorization.models.ranks import rank_memory
from memorization.shell.cli import UserError
from support.tiny_models import damage, edited, flipped, gpt_neo_config, save_word_tokenizer, weights

NORM = "transformer.h.1.ln_1.weight"
GPT2 = {"vocab_size": 64, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
BART = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in (("layers", 1), ("ffn_dim", 32))}
BART |= {"d_model": 32, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "vocab_size": 64}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 64}


@pytest.fixture(scope="module")
def neo(tmp_path_factory):
    """A whole model with tied embeddings, in safetensors."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "neo"
    GPTNeoForCausalLM(gpt_neo_config(64, 0)).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def bin(neo):
    """The same in torch's own format."""
    path = neo.with_name("bin")
    path.mkdir()
    shutil.copy(neo / "config.json", path)
    torch.save(GPTNeoForCausalLM.from_pretrained(neo).state_dict(), path / "pytorch_model.bin")
    return path


def generating(path):
    return load_for_generation(path, "auto", "cpu")


def refused(path, message):
    with pytest.raises(UserError) as error:
        generating(path)
    line = str(error.value)
    assert line.startswith(str(path)) and re.search(message, line) and "\n" not in line, line


# ---- where its weights lie


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])  # the latter is what accelerate calls that of a rank
def test_on_a_cpu_the_weights_are_the_files_own_pages(neo, device):
    """Which all processes of a machine share."""
    model = load_for_generation(neo, "auto", torch.device(device))
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    pages = [tuple(int(end, 16) for end in line[0].split("-")) for line in maps if str(neo) in line[-1]]
    for name, weight in model.named_parameters():
        assert any(begin <= weight.data_ptr() < end for begin, end in pages), name


def spread(monkeypatch, path, share, dtype="auto"):
    """The model, where memory is said to hold that share of its files."""
    size = sum(file.stat().st_size for file in path.iterdir())
    monkeypatch.setattr("memorization.models.loading.rank_memory", lambda: {"cpu": int(share * size)})
    return load_for_generation(path, dtype, "auto")


@pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
def test_what_memory_does_not_hold_comes_from_disk_in_each_pass(neo, monkeypatch, dtype):
    ids = torch.arange(40).reshape(2, 20)
    whole, parts = load_for_generation(neo, dtype, "cpu"), spread(monkeypatch, neo, 0.9, dtype)
    assert {weight.device.type for weight in parts.parameters()} == {"cpu", "meta"}
    assert torch.equal(whole(input_ids=ids).logits, parts(input_ids=ids).logits)
    flags = {"max_new_tokens": 8, "do_sample": False}
    assert torch.equal(whole.generate(ids, **flags), parts.generate(ids, **flags))
    assert [name for name, _ in weights_of(whole)] == [name for name, _ in weights_of(parts)]
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(*map(weights_of, (whole, parts)), strict=True))


def test_weights_on_disk_are_looked_at_too(neo, tmp_path, monkeypatch):
    def spoil(tensors):
        tensors[NORM][3] = torch.nan

    with pytest.raises(UserError, match=f"holds weights that are NaN or infinite .{NORM}"):
        spread(monkeypatch, edited(neo, tmp_path / "nan", weights(spoil)), 0.9)
    with pytest.raises(UserError, match="neither GPUs nor memory hold as much as its embeddings; take more"):
        spread(monkeypatch, neo, 0.01)


def test_the_ranks_of_a_machine_share_its_gpus(monkeypatch):
    memory = {0: 100, 1: 200, 2: 300, 3: 400, "cpu": 500}
    monkeypatch.setattr("accelerate.utils.get_max_memory", lambda: dict(memory))
    assert rank_memory() is None
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert rank_memory() == {0: 90, 1: 0, 2: 270, 3: 0, "cpu": 500}
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert rank_memory() == {0: 0, 1: 180, 2: 0, 3: 360, "cpu": 500}
    del memory[3]
    with pytest.raises(UserError, match="--device-map: 2 processes can't share 3 GPUs evenly"):
        rank_memory()


# ---- what is whole


def old_buffers(tensors):
    for layer in range(2):
        tensors[f"transformer.h.{layer}.attn.attention.bias"] = torch.ones(1, 1, 256, 256)
        tensors[f"transformer.h.{layer}.attn.attention.masked_bias"] = torch.tensor(-1e9)


def no_prefix(tensors):
    for name in list(tensors):
        tensors[name.removeprefix("transformer.")] = tensors.pop(name)


@pytest.mark.parametrize("change", [old_buffers, no_prefix])
def test_a_file_of_an_earlier_version_is_taken(neo, tmp_path, change):
    model = generating(edited(neo, tmp_path / "old", weights(change)))
    for name, tensor in generating(neo).state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)


@pytest.mark.parametrize(
    "model",
    [
        lambda: GPT2LMHeadModel(GPT2Config(**GPT2)),
        lambda: GPT2Model(GPT2Config(**GPT2)),  # its head is tied to the embeddings
        lambda: LlamaForCausalLM(LlamaConfig(**SMALL)),
        lambda: BloomForCausalLM(BloomConfig(vocab_size=64, hidden_size=32, n_layer=2, n_head=2)),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_causal_language_models_of_any_kind_are_taken(tmp_path, model, dtype):
    torch.manual_seed(0)
    model().to(dtype).save_pretrained(tmp_path / "model")
    loaded = generating(tmp_path / "model")
    assert loaded.dtype == dtype and not loaded.training


def test_training_takes_32_bits_of_a_half_precision_checkpoint(neo, tmp_path):
    half = GPTNeoForCausalLM.from_pretrained(neo, dtype=torch.float16)
    half.save_pretrained(tmp_path / "half")
    model = load_for_training(CAUSAL, tmp_path / "half", None, 5)
    assert model.dtype == torch.float32
    assert torch.equal(model.state_dict()[NORM], half.state_dict()[NORM].float())


def test_a_model_from_scratch_has_the_tokenizers_vocabulary_and_special_tokens(neo, tmp_path):
    tokenizer = save_word_tokenizer(tmp_path / "tokenizer", 50, eos="w7")
    tokenizer.pad_token = "w3"
    config = load_for_training(CAUSAL, neo, tokenizer, 5, from_scratch=True).config
    assert (config.vocab_size, config.bos_token_id, config.eos_token_id, config.pad_token_id) == (50, 7, 7, 3)
    one, same, other = (load_for_training(CAUSAL, neo, tokenizer, seed, from_scratch=True) for seed in (5, 5, 6))
    embeddings = [model.get_input_embeddings().weight for model in (one, same, other)]
    assert embeddings[0].dtype == torch.float32
    assert torch.equal(*embeddings[:2]) and not torch.equal(*embeddings[1:])


def test_the_vocabulary_from_scratch_holds_the_greatest_id_where_ids_are_left_out(neo, tmp_path):
    fast = Tokenizer(WordLevel({"<|endoftext|>": 0, "w1": 1, "w9": 9}, unk_token="<|endoftext|>"))
    PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<|endoftext|>").save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert (len(tokenizer), tokenizer.convert_tokens_to_ids("w9")) == (3, 9)
    assert load_for_training(CAUSAL, neo, tokenizer, 5, from_scratch=True).config.vocab_size == 10


def test_training_starts_in_the_mode_of_the_loaded_model(neo):
    """Whether dropout is on is the Trainer's to say: looking at a model leaves it as it was."""
    assert not load_for_training(CAUSAL, neo, None, 5).training
    assert load_for_training(CAUSAL, neo, save_word_tokenizer(neo.with_name("t"), 64), 5, from_scratch=True).training


# ---- what is not


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop(NORM), rf"lacks weights \({NORM}\)"),
        (lambda tensors: tensors.update({NORM: torch.ones(31)}), rf"weights of other shapes \({NORM}\)"),
        (lambda tensors: tensors.update({"transformer.h.2.ln_1.weight": torch.ones(32)}), r"other layers \(.*h\.2"),
        (lambda tensors: tensors[NORM].fill_(float("nan")), rf"NaN or infinite \({NORM}\)"),
        (lambda tensors: tensors[NORM][3:4].fill_(float("inf")), "NaN or infinite"),
        (lambda tensors: tensors[NORM][3:4].fill_(float("-inf")), "NaN or infinite"),
    ],
)
def test_weights_that_are_not_the_models_are_refused(neo, tmp_path, change, message):
    refused(edited(neo, tmp_path / "model", weights(change)), message)
    with pytest.raises(UserError, match=message):
        load_for_training(CAUSAL, tmp_path / "model", None, 5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: BertForMaskedLM(BertConfig(**SMALL)), "depend on later tokens, so it is not a causal"),
        (lambda: RobertaForMaskedLM(RobertaConfig(**SMALL)), "depend on later tokens"),
        (lambda: GPT2ForSequenceClassification(GPT2Config(**GPT2)), r"weights of other layers \(score.weight\)"),
    ],
)
def test_models_of_another_kind_are_refused(tmp_path, model, message):
    torch.manual_seed(0)
    model().save_pretrained(tmp_path / "model")
    refused(tmp_path / "model", message)


@pytest.mark.parametrize(
    "model",
    [
        lambda: T5ForConditionalGeneration(T5Config(**T5, decoder_start_token_id=0)),
        lambda: BartForConditionalGeneration(BartConfig(**BART)),
    ],
)
def test_a_kind_of_model_is_not_trained_as_the_other(neo, tmp_path, model):
    model().save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="model: a .* is an encoder-decoder model, not a causal language model"):
        load_for_training(CAUSAL, tmp_path / "model", None, 5)
    assert load_for_training(ENCODER_DECODER, tmp_path / "model", None, 5).config.is_encoder_decoder
    with pytest.raises(UserError, match="neo: a gpt_neo is a causal language model, not an encoder-decoder model"):
        load_for_training(ENCODER_DECODER, neo, None, 5)


def test_a_decoder_that_is_not_told_where_to_start_is_refused(tmp_path):
    T5ForConditionalGeneration(T5Config(**T5)).save_pretrained(tmp_path / "model")
    refused(tmp_path / "model", "its configuration has no decoder_start_token_id, which the decoder needs; add it")


def test_an_encoder_is_not_trained_from_scratch(tmp_path):
    BertConfig(**SMALL).save_pretrained(tmp_path / "bert")
    tokenizer = save_word_tokenizer(tmp_path / "bert", 64)
    with pytest.raises(UserError, match="bert: its scores of a token depend on later tokens"):
        load_for_training(CAUSAL, tmp_path / "bert", tokenizer, 5, from_scratch=True)


def test_quantized_weights_are_not_trained(neo, tmp_path):
    edited(neo, tmp_path / "model", {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    with pytest.raises(UserError, match="model: its weights are quantized, so it can't be fine-tuned"):
        load_for_training(CAUSAL, tmp_path / "model", None, 5)


def layers(number):
    types = ["global", "local", "global"][:number]
    return {"num_layers": number, "attention_types": [[types, 1]], "attention_layers": types}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": "64"}, "'vocab_size' expected int"),
        ({"vocab_size": -1}, "negative"),
        ({"vocab_size": 63}, r"weights of other shapes \(transformer.wte.weight\)"),
        ({"hidden_size": None}, "'hidden_size' expected int"),
        ({"num_heads": 0}, "zero"),
        (layers(3), "lacks weights .*h.2"),
        (layers(1), "weights of other layers .*h.1"),
        ({"max_position_embeddings": "x"}, "'max_position_embeddings' expected int"),
        ({"max_position_embeddings": 1}, "shapes"),
        ({"tie_word_embeddings": False}, r"lacks weights \(lm_head.weight\)"),
        ({"model_type": 5}, "does not recognize"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "a library is missing .*install it"),
        ({"quantization_config": 3}, "damaged"),
        ({"model_type": "own", "auto_map": {"AutoConfig": "a.C"}}, "code of its own, which is not run here"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(neo, tmp_path, change, message):
    refused(edited(neo, tmp_path / "model", change), message)


HURT = {
    "cut": lambda data: data[: len(data) // 2],
    "stump": lambda data: data[:20],
    "empty": lambda data: b"",
    "a list": lambda data: b"[]",
    "not UTF-8": lambda data: data[:12] + b"\xff" + data[13:],
}


@pytest.mark.parametrize("how", HURT)
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_file_is_refused(neo, tmp_path, file, how):
    refused(edited(neo, tmp_path / "model", damage(file, HURT[how])), f"{file} is (damaged|cut short|empty)")
    if file == "config.json":
        with pytest.raises(UserError, match="config.json is damaged"):
            load_config(tmp_path / "model")


@pytest.mark.parametrize("how", ["cut", "stump", "empty", "a list"])
def test_a_damaged_bin_file_is_refused(bin, tmp_path, how):
    assert generating(bin)
    refused(edited(bin, tmp_path / "model", damage("pytorch_model.bin", HURT[how])), "bin is (damaged|cut short|empty)")


def test_a_flipped_bit_of_a_bin_file_is_seen(bin, tmp_path):
    """Torch checks no sum of its own format; nothing else would see it."""
    weight = generating(bin).get_input_embeddings().weight.detach().numpy().tobytes()
    start = (bin / "pytorch_model.bin").read_bytes().index(weight)
    edited(bin, tmp_path / "model", damage("pytorch_model.bin", lambda data: flipped(data, start + 100)))
    with pytest.raises(UserError, match="pytorch_model.bin: is damaged; copy or download it again"):
        generating(tmp_path / "model")


def test_a_flipped_bit_of_a_safetensors_header_never_passes(neo, tmp_path):
    header = int.from_bytes((neo / "model.safetensors").read_bytes()[:8], "little")
    for at in range(0, 8 + header, header // 30):
        edited(neo, tmp_path / str(at), damage("model.safetensors", lambda data, at=at: flipped(data, at)))
        with pytest.raises(UserError, match="damaged"):
            generating(tmp_path / str(at))


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: None, None),
        (lambda path: next(path.glob("model-00002*")).unlink(), "lacks model-00002.*, a file of its weights that"),
        (lambda path: (path / INDEX).unlink(), "lacks model.safetensors.index.json"),
        (damage(INDEX, lambda data: data[: len(data) // 2]), f"{INDEX} is damaged: it is no valid JSON"),
        (damage(INDEX, lambda data: b"[]"), f"{INDEX} is damaged: it holds no object"),
    ],
)
def test_weights_in_several_files_are_all_there_or_refused(neo, tmp_path, change, message):
    GPTNeoForCausalLM.from_pretrained(neo).save_pretrained(tmp_path / "whole", max_shard_size="40KB")
    path = edited(tmp_path / "whole", tmp_path / "model", change)
    if message:
        refused(path, message)
    else:
        assert torch.equal(generating(path).state_dict()[NORM], generating(neo).state_dict()[NORM])


def test_want_of_memory_is_not_called_damage(neo, tmp_path):
    """A petabyte of embeddings, which the allocator refuses."""
    edited(neo, tmp_path / "model", {"max_position_embeddings": 2**43})
    tokenizer = save_word_tokenizer(tmp_path / "tokenizer", 64)
    with pytest.raises(RuntimeError, match="memory"):
        load_for_training(CAUSAL, tmp_path / "model", tokenizer, 5, from_scratch=True)
