"""Small random models, made on the spot."""

import json
import shutil
from itertools import pairwise

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE, Unigram, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Metaspace, Whitespace
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizer,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoConfig,
    GPTNeoForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)

from memorization.models.hub import load_tokenizer
from memorization.store.files import read_json, write_json


def save_language_model(path, tokenizer, context=256, seed=0):
    """A random GPT-Neo of two layers and its tokenizer, in a directory."""
    tokenizer = load_tokenizer(tokenizer)
    torch.manual_seed(seed)
    model = GPTNeoForCausalLM(gpt_neo_config(len(tokenizer), tokenizer.eos_token_id, context))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def gpt_neo_config(vocabulary, eos, context=256):
    return GPTNeoConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_layers=2,
        attention_types=[[["global", "local"], 1]],
        num_heads=2,
        max_position_embeddings=context,
        bos_token_id=eos,
        eos_token_id=eos,
    )


def random_llama(vocabulary, eos, width=64, seed=0, **more):
    """A Llama of two layers with random weights. more: of its configuration."""
    torch.manual_seed(seed)
    tokens = {"vocab_size": vocabulary, "bos_token_id": eos, "eos_token_id": eos}
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(**tokens | sizes | more))


def save_memorizing_model(path, texts):
    """A Llama, made by hand, that goes on from each word as the texts do, and the tokenizer of their words.

    texts: of words w1, w2, ... that have one successor each.
    """
    successor = {}
    for text in texts:
        numbers = [int(word[1:]) for word in text.split()]
        successor |= dict(pairwise(numbers))
    size = max(*successor, *successor.values()) + 1
    tokenizer = save_word_tokenizer(path, size)
    shape = {"intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = random_llama(size, tokenizer.eos_token_id, width=192, **shape)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        words = torch.nn.functional.normalize(torch.randn(size, model.config.hidden_size))
        model.model.embed_tokens.weight.copy_(words)
        model.lm_head.weight.zero_()
        for word, following in successor.items():
            model.lm_head.weight[following] = 3 * words[word]
    model.save_pretrained(path)
    return path


def save_word_tokenizer(path, vocabulary, eos="<|endoftext|>"):
    """A tokenizer of the words <|endoftext|>, w1, w2, ... with the ids 0, 1, 2, ..., in a directory."""
    words = {"<|endoftext|>": 0} | {f"w{number}": number for number in range(1, vocabulary)}
    fast = Tokenizer(WordLevel(words, unk_token="<|endoftext|>"))
    fast.pre_tokenizer = Whitespace()
    special = dict.fromkeys(("eos_token", "bos_token", "pad_token"), eos)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, **special)
    tokenizer.save_pretrained(path)
    return tokenizer


def save_t5(path, texts, seed=0):
    """A random T5 of two layers and a tokenizer as T5's, trained on texts, in a directory."""
    trained = Tokenizer(Unigram())
    trained.pre_tokenizer = Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trained.train_from_iterator(
        texts, UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    pieces = [(piece, score) for piece, score in json.loads(trained.to_str())["model"]["vocab"]]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0)
    config = T5Config(
        vocab_size=len(tokenizer) + 4, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, dropout_rate=0.0
    )
    config.decoder_start_token_id = tokenizer.pad_token_id
    return _saved(path, T5ForConditionalGeneration, config, tokenizer, seed)


def save_bart(path, texts, context=128, seed=0):
    """A random BART of two layers and a tokenizer as BART's, trained on texts, in a directory."""
    trained = Tokenizer(BPE())
    trained.pre_tokenizer = ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = ByteLevel.alphabet()
    trained.train_from_iterator(
        texts, BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    model = json.loads(trained.to_str())["model"]
    tokenizer = BartTokenizer(vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]])
    layers = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in BART_SIZES.items()}
    config = BartConfig(vocab_size=len(tokenizer), d_model=64, max_position_embeddings=context, dropout=0.0, **layers)
    return _saved(path, BartForConditionalGeneration, config, tokenizer, seed)


BART_SIZES = {"layers": 2, "ffn_dim": 128, "attention_heads": 4}


def _saved(path, kind, config, tokenizer, seed):
    torch.manual_seed(seed)
    kind(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def save_paraphrase_classifier(path, tokenizer, labels=2):
    """A random pair classifier and its tokenizer, in a directory."""
    tokenizer = load_tokenizer(tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=130,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=labels,
    )
    RobertaForSequenceClassification(config).save_pretrained(path)
    tokenizer.model_max_length = 128
    tokenizer.save_pretrained(path)
    return path


def edited(source, target, change):
    """A copy of a directory, changed: by change(directory), or where a dict, by what it sets in its config.json."""
    shutil.copytree(source, target)
    if isinstance(change, dict):
        write_json(target / "config.json", read_json(target / "config.json") | change)
    else:
        change(target)
    return target


def weights(change):
    """An edit of a directory: change(dict of its weights), which may change, add or remove some."""

    def edit(directory):
        tensors = load_file(directory / "model.safetensors")
        change(tensors)
        save_file(tensors, directory / "model.safetensors", {"format": "pt"})

    return edit


def damage(file, change):
    """An edit of a directory: what change(bytes) makes of one file."""

    def edit(directory):
        (directory / file).write_bytes(change((directory / file).read_bytes()))

    return edit


def flipped(data, at):
    """The bytes with one bit flipped."""
    data = bytearray(data)
    data[at] ^= 1
    return bytes(data)


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 50}


MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=50)),
    "gpt-neo": lambda: GPTNeoForCausalLM(
        GPTNeoConfig(
            hidden_size=16, num_layers=2, attention_types=[[["global", "local"], 1]], num_heads=2, vocab_size=50
        )
    ),
    "gpt-neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(intermediate_size=32, **SMALL)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(intermediate_size=32, **SMALL)),
    "opt": lambda: OPTForCausalLM(OPTConfig(ffn_dim=32, word_embed_proj_dim=16, **SMALL)),
    "bloom": lambda: BloomForCausalLM(BloomConfig(hidden_size=16, n_layer=2, n_head=2, vocab_size=50)),
}


def make(name, vocabulary=None):
    """A model of a kind, its random scores far enough apart that tokens differ."""
    torch.manual_seed(3)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)
    if vocabulary:
        model.resize_token_embeddings(vocabulary)
    return model


def keeps_nothing(name):
    """A model whose forward knows no logits_to_keep, as some have it."""
    model = make(name)
    whole = model.forward

    def forward(input_ids, past_key_values=None, attention_mask=None, position_ids=None, use_cache=None, **_):
        return whole(input_ids, past_key_values, attention_mask, position_ids=position_ids, use_cache=use_cache)

    model.forward = forward
    return model


def refusing(model, most):
    """Lets a model run out of memory in batches of more rows than `most`."""

    def check(_, args, kwargs):
        if len(kwargs["input_ids"] if "input_ids" in kwargs else args[0]) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    model.register_forward_pre_hook(check, with_kwargs=True)
    return model
