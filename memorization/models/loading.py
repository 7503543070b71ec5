"""Loading models, and what differs between causal and encoder-decoder ones.

Models that can't be right are refused here; the libraries only warn, or say nothing.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import align_module_device
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedModel, set_seed

from memorization.models.diagnosis import diagnosis, wrapped_weights
from memorization.models.hub import load
from memorization.models.ranks import rank_memory
from memorization.shell.cli import UserError

# what a file may hold beyond the model: buffers of earlier versions, and the pooler of RoBERTa's classifiers
SURPLUS = re.compile(r"(^|\.)(masked_bias|inv_freq|position_ids|pooler\.dense\.\w+)$")


class Architecture(NamedTuple):
    """An architecture of language models.

    what: its name in messages. auto: the transformers class that loads it. check: (model, name) -> None, raises
    UserError for a model of another one. ahead: by how many places its scores predict the labels: 1 for a causal
    model, 0 where the decoder reads them shifted.
    """

    what: str
    auto: Any
    check: Callable[[Any, str], None]
    ahead: int


def load_for_training(
    kind: Architecture, name: str, tokenizer: Any, seed: int, from_scratch: bool = False
) -> PreTrainedModel:
    """The language model of an Architecture at a path or hub name, in 32-bit weights.

    from_scratch: take only the configuration, and the vocabulary and special tokens of the tokenizer; the weights are
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
    start, end = getattr(config, "decoder_start_token_id", None), getattr(config, "eos_token_id", None)
    for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(config, token, getattr(tokenizer, token))
    if config.is_encoder_decoder:
        config.pad_token_id = config.eos_token_id if config.pad_token_id is None else config.pad_token_id
        begins_with_end = start is not None and start == end  # as BART's; T5's begins with padding
        config.decoder_start_token_id = config.eos_token_id if begins_with_end else config.pad_token_id

    def make(name: str, **_: Any) -> PreTrainedModel:
        model = kind.auto.from_config(config, dtype=torch.float32, trust_remote_code=False)
        kind.check(model, name)
        return model

    return load(make, name, kind.what)


def load_for_generation(name: str | Path, dtype: Any, device: Any) -> PreTrainedModel:
    """The language model at a path or hub name, of the architecture of its configuration, in evaluation mode.

    device: "auto" spreads it over the GPUs of this machine, and what they do not hold over its memory and disk, from
    where it comes layer by layer in each pass. Raises UserError as load_for_training does, and as rank_memory does.
    """
    kind = architecture_of(load_config(name))
    spread = {"max_memory": rank_memory()} if device == "auto" else {}
    return load_model(kind.auto, name, kind.what, kind.check, device, dtype=dtype, **spread).eval()


def load_config(name: str | Path) -> Any:
    """The configuration of the model at a path or hub name. Raises UserError if it cannot be loaded."""
    if Path(name, "adapter_config.json").is_file():
        raise UserError(f"{name}: {diagnosis(name, 'configuration')}")
    return load(AutoConfig.from_pretrained, name, "a model configuration", "configuration", trust_remote_code=False)


def architecture_of(config: Any) -> Architecture:
    """The Architecture of the model of a configuration."""
    return ENCODER_DECODER if config.is_encoder_decoder else CAUSAL


def load_model(
    auto: Any, name: str | Path, what: str, check: Callable[[Any, str], None], device: Any = None, **options: Any
) -> PreTrainedModel:
    """The model of `auto`, a transformers Auto class, at a path or hub name. what: its name in messages.

    Weights in safetensors go to a GPU one by one; on a CPU in their own precision they stay the file's, mapped into
    memory, which the processes of a machine share.

    device: None for the CPU, or as of load_for_generation. check: (model, name) -> None, raises UserError for what
    else must hold. Raises UserError if the model cannot be loaded, if its files lack weights or have others (the
    missing ones would be random), or if a weight is not finite.
    """

    if str(device).startswith("cpu"):
        device = "cpu"  # to torch cpu:0, as accelerate calls a rank's, is another device: all weights would be copied

    def loader(name: str, **options: Any) -> PreTrainedModel:
        for file in Path(name).glob("pytorch_model*.bin"):
            _check_archive(file)
        model, information = auto.from_pretrained(
            name, output_loading_info=True, ignore_mismatched_sizes=True, device_map=device, **options
        )
        check_weights(model, information, name, what)
        if device is not None and model.device.type == "meta":
            raise UserError(f"{name}: neither GPUs nor memory hold as much as its embeddings; take more of either")
        check(model, name)
        return model

    return load(loader, name, what, "weights", trust_remote_code=False, **options)


def _check_archive(file: Path) -> None:
    """Raise UserError for a damaged .bin file of weights: torch does not check its checksums."""
    try:
        whole = not zipfile.is_zipfile(file) or zipfile.ZipFile(file).testzip() is None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        whole = False
    if not whole:
        raise UserError(f"{file}: is damaged; copy or download it again")


def check_weights(model: PreTrainedModel, information: dict[str, Any], name: str, what: str) -> None:
    """Raise UserError if weights are missing, misshapen, of other layers or not finite.

    information: the loading information of transformers.
    """
    buffers = tuple(buffer for buffer, _ in model.named_buffers())
    unfitting = {key for key, *_ in information["mismatched_keys"]}
    surplus = {key for key in information["unexpected_keys"] if not SURPLUS.search(key)}
    faults = {
        "lacks weights": information["missing_keys"] - unfitting,
        "has weights of other shapes": unfitting,
        "has weights of other layers": {key for key in surplus if not any(buffer.endswith(key) for buffer in buffers)},
    }
    if any(faults.values()) and Path(name).is_dir():
        cause = wrapped_weights(name, faults["lacks weights"], surplus) or diagnosis(name, "weights")
        if cause:
            raise UserError(f"{name}: {cause}")
    for fault, keys in faults.items():
        if keys:
            shown = ", ".join(sorted(keys)[:2]) + (", ..." if len(keys) > 2 else "")
            raise UserError(f"{name}: {fault} ({shown}), so it is damaged or not {what}; name one that is whole")
    check_finite_weights(model, name)


def check_finite_weights(model: torch.nn.Module, name: str) -> None:
    """Raise UserError if a weight of a model is NaN or infinite."""
    for weight, tensor in weights_of(model):
        # its least and greatest number: a mask of all would take memory; a rank may hold none
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
            raise UserError(f"{name}: holds weights that are NaN or infinite ({weight}); name another model")


def weights_of(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, what is held_here) of each weight; one that lies elsewhere between passes is fetched for its turn."""
    for path, module in model.named_modules():
        with align_module_device(module):
            for name, weight in module.named_parameters(path, recurse=False):
                yield name, held_here(weight)


def held_here(weights: torch.Tensor) -> torch.Tensor:
    """This rank's part of a weight that is spread over ranks (ZeRO-3, FSDP), else the whole weight; detached."""
    weights = getattr(weights, "ds_tensor", weights).detach()
    return weights.to_local() if hasattr(weights, "to_local") else weights


@torch.no_grad()  # tensors that a model caches in inference mode could not be trained
def check_causal(model: Any, name: str) -> None:
    """Raise UserError if the scores of a token depend on later tokens, as those of BERT do."""
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


def check_encoder_decoder(model: Any, name: str) -> None:
    """Raise UserError if the decoder's input can't be made from the labels."""
    for token in ("decoder_start_token_id", "pad_token_id"):
        if getattr(model.config, token, None) is None:
            raise UserError(f"{name}: its configuration has no {token}, which the decoder needs; add it")
    if not hasattr(model, "prepare_decoder_input_ids_from_labels"):
        raise UserError(f"{name}: transformers can't shift the labels of a {model.config.model_type}; name T5 or BART")


def check_precision(config: Any, precision: str, name: str) -> None:
    """Raise UserError for T5 in float16: its activations overflow, and the loss is NaN."""
    if precision == "fp16" and config.model_type in FLOAT16_FAILS:
        raise UserError(f"--fp16: {name} is of type {config.model_type}, whose loss is NaN in float16; take --bf16")


CAUSAL = Architecture("a causal language model", AutoModelForCausalLM, check_causal, 1)
ENCODER_DECODER = Architecture("an encoder-decoder model", AutoModelForSeq2SeqLM, check_encoder_decoder, 0)
FLOAT16_FAILS = ("t5", "mt5", "umt5", "longt5", "switch_transformers")
