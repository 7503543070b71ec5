"""Loading models, and what differs between causal and encoder-decoder ones.

What can't be right, of which the libraries warn at most, is refused here.
"""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, set_seed

from memorization.models.diagnosis import diagnosis, wrapped
from memorization.models.hub import load
from memorization.shell.cli import UserError

# what a file may hold beyond the model: buffers of earlier versions, and the pooler that RoBERTa's classifiers lost
SURPLUS = re.compile(r"(^|\.)(masked_bias|inv_freq|position_ids|pooler\.dense\.\w+)$")


class Architecture(NamedTuple):
    """A kind of language model. what: it is called. auto: the transformers class that loads it. check: (model, name) ->
    None, raises UserError for a model that is none. ahead: by how many places its scores foretell the labels: 1 of a
    causal model; 0 where the decoder is given them shifted."""

    what: str
    auto: Any
    check: Callable
    ahead: int


def load_for_training(kind, name, tokenizer, seed, from_scratch=False):
    """The language model of an Architecture at a path or hub name, in 32-bit weights.

    from_scratch: take only the configuration, and as vocabulary and special tokens the tokenizer's; the weights are
    drawn from the seed. Raises UserError for what cannot be loaded or is no such model.
    """
    config = load_config(name)
    own = architecture_of(config)
    if own is not kind:
        raise UserError(f"{name}: a {config.model_type} is {own.what}, not {kind.what}; name one that is")
    set_seed(seed)
    if not from_scratch:
        if getattr(config, "quantization_config", None):
            raise UserError(f"{name}: its weights are quantized, so it can't be fine-tuned; name what it was made from")
        return load_model(kind.auto, name, kind.what, kind.check, dtype=torch.float32)
    config.vocab_size = 1 + max(tokenizer.get_vocab().values())  # its size is less where ids are left out
    start, end = (getattr(config, f"{name}_token_id", None) for name in ("decoder_start", "eos"))
    for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, token, getattr(tokenizer, token))
    if config.is_encoder_decoder:
        config.pad_token_id = config.eos_token_id if config.pad_token_id is None else config.pad_token_id
        begins_with_end = start is not None and start == end  # as BART's; T5's begins with padding
        config.decoder_start_token_id = config.eos_token_id if begins_with_end else config.pad_token_id

    def make(name, **_):
        model = kind.auto.from_config(config, dtype=torch.float32, trust_remote_code=False)
        kind.check(model, name)
        return model

    return load(make, name, kind.what)


def load_for_generation(name, dtype, device):
    """The language model at a path or hub name, of the kind that its configuration says, in evaluation mode.

    Raises UserError as load_for_training does.
    """
    kind = architecture_of(load_config(name))
    return load_model(kind.auto, name, kind.what, kind.check, device, dtype=dtype).eval()


def load_config(name):
    """The configuration of the model at a path or hub name. Raises UserError if it cannot be loaded."""
    if Path(name, "adapter_config.json").is_file():
        raise UserError(f"{name}: {diagnosis(name, 'configuration')}")
    return load(AutoConfig.from_pretrained, name, "a model configuration", "configuration", trust_remote_code=False)


def architecture_of(config):
    """The Architecture of the model of a configuration."""
    return ENCODER_DECODER if config.is_encoder_decoder else CAUSAL


def load_model(auto, name, what, check, device=None, **options):
    """The model of `auto`, a transformers Auto class, at a path or hub name; `what` it is called.

    check: (model, name) -> None, what else must hold. Raises UserError if it cannot be loaded, if its weights are not
    those of the model in name and shape (the missing would be random), or if one is no finite number.
    """

    def loader(name, **options):
        for file in Path(name).glob("pytorch_model*.bin"):
            _check_archive(file)
        model, found = auto.from_pretrained(name, output_loading_info=True, ignore_mismatched_sizes=True, **options)
        check_weights(model, found, name, what)
        check(model if device is None else model.to(device), name)
        return model

    return load(loader, name, what, "weights", trust_remote_code=False, **options)


def _check_archive(file):
    """Raise UserError for a .bin file of weights with a flipped byte: torch, which reads it, checks no sum."""
    try:
        whole = not zipfile.is_zipfile(file) or zipfile.ZipFile(file).testzip() is None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        whole = False
    if not whole:
        raise UserError(f"{file}: is damaged; copy or download it again")


def check_weights(model, found, name, what):
    buffers = tuple(buffer for buffer, _ in model.named_buffers())
    unfitting = {key for key, *_ in found["mismatched_keys"]}
    surplus = {key for key in found["unexpected_keys"] if not SURPLUS.search(key)}
    faults = {
        "lacks weights": found["missing_keys"] - unfitting,
        "has weights of other shapes": unfitting,
        "has weights of other layers": {key for key in surplus if not any(buffer.endswith(key) for buffer in buffers)},
    }
    if any(faults.values()) and Path(name).is_dir():
        cause = wrapped(name, faults["lacks weights"], surplus) or diagnosis(name, "weights")
        if cause:
            raise UserError(f"{name}: {cause}")
    for fault, keys in faults.items():
        if keys:
            shown = ", ".join(sorted(keys)[:2]) + (", ..." if len(keys) > 2 else "")
            raise UserError(f"{name}: {fault} ({shown}), so it is damaged or not {what}; name one that is whole")
    for weight, tensor in model.named_parameters():
        tensor = held_here(tensor)
        # two numbers of each, for want of memory to mark every one; a rank may hold none of it
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
            raise UserError(f"{name}: holds weights that are NaN or infinite ({weight}); name another model")


def held_here(weights):
    """Of a weight that lies in parts on many ranks (ZeRO-3, FSDP) this one's part, of another all; detached."""
    weights = getattr(weights, "ds_tensor", weights).detach()
    return weights.to_local() if hasattr(weights, "to_local") else weights


@torch.no_grad()  # inference mode would make what a model keeps of a pass unfit for training
def check_causal(model, name):
    """Raise UserError if the scores of a token depend on later tokens, as those of BERT and its kin do."""
    embeddings = model.get_input_embeddings().weight
    if not embeddings.numel():  # lies in parts on many devices (ZeRO-3)
        return
    ids = torch.arange(1, 5, device=model.device).repeat(2, 1) % len(embeddings)
    ids[1, -1] = 0
    training = model.training
    model.eval()
    one, other = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()
    model.train(training)
    change = (one - other).abs().amax(-1)
    if change[:-1].max() > min(1000 * torch.finfo(model.dtype).eps, 0.05) * change[-1]:
        raise UserError(
            f"{name}: its scores of a token depend on later tokens, so it is not {CAUSAL.what}; name one that is"
        )


def check_encoder_decoder(model, name):
    """Raise UserError if the decoder's input can't be made of what it is to say."""
    for token in ("decoder_start_token_id", "pad_token_id"):
        if getattr(model.config, token, None) is None:
            raise UserError(f"{name}: its configuration has no {token}, which the decoder needs; add it")
    if not hasattr(model, "prepare_decoder_input_ids_from_labels"):
        raise UserError(f"{name}: transformers can't shift the labels of a {model.config.model_type}; name T5 or BART")


def check_precision(config, precision, name):
    """Raise UserError for T5 in float16: its activations are beyond what that can hold, and the loss is NaN."""
    if precision == "fp16" and config.model_type in FLOAT16_FAILS:
        raise UserError(f"--fp16: {name} is of type {config.model_type}, whose loss is NaN in float16; take --bf16")


CAUSAL = Architecture("a causal language model", AutoModelForCausalLM, check_causal, 1)
ENCODER_DECODER = Architecture("an encoder-decoder model", AutoModelForSeq2SeqLM, check_encoder_decoder, 0)
FLOAT16_FAILS = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
