"""Directories in which a model is looked for and something else lies: the cause is named, and what is advised helps."""

import re
import shlex
import shutil
import subprocess

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed import checkpoint
from transformers import GPTNeoForCausalLM, LlamaConfig, LlamaForCausalLM

from memorization.models.diagnosis import diagnosis
from memorization.models.hub import load_tokenizer
from memorization.models.loading import load_config, load_for_generation
from memorization.shell.cli import UserError
from memorization.store.files import read_json, write_json
from support.command_line import ROOT, one_line, run_script
from support.tiny_models import damage, edited, gpt_neo_config, save_language_model, save_word_tokenizer, weights

FILE = "model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
LOADERS = {
    "configuration": load_config,
    "weights": lambda path: load_for_generation(path, "auto", "cpu"),
    "tokenizer": load_tokenizer,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A whole model with its tokenizer."""
    path = tmp_path_factory.mktemp("models") / "model"
    tokenizer = save_word_tokenizer(path, 64)
    torch.manual_seed(0)
    GPTNeoForCausalLM(gpt_neo_config(64, tokenizer.eos_token_id)).save_pretrained(path)
    return path


def refusal(path, part):
    """What is said of a directory from which a part can't be loaded."""
    with pytest.raises(UserError) as refused:
        LOADERS[part](path)
    message = str(refused.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and "damaged or not" not in message, message
    return message.removeprefix(f"{path}: ")


def without(*patterns):
    def edit(directory):
        for pattern in patterns:
            for path in directory.glob(pattern):
                path.unlink()

    return edit


def holding(*names, keep=("config.json", "tokenizer*")):
    """An edit of a directory: these empty files and directories (with an end /) in place of what is there."""

    def edit(directory):
        kept = {path for pattern in keep for path in directory.glob(pattern)}
        for path in directory.iterdir():
            if path not in kept:
                path.unlink()
        for name in names:
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(exist_ok=True) if name.endswith("/") else path.write_bytes(b"")

    return edit


def both(*edits):
    return lambda directory: [edit(directory) for edit in edits]


def saved(value):
    """An edit of a directory: torch's file of a value in place of the weights."""

    def edit(directory):
        (directory / FILE).unlink()
        torch.save(value(load_file), directory / "pytorch_model.bin")

    return edit


def in_json(file, change):
    return lambda path: write_json(path / file, change(read_json(path / file)))


def sharded(path, directory):
    GPTNeoForCausalLM.from_pretrained(path).save_pretrained(directory, max_shard_size="40KB")
    return directory


def config_without(name):
    return in_json("config.json", lambda config: {key: value for key, value in config.items() if key != name})


NOTHING = holding(keep=())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (NOTHING, "is an empty directory; name one that holds a model$"),
        (holding("m.gguf", keep=()), r"is in the format GGUF \(m.gguf\), which is not read here; name the model that"),
        (holding("checkpoint-9/", "checkpoint-10/", "checkpoint-x/", keep=()), "name the newest, .*/checkpoint-10, or"),
        (holding("checkpoint-9/config.json", "checkpoint-10/", keep=()), "name the newest, .*/checkpoint-9, or"),
        (holding("blobs/", "refs/", "snapshots/", keep=()), "is a hub's cache; name the model itself, one of .*snapsh"),
        (holding("inner/config.json", "README.md", keep=()), "has no config.json, but .*/inner has; name that$"),
        (holding("params.json", "consolidated.00.pth", keep=()), r"is in its makers' own format \(params.json\)"),
        (holding("adapter_model.safetensors", keep=()), "weights of an adapter without its adapter_config.json"),
        (holding("global_step3/", "latest", "zero_to_fp32.py", keep=()), "a checkpoint of DeepSpeed and no whole"),
        (holding("mp_rank_00_model_states.pt", keep=()), "is a part of DeepSpeed's checkpoint .*; name "),
        (holding("pytorch_model_fsdp_0/__0_0.distcp", keep=()), "FSDP's parts.*add the config.json of its base model$"),
        (without("config.json"), "has no config.json, so it is no model; name the directory of one, or copy"),
        (damage("config.json", lambda data: POINTER), "config.json is a pointer of Git LFS.*; run git lfs pull in "),
        (damage("config.json", lambda data: data[:20]), "config.json is damaged: it is no valid JSON; copy or"),
        (damage("config.json", lambda data: b"[]"), "config.json is damaged: it holds no object; copy or"),
        (config_without("model_type"), "its config.json has no model_type, .*; copy the config.json of its base"),
        ({"model_type": "llama9"}, "transformers [0-9.]+ does not recognize its model_type 'llama9'; pip install -"),
        ({"model_type": ["llama"]}, r"recognize its model_type \['llama'\]"),
        (holding("adapter_config.json"), "holds an adapter.*does not say of which base model"),
        (lambda path: (path / "extra").symlink_to("gone"), "extra is a link to gone, which is not there; copy or"),
        (lambda path: write_json(path / "adapter_config.json", {}), "an adapter .* beside a model.*move adapter_"),
    ],
)  # fmt: skip
def test_a_directory_without_a_configuration_is_told_what_it_is(model, tmp_path, change, message):
    path = edited(model, tmp_path / "model", change)
    assert re.search(message, diagnosis(path, "configuration"))
    if "is a link" not in message:
        assert refusal(path, "configuration") == refusal(path, "weights") == diagnosis(path, "configuration")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without(FILE), "has a configuration and no weights; copy or download its model.safetensors too$"),
        (damage(FILE, lambda data: POINTER), "model.safetensors is a pointer of Git LFS.*; run git lfs pull in "),
        (damage(FILE, lambda data: data[: len(data) // 2]), "is cut short: [0-9]+ of its [0-9]+ bytes are here; copy"),
        (damage(FILE, lambda data: data[:-1]), "is cut short"),
        (damage(FILE, lambda data: data + b" "), "is damaged: it has [0-9]+ bytes, by its header [0-9]+; copy"),
        (damage(FILE, lambda data: data[:100]), "is cut short within its header"),
        (damage(FILE, lambda data: b""), "model.safetensors is empty; copy"),
        (damage(FILE, lambda data: b"<html>Not found</html>"), "does not begin as a safetensors file does"),
        (damage(FILE, lambda data: data[:8] + b"[" + data[9:]), "its header can't be read"),
        (holding("global_step3/", "zero_to_fp32.py"), "DeepSpeed.*: python (.*)/zero_to_fp32.py \\1 \\1$"),
        (holding("global_step3/"), "DeepSpeed.*: python -m deepspeed.utils.zero_to_fp32 "),
        (holding("pytorch_model_fsdp_0/__0_0.distcp"), "FSDP.*merge them: accelerate merge-weights (.*)/.*_0 \\1$"),
        (holding("__0_0.distcp", ".metadata"), "FSDP's parts.*accelerate merge-weights .*, name "),
        (holding("pytorch_model_fsdp.bin"), "as FSDP saves them; rename it to pytorch_model.bin"),
        (holding("checkpoint-5/", "checkpoint-20/"), "and no model of its own; name the newest, .*-20,"),
        (holding("model.Q4_K_M.gguf"), r"is in the format GGUF \(model.Q4_K_M.gguf\)"),
        (holding("tf_model.h5"), r"holds weights of TensorFlow alone \(tf_model.h5\); name a version"),
        (holding("flax_model.msgpack"), "holds weights of Flax alone"),
        (holding("model.onnx"), "holds weights of ONNX alone"),
        (holding("model.fp16.safetensors"), "if model.fp16.safetensors holds them, rename it to model.safetensors$"),
        (holding("consolidated.00.pth"), "if consolidated.00.pth holds them, rename it to pytorch_model.bin$"),
        (holding("adapter_model.bin"), r"holds the weights of an adapter alone \(adapter_model.bin\)"),
        (holding("training_args.bin", "optimizer.pt"), "if optimizer.pt holds them"),
        (holding("model-00001-of-000163.safetensors"), "lacks model.safetensors.index.json, which says what"),
        (saved(lambda load: [1, 2]), "pytorch_model.bin holds a list, not a dict of weights; save the model"),
        (saved(lambda load: {"epoch": 3}), "pytorch_model.bin holds a dict without weights"),
        (saved(lambda load: {"x": ROOT}), "pytorch_model.bin holds other Python objects than weights, which are not"),
        (both(saved(lambda load: {}), damage("pytorch_model.bin", lambda data: b"<html>")), "as a file of torch.save"),
        (
            both(saved(lambda load: {"x": torch.ones(9)}), damage("pytorch_model.bin", lambda data: data[:-30])),
            "pytorch_model.bin is cut short; copy",
        ),
    ],
)  # fmt: skip
def test_a_directory_without_whole_weights_is_told_what_it_is(model, tmp_path, change, message):
    path = edited(model, tmp_path / "model", change)
    assert load_config(path) and re.search(message, refusal(path, "weights"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("model-00002*"), "lacks model-00002-of-0000[0-9].safetensors, a file of its weights that model.saf"),
        (without("model-0000[12]*"), "lacks model-00001-of.* and 1 more of [0-9]+, a file of its weights"),
        (without("*.index.json"), "lacks model.safetensors.index.json, which says"),
        (damage("model.safetensors.index.json", lambda data: data[:50]), "index.json is damaged: it is no valid JSON"),
        (damage("model.safetensors.index.json", lambda data: b"{}"), "index.json is damaged: it names no files"),
        (
            lambda path: next(path.glob("model-00002*")).write_bytes(POINTER),
            "model-00002-of-.* is a pointer of Git LFS in place of the file itself",
        ),
        (
            lambda path: [damage(file.name, lambda data: data[:-9])(path) for file in path.glob("model-00002*")],
            "model-00002-of-.* is cut short",
        ),
        (
            both(
                lambda path: next(path.glob("model-00002*")).rename(path / "two.bin.safetensors"),
                damage("model.safetensors.index.json", lambda data: re.sub(rb"model-00002-of-\d+", b"two.bin", data)),
                damage("two.bin.safetensors", lambda data: data[:-9]),
            ),
            "two.bin.safetensors is cut short",
        ),
    ],
)
def test_half_a_download_of_several_files_is_told(model, tmp_path, change, message):
    path = sharded(model, edited(model, tmp_path / "whole", without(FILE)))
    assert LOADERS["weights"](path)
    assert re.search(message, refusal(edited(path, tmp_path / "model", change), "weights"))


def test_a_padding_token_beyond_the_vocabulary_is_told(tmp_path):
    """The embeddings can't be made, as of Llama 2 where a padding token was added to the configuration alone."""
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, **sizes))
    model.config.pad_token_id = 64
    model.save_pretrained(tmp_path / "model")
    assert "config.json pads with token 64, beyond its vocabulary of 64; set pad_token_id to null there" in refusal(
        tmp_path / "model", "weights"
    )
    write_json(
        tmp_path / "model" / "config.json", read_json(tmp_path / "model" / "config.json") | {"pad_token_id": None}
    )
    assert LOADERS["weights"](tmp_path / "model")


# ---- tokenizers


def pieces(content, config=None):
    """An edit of a directory: a vocabulary of sentencepiece or tiktoken in place of its tokenizer."""

    def edit(path):
        without("tokenizer*")(path)
        (path / "tokenizer.model").write_bytes(content)
        if config:
            write_json(path / "tokenizer_config.json", config)

    return edit


SENTENCEPIECE, TIKTOKEN = b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02", b"IQ== 0\nIg== 1\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (NOTHING, "is an empty directory"),
        (without("tokenizer*"), r"has no tokenizer \(no tokenizer.json or the like\); name a directory that has"),
        (without("*"), "is an empty directory"),
        (
            pieces(SENTENCEPIECE),
            "as tokenizer.model alone, which takes sentencepiece and protobuf to read; pip install ",
        ),
        (pieces(SENTENCEPIECE, {"tokenizer_class": "LlamaTokenizer"}), "takes sentencepiece and protobuf to read"),
        (pieces(TIKTOKEN), "as tokenizer.model alone, which takes tiktoken to read; pip install tiktoken, or add a"),
        (pieces(POINTER), "tokenizer.model is a pointer of Git LFS"),
        (damage("tokenizer.json", lambda data: POINTER), "tokenizer.json is a pointer of Git LFS"),
        (damage("tokenizer.json", lambda data: data[:99]), "tokenizer.json is damaged: it is no valid JSON"),
        (
            in_json("tokenizer.json", lambda facts: facts | {"model": {"type": "Later"}}),
            "tokenizer.json can't be read by tokenizers .*so it is of a later version, or damaged; pip install --up",
        ),
        (
            both(without("tokenizer.json"), lambda path: write_json(path / "vocab.json", {"a": 0})),
            "and no merges.txt, with",
        ),
        (holding("checkpoint-5/", keep=()), "holds checkpoints and no model of its own"),
        (holding("m.gguf", keep=()), "is in the format GGUF"),
    ],
)
def test_a_directory_without_a_tokenizer_is_told_what_it_is(model, tmp_path, change, message):
    assert re.search(message, refusal(edited(model, tmp_path / "model", change), "tokenizer"))


def test_where_else_a_tokenizer_can_be_named_is_told(model, tmp_path):
    bare = edited(model, tmp_path / "bare", without("tokenizer*"))
    with pytest.raises(UserError, match="bare: has no tokenizer .*; name a directory that has one by --flag, or copy"):
        load_tokenizer(bare, "--flag")
    inner = shutil.copytree(bare, edited(model, tmp_path / "out", without(FILE)) / "checkpoint-5")
    with pytest.raises(UserError, match=f"checkpoint-5: has no tokenizer .*; add --flag {tmp_path}/out, which has"):
        load_tokenizer(inner, "--flag")


# ---- remedies


def follow(command):
    """Do what a message advises at the shell; Python in this process."""
    for part in command.split("; then ")[0].split("; sed ") if "; sed " in command else [command.split("; then ")[0]]:
        words = shlex.split(part)
        if words[:2] == ["python", "-c"]:
            exec(words[2], {})
        elif words[0] == "accelerate":
            from accelerate.commands.merge import merge_command, merge_command_parser

            merge_command(merge_command_parser().parse_args(words[2:]))
        else:
            subprocess.run(["sed", *words], check=True)


def same_weights(path, other):
    one, two = (load_for_generation(each, "float32", "cpu").state_dict() for each in (path, other))
    return one.keys() == two.keys() and all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def renamed(rule):
    def change(tensors):
        for name in list(tensors):
            tensors[rule(name)] = tensors.pop(name)

    return change


@pytest.mark.parametrize("files", ["one", "several", "bin"])
@pytest.mark.parametrize(
    ("prefix", "rule"),
    [
        ("module.", lambda name: f"module.{name}"),
        ("_orig_mod.", lambda name: f"_orig_mod.{name}"),
        ("_orig_mod.", lambda name: re.sub(r"(h\.\d\.)", r"\1_orig_mod.", name)),
        ("base_model.model.", lambda name: f"base_model.model.{name}"),
        ("network.", lambda name: f"network.{name}"),  # as the attribute of a module of Lightning is called
    ],
)
def test_names_that_a_wrapper_left_are_told_and_the_advice_mends_them(model, tmp_path, files, prefix, rule):
    path = edited(model, tmp_path / "model", lambda path: None)
    if files == "several":
        sharded(model, edited(model, path / "more", without("*")))
        for file in (path / "more").glob("model*"):
            file.rename(path / file.name)
        shutil.rmtree(path / "more")
        (path / FILE).unlink()
        index = path / "model.safetensors.index.json"
        facts = read_json(index)
        facts["weight_map"] = {rule(name): file for name, file in facts["weight_map"].items()}
        write_json(index, facts)
    for file in path.glob("*.safetensors"):
        tensors = load_file(file)
        renamed(rule)(tensors)
        if files == "bin":
            file.unlink()
            torch.save(tensors, path / "pytorch_model.bin")
        else:
            save_file(tensors, file, {"format": "pt"})
    message = refusal(path, "weights")
    assert f"its weights have {prefix} in their names, which a wrapper (DDP, torch.compile, FSDP" in message
    follow(message.split("take it out: ")[1])
    assert same_weights(path, model)


def test_weights_within_an_entry_are_told_and_the_advice_mends_them(model, tmp_path):
    tensors = load_file(model / FILE)
    path = edited(model, tmp_path / "model", saved(lambda load: {"epoch": 3, "state_dict": tensors}))
    message = refusal(path, "weights")
    assert "pytorch_model.bin holds the weights within its entry 'state_dict'; save that alone in its place" in message
    follow(message.split("in its place: ")[1])
    assert same_weights(path, model)


def test_fsdp_parts_are_told_and_the_advice_mends_them(model, tmp_path):
    path = edited(model, tmp_path / "a model", without(FILE))
    parts = path / "pytorch_model_fsdp_0"
    checkpoint.save({"model": load_file(model / FILE)}, checkpoint_id=parts, no_dist=True)
    follow(refusal(path, "weights").split("merge them: ")[1])
    assert same_weights(path, model)
    assert f"{shlex.quote(str(path))}, name {path}" in diagnosis(parts, "configuration")


def test_an_adapter_is_told_and_the_advice_merges_it(model, tmp_path):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(
        GPTNeoForCausalLM.from_pretrained(model),
        peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False),
    )
    adapted.save_pretrained(tmp_path / "lora")
    torch.save(adapted.state_dict(), edited(model, tmp_path / "whole", without(FILE)) / "pytorch_model.bin")
    assert "holds weights with adapters beside them (lora_A, base_layer)" in refusal(tmp_path / "whole", "weights")
    message = refusal(tmp_path / "lora", "configuration")
    assert f"holds an adapter (LoRA) of {model} and no model; merge the two: python -c" in message
    assert message.endswith(f"then name {tmp_path}/lora-merged")
    assert load_tokenizer(tmp_path / "lora").get_vocab() == load_tokenizer(model).get_vocab()  # its base model's
    follow(message.split("merge the two: ")[1])
    merged = load_for_generation(tmp_path / "lora-merged", "auto", "cpu").state_dict()
    for name, tensor in adapted.merge_and_unload().state_dict().items():
        torch.testing.assert_close(merged[name], tensor)
    assert not same_weights(tmp_path / "lora-merged", model)


def test_a_base_model_that_is_named_from_where_the_adapter_lies_is_found(model, tmp_path, monkeypatch):
    peft = pytest.importorskip("peft")
    base = shutil.copytree(model, tmp_path / "home" / "base")
    config = peft.LoraConfig(r=2, target_modules="all-linear")
    peft.get_peft_model(GPTNeoForCausalLM.from_pretrained(base), config).save_pretrained(base.parent / "lora")
    file = base.parent / "lora" / "adapter_config.json"
    write_json(file, read_json(file) | {"base_model_name_or_path": "base"})
    monkeypatch.chdir(tmp_path)
    change, merge = refusal("home/lora", "configuration").split("merge the two: ")[1].split("; python")
    monkeypatch.chdir(change.removeprefix("cd "))
    follow(f"python{merge}")
    assert same_weights(base.parent / "lora-merged", model)


def test_empty_weights_beside_a_deepspeed_checkpoint_are_told(model, tmp_path):
    """ZeRO-3 saves a tensor of no elements in place of each weight unless it gathers them."""
    hollow = weights(lambda tensors: tensors.update({name: torch.empty(0) for name in tensors}))
    bin = saved(lambda load: {name: torch.empty(0) for name in load(model / FILE)})
    for change, file in ((hollow, FILE), (bin, "pytorch_model.bin")):
        path = edited(model, tmp_path / file, both(change, lambda path: (path / "global_step3").mkdir()))
        message = refusal(path, "weights")
        assert "checkpoint of DeepSpeed and no whole weights" in message
        assert message.endswith(f"remove {file} before, which holds none")


# ---- scripts


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoded")
    assert run_script("encode_dialogue.py", "--max-samples", "30", "--output-dir", path) == 0
    return save_language_model(path / "model", ROOT / "configs" / "gpt-neo-small").parent


def test_the_stages_name_the_flag_that_names_a_tokenizer(encoded, tmp_path, capsys):
    bare = edited(encoded / "model", tmp_path / "bare", without("tokenizer*"))
    generate = "--model-path", bare, "--tokenized-dir", encoded, "--output-dir", tmp_path
    assert run_script("inference_prefix.py", *generate) == 2
    assert (
        f"{bare}: has no tokenizer (no tokenizer.json or the like); name a directory that has one by --token-path, or"
        in one_line(capsys)
    )
    train = "--model-name-or-path", bare, "--train-file", encoded / "tokenized_dialogue_train"
    assert run_script("run_clm.py", *train, "--output-dir", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "name a directory that has one by --tokenizer-name, or copy" in message


def test_a_gguf_file_is_told(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    for load in LOADERS.values():
        with pytest.raises(UserError, match="m.gguf: is in the format GGUF"):
            load(tmp_path / "m.gguf")
