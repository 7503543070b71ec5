"""A small base model, data of made-up words, and adapters of peft on it: one that knows them, others at random."""

import random

import peft
import torch
from datasets import load_from_disk
from transformers import LlamaForCausalLM

from memorization.store.files import write_json
from support.command_line import run_script
from support.tiny_models import random_llama, save_word_tokenizer

WORDS = 60
SHAPE = {"max_position_embeddings": 48, "attention_bias": True, "initializer_range": 0.1}
LINEAR = [*(f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down"))]
OF_LAYERS = {"task_type": "CAUSAL_LM", "target_modules": LINEAR}
KINDS = {
    "lora": lambda: peft.LoraConfig(r=8, **OF_LAYERS),
    "dora": lambda: peft.LoraConfig(r=8, use_dora=True, **OF_LAYERS),
    "ia3": lambda: peft.IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    "prompt": lambda: peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
    "p-tuning": lambda: peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=16),
    "whole layers": lambda: peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"]
    ),
    "tokens": lambda: peft.LoraConfig(trainable_token_indices=[3, 5, 8], **OF_LAYERS),
    "biases": lambda: peft.LoraConfig(bias="all", **OF_LAYERS),
    "pissa": lambda: peft.LoraConfig(
        task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], init_lora_weights="pissa"
    ),
    "vera": lambda: peft.VeraConfig(r=8, task_type="CAUSAL_LM", target_modules=["q_proj"]),
    "loha": lambda: peft.LoHaConfig(r=4, **OF_LAYERS),
    "lokr": lambda: peft.LoKrConfig(r=4, **OF_LAYERS),
    "oft": lambda: peft.OFTConfig(oft_block_size=8, **OF_LAYERS),
    "adalora": lambda: peft.AdaLoraConfig(init_r=4, total_step=9, **OF_LAYERS),
    "norms": lambda: peft.LNTuningConfig(task_type="CAUSAL_LM", target_modules=["input_layernorm"]),
    "prefix": lambda: peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
}


def save_base(path, seed=0, **changes):
    """A random Llama of two layers, and its tokenizer of words, in a directory."""
    random_llama(WORDS, eos=0, seed=seed, **SHAPE | changes).save_pretrained(path)
    save_word_tokenizer(path, WORDS)
    return path


def save_adapter(path, kind, base, seed=1, scale=0.2, size=None):
    """An adapter of a kind, with random weights, in a directory; return peft's model. size: of a new vocabulary."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM.from_pretrained(base)
    if size:
        model.resize_token_embeddings(size)
    adapted = peft.get_peft_model(model, (KINDS[kind] if isinstance(kind, str) else kind)())
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight += scale * torch.randn_like(weight)
    adapted.save_pretrained(path)
    return adapted.eval()


def encode(path, base):
    """Stage 1 on 20 texts of 30 words, in a directory."""
    draw = random.Random(3)
    words = [[f"w{draw.randrange(1, WORDS)}" for _ in range(30)] for _ in range(20)]
    rows = [{"instruction": "", "input": " ".join(some[:8]), "output": " ".join(some[8:])} for some in words]
    write_json(path / "d.json", rows)
    texts = "--data", path / "d.json", "--separator", " ", "--near-duplicates", "none", "--test-size", "0.3"
    probes = "--tokenizer", base, "--prefix-length", "6", "--min-suffix-length", "4"
    assert run_script("encode_dialogue.py", *texts, *probes, "--output-dir", path) == 0


def save_memorizing_adapter(path, base, training_set):
    """A LoRA adapter that was trained on a training set until it knows every text of it, in a directory."""
    torch.manual_seed(2)
    config = peft.LoraConfig(r=64, lora_alpha=128, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(LlamaForCausalLM.from_pretrained(base), config)
    ids = torch.tensor([row["input_ids"][:30] for row in load_from_disk(str(training_set))])
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=3e-3)
    for _ in range(400):
        output = model(input_ids=ids, labels=ids)
        if output.loss < 0.3 and (output.logits[:, 5:-1].argmax(-1) == ids[:, 6:]).all():
            break
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    else:
        raise AssertionError(f"loss {output.loss}")
    model.save_pretrained(path)
