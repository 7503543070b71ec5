"""What is wrong with a directory that should hold a model or a tokenizer: the cause and the remedy in one clause.

The libraries say what they miss ("no file named model.safetensors"). People have a directory that holds
something else: a checkpoint of DeepSpeed or FSDP, an adapter, a GGUF file, pointers of Git LFS, half a download.
"""

import importlib.util
import json
import pickle
import re
import shlex
import zipfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from memorization.models.adapter_config import ADAPTER_CONFIG, VOCABULARIES, adapter_config, base_of

AGAIN = "copy or download it again"
POINTER = b"version https://git-lfs"
TOKENIZER_FILES = (*VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
WEIGHTS = ("model.safetensors", INDEXES[0], "pytorch_model.bin", INDEXES[1])  # transformers reads the first of them
SHARD = re.compile(r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)")
FOREIGN = {".h5": "TensorFlow", ".ckpt.index": "TensorFlow", ".msgpack": "Flax", ".onnx": "ONNX", ".ot": "Rust"}
LIKE_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_model.model")
LONGEST_HEADER = 100_000_000  # bytes: safetensors reads no longer one


def diagnosis(directory: str | Path, part: str, option: str | None = None) -> str | None:
    """Why a part of a model can't be loaded from a directory, and what helps, as "holds no ...; name ...".

    part: "configuration", "weights", "tokenizer" or "adapter". option: the flag that names a tokenizer elsewhere.
    Returns None if no known cause fits.
    """
    directory = Path(directory)
    names = sorted(path.name for path in directory.iterdir())
    if not names:
        return "is an empty directory; name one that holds a model"
    if broken := [name for name in names if not (directory / name).exists()]:
        return f"{broken[0]} is a link to {(directory / broken[0]).readlink()}, which is not there; {AGAIN}"
    if part == "tokenizer":
        return _of_tokenizer(directory, names, option)
    if part == "adapter":
        return _of_adapter(directory, names)
    return _of_configuration(directory, names) if part == "configuration" else _of_weights(directory, names)


# ---- configuration


def _of_configuration(directory, names):
    if "adapter_config.json" in names:
        return _adapter(directory)
    if "config.json" not in names:
        return _in_parts(directory, names) or _elsewhere(directory, names) or gguf(directory, names) or _own(names)
    if cause := _pointer(directory, ["config.json"]) or _no_object(directory, ["config.json"]):
        return cause
    config = json.loads((directory / "config.json").read_bytes())
    if "auto_map" in config:  # code of its own, of which the caller speaks
        return None
    if "model_type" not in config:
        return (
            "its config.json has no model_type, so nothing says what model it is; copy the config.json of its base "
            'model, or add that entry, as "model_type": "llama"'
        )
    from transformers import CONFIG_MAPPING

    if config["model_type"] not in [*CONFIG_MAPPING]:
        return (
            f"transformers {version('transformers')} does not recognize its model_type {config['model_type']!r}; pip "
            "install --upgrade transformers if the model is newer, or name another"
        )
    return None


def _of_adapter(directory, names):
    if ADAPTER_CONFIG not in names:
        if any(name.startswith("adapter_model") for name in names):
            return _own(names)
        return (
            _elsewhere(directory, names) or "has no adapter_config.json, so it is no adapter; name the directory of one"
        )
    if any(name in names for name in WEIGHTS):
        return _adapter(directory)
    if cause := _pointer(directory, [ADAPTER_CONFIG]) or _no_object(directory, [ADAPTER_CONFIG]):
        return cause
    files = [name for name in ("adapter_model.safetensors", "adapter_model.bin") if name in names][:1]
    if not files:
        return "has an adapter_config.json and no adapter_model.safetensors, its weights; copy or download that too"
    return _pointer(directory, files) or _cut(directory, files) or _objects(directory, files)


def _adapter(directory):
    if any((directory / name).is_file() for name in WEIGHTS):
        return (
            "holds an adapter (LoRA) beside a model, of which transformers would read the adapter; move "
            "adapter_config.json away if the adapter is merged, else move the adapter into a directory of its own"
        )
    base = base_of(directory)
    if base is None:
        return (
            "holds an adapter (LoRA) and no model, and its adapter_config.json does not say of which base model "
            "(base_model_name_or_path); add that, and merge the two with peft (merge_and_unload)"
        )
    config = adapter_config(directory)
    kind = "AutoPeftModelForSeq2SeqLM" if config.get("task_type") == "SEQ_2_SEQ_LM" else "AutoPeftModelForCausalLM"
    above, named, change = directory.resolve().parent, config["base_model_name_or_path"], ""
    if not Path(named).is_dir() and (above / named).is_dir():  # a name relative to where the adapter lies
        directory, change = above / directory.name, f"cd {shlex.quote(str(above))}; "
    merge = f"from peft import {kind} as M; M.from_pretrained({str(directory)!r}).merge_and_unload()"
    merge = change + _python(f"{merge}.save_pretrained({f'{directory}-merged'!r})")
    return f"holds an adapter (LoRA) of {named} and no model; merge the two: {merge}; then name {directory}-merged"


def _python(code):
    """The command at the shell that runs a line of Python without double quotes."""
    return f"python -c {shlex.quote(code)}" if set(code) & set('"$`\\!') else f'python -c "{code}"'


def _elsewhere(directory, names):
    """The message about a model that is in a directory below this one."""
    checkpoints = [name for name in names if re.fullmatch(r"checkpoint-\d+", name)]
    begun = [name for name in checkpoints if not any((directory / name).glob("*config.json"))]  # a kill left them so
    if checkpoints := [name for name in checkpoints if name not in begun] or begun:
        newest = directory / max(checkpoints, key=lambda name: int(name.removeprefix("checkpoint-")))
        return f"holds checkpoints and no model of its own; name the newest, {newest}, or another"
    if "snapshots" in names and "blobs" in names:
        return (
            f"is a hub's cache; name the model itself, one of {directory / 'snapshots'}/*, or by its name, "
            f"{directory.name.removeprefix('models--').replace('--', '/')}"
        )
    inner = [name for name in names if (directory / name / "config.json").is_file()]
    return f"has no config.json, but {directory / inner[0]} has; name that" if inner else None


def _own(names):
    if "params.json" in names:
        return (
            "is in its makers' own format (params.json), not in that of transformers; name the version of it that has "
            "a config.json"
        )
    if any(name.startswith("adapter_model") for name in names):
        return "holds the weights of an adapter without its adapter_config.json; copy that too, then merge it"
    return "has no config.json, so it is no model; name the directory of one, or copy its config.json"


# ---- weights


def _of_weights(directory, names):
    used = next((name for name in WEIGHTS if name in names), None)
    if used is None:
        cause = _indexless(names) or _in_parts(directory, names) or gguf(directory, names)
        return cause or _elsewhere(directory, names) or _others(names)
    files = [used]
    if used in INDEXES:
        if cause := _pointer(directory, files) or _no_object(directory, files):
            return cause
        files = json.loads((directory / used).read_bytes()).get("weight_map")
        files = sorted({str(file) for file in files.values()}) if isinstance(files, dict) else None
        if not files:
            return f"{used} is damaged: it names no files; {AGAIN}"
        if absent := [file for file in files if not (directory / file).is_file()]:
            more = f" and {len(absent) - 1} more of {len(files)}" if len(absent) > 1 else ""
            return f"lacks {absent[0]}{more}, a file of its weights that {used} names; copy or download the rest"
    if cause := _pointer(directory, files) or _cut(directory, files) or _objects(directory, files):
        return cause
    hollow = [name for name in files if _is_hollow(directory / name)]
    if hollow and (cause := _in_parts(directory, names)):
        return f"{cause}; remove {', '.join(hollow)} before, which holds none"
    return _padding(directory)


def _is_hollow(path):
    """Whether a file has weights of no elements, as ZeRO-3 leaves them in place of its parts."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, "np") as file:
            return any(0 in file.get_slice(name).get_shape() for name in file.keys())  # noqa: SIM118
    import torch

    weights = torch.load(path, map_location="meta", weights_only=True)
    return any(isinstance(value, torch.Tensor) and not value.numel() for value in weights.values())


def _in_parts(directory, names):
    """The message about weights that DeepSpeed and FSDP leave in parts."""
    place = shlex.quote(str(directory))
    script = f"{shlex.quote(str(directory / 'zero_to_fp32.py'))}"
    script = script if "zero_to_fp32.py" in names else "-m deepspeed.utils.zero_to_fp32"
    if any(re.fullmatch(r"global_step\d+", name) for name in names):
        return f"holds a checkpoint of DeepSpeed and no whole weights; make them: python {script} {place} {place}"
    if any(name.endswith(("_model_states.pt", "_optim_states.pt")) for name in names):
        above = directory.parent
        return f"is a part of DeepSpeed's checkpoint {above}; name {above}"
    parts = [name for name in names if re.fullmatch(r"pytorch_model_fsdp_\d+", name)]
    parts += [""] if any(name.endswith(".distcp") for name in names) else []
    parts += [name for name in names if name not in parts and list((directory / name).glob("*.distcp"))]
    if parts:
        to = directory if parts[0] else directory.parent
        merge = f"accelerate merge-weights {shlex.quote(str(directory / parts[0]))} {shlex.quote(str(to))}"
        needs = "" if (to / "config.json").is_file() else ", add the config.json of its base model"
        return (
            f"holds FSDP's parts and no whole weights; merge them: {merge}{needs}{'' if parts[0] else f', name {to}'}"
        )
    if "pytorch_model_fsdp.bin" in names:
        return "holds weights under the name pytorch_model_fsdp.bin, as FSDP saves them; rename it to pytorch_model.bin"
    return None


def _pointer(directory, names):
    for name in names:
        if _begins(directory / name, POINTER):
            return (
                f"{name} is a pointer of Git LFS in place of the file itself; run git lfs pull in {directory}, or "
                "download the file"
            )
    return None


def _begins(path, start):
    with suppress(OSError), path.open("rb") as file:
        return file.read(len(start)) == start
    return False


def _no_object(directory, names):
    """The message about the first of the JSON files that holds no object."""
    for name in names:
        if (directory / name).is_file():
            try:
                value = json.loads((directory / name).read_bytes())
            except (ValueError, RecursionError):
                return f"{name} is damaged: it is no valid JSON; {AGAIN}"
            if not isinstance(value, dict):
                return f"{name} is damaged: it holds no object; {AGAIN}"
    return None


def _indexless(names):
    """The message about weights in several files without their index."""
    if not (shards := list(filter(None, map(SHARD.fullmatch, names)))):
        return None
    index = f"{shards[0][1]}.{shards[0][2]}.index.json"
    return f"lacks {index}, which says what is in which file of its weights; copy or download the rest"


def _cut(directory, names):
    """The message about a file of weights that is cut short or damaged."""
    for name in names:
        path = directory / name
        size = path.stat().st_size
        if not size:
            return f"{name} is empty; {AGAIN}"
        if name.endswith(".bin"):
            if _begins(path, b"PK") and not zipfile.is_zipfile(path):  # what a zip file holds stands at its end
                return f"{name} is cut short; {AGAIN}"
            if not _begins(path, b"PK") and not _begins(path, b"\x80"):  # that, or a pickle, as torch once wrote
                return f"{name} is damaged: it does not begin as a file of torch.save does; {AGAIN}"
            continue
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not size >= 10 or not 2 <= length <= LONGEST_HEADER:
                return f"{name} is damaged: it does not begin as a safetensors file does; {AGAIN}"
            if 8 + length > size:
                return f"{name} is cut short within its header; {AGAIN}"
            header = file.read(length)
        try:
            ends = [tensor["data_offsets"][1] for key, tensor in json.loads(header).items() if key != "__metadata__"]
            whole = 8 + length + max(ends, default=0)
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            return f"{name} is damaged: its header can't be read; {AGAIN}"
        if size < whole:
            return f"{name} is cut short: {size} of its {whole} bytes are here; {AGAIN}"
        if size > whole:
            return f"{name} is damaged: it has {size} bytes, by its header {whole}; {AGAIN}"
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np"):
                pass
        except SafetensorError as error:
            return f"{name} is damaged ({str(error)[:100]}); {AGAIN}"
    return None


def _objects(directory, names):
    """The message about a .bin file that holds anything but a dict of weights."""
    for name in (name for name in names if name.endswith(".bin")):
        import torch

        path = directory / name
        try:
            content = torch.load(path, map_location="meta", weights_only=True)
        except pickle.UnpicklingError:
            return (
                f"{name} holds other Python objects than weights, which are not read, as they could run code of their "
                "own; save the model's state_dict() alone, or name one in safetensors"
            )
        except Exception:
            return f"{name} is damaged: torch can't read it; {AGAIN}"
        if not isinstance(content, dict):
            return (
                f"{name} holds a {type(content).__name__}, not a dict of weights; save the model's state_dict() in it"
            )
        if not _are_weights(content):
            if not (inner := [key for key, value in content.items() if _are_weights(value)]):
                return f"{name} holds a dict without weights; save the model's state_dict() in it"
            take = f"import torch; f = {str(path)!r}; torch.save(torch.load(f)[{inner[0]!r}], f)"
            return (
                f"{name} holds the weights within its entry {inner[0]!r}; save that alone in its place: {_python(take)}"
            )
    return None


def _are_weights(value):
    import torch

    return isinstance(value, dict) and any(isinstance(part, torch.Tensor) for part in value.values())


def _padding(directory):
    with suppress(ValueError, OSError, TypeError, AttributeError):
        config = json.loads((directory / "config.json").read_bytes())
        if config["pad_token_id"] >= config["vocab_size"]:
            return (
                f"its config.json pads with token {config['pad_token_id']}, beyond its vocabulary of "
                f"{config['vocab_size']}; set pad_token_id to null there"
            )
    return None


def gguf(directory: Path, names: list[str]) -> str | None:
    """The message about GGUF files among the names in a directory; None where there are none."""
    if not (files := [name for name in names if name.endswith(".gguf")]):
        return None
    convert = "".join(
        f"{auto}.from_pretrained({str(directory)!r}, gguf_file={files[0]!r}).save_pretrained({f'{directory}-hf'!r}); "
        for auto in ("AutoModelForCausalLM", "AutoTokenizer")
    )
    script = f"from transformers import AutoModelForCausalLM, AutoTokenizer; {convert[:-2]}"
    return (
        f"is in the format GGUF ({files[0]}), which is not read here; name the model that it was made from, or convert "
        f"it: pip install gguf; {_python(script)}; then name {directory}-hf"
    )


def _others(names):
    for name in names:
        if kind := next((kind for end, kind in FOREIGN.items() if name.endswith(end)), None):
            return f"holds weights of {kind} alone ({name}); name a version of the model in safetensors"
    if adapters := [name for name in names if name.startswith("adapter_model")]:
        return f"holds the weights of an adapter alone ({adapters[0]}), and no model; merge it into its base with peft"
    if others := [name for name in names if name.endswith(LIKE_WEIGHTS) and name != "training_args.bin"]:
        return (
            f"has no weights under a name that transformers reads; if {others[0]} holds them, rename it to "
            f"{'model.safetensors' if others[0].endswith('.safetensors') else 'pytorch_model.bin'}"
        )
    return "has a configuration and no weights; copy or download its model.safetensors too"


def wrapped_weights(directory: str | Path, missing: set[str], strange: set[str]) -> str | None:
    """The message about weights under the names that DDP, torch.compile and others give them, or None.

    missing: names of weights that the model has and its files lack; strange: the other way round.
    """
    if any(".lora_" in name or ".base_layer." in name for name in strange):
        return (
            "holds weights with adapters beside them (lora_A, base_layer), as peft has them in memory; save what its "
            "merge_and_unload() returns"
        )
    ends = {name[at.end() :] for name in missing for at in re.finditer(r"^|\.", name)}
    begins = {name.split(".")[0] for name in strange}  # one of all, if that makes the very names that are missing
    alike = len(begins) == 1 < len(strange) and {name.partition(".")[2] for name in strange} <= set(missing)
    for prefix in (*WRAPPERS, *(begins if alike else ())):
        within = re.compile(rf"(^|\.){re.escape(prefix)}\.")
        if any(within.search(name) and within.sub(r"\1", name) in ends for name in strange):
            begin = all(name.startswith(f"{prefix}.") for name in strange)
            return (
                f"its weights have {prefix}. in their names, which a wrapper (DDP, torch.compile, FSDP, Lightning ...) "
                f"left there; take it out: {_renaming(Path(directory), f'{prefix}.', begin)}"
            )
    return None


def _renaming(directory, part, begin):
    """The commands that take a part out of the names of all weights. begin: where they begin with it, else anywhere."""
    new = f"k.removeprefix({part!r})" if begin else f"k.replace({part!r}, '')"
    names = f"{{{new}: v for k, v in load(f).items()}}"
    if any(directory.glob("*.safetensors")):
        files, libraries = "*.safetensors", "from safetensors.torch import load_file as load, save_file"
        save = f"save_file({names}, f, {{'format': 'pt'}})"
    else:
        files, libraries, save = "pytorch_model*.bin", "from torch import load, save", f"save({names}, f)"
    loop = f"[{save} for f in glob.glob({str(directory / files)!r})]"
    commands = [_python(f"import glob; {libraries}; {loop}")]
    for index in INDEXES:
        if (directory / index).is_file():
            quote = '"' * begin
            edit = f"s/{quote}{re.escape(part)}/{quote}/"
            commands.append(f"sed -i {shlex.quote(edit)} {shlex.quote(str(directory / index))}")
    return "; ".join(commands)


# ---- tokenizer


def _of_tokenizer(directory, names, option):
    pieces = [name for name in names if name.endswith((".model", ".spm"))]
    if cause := _pointer(directory, [*TOKENIZER_FILES, *pieces]) or _no_object(
        directory, [name for name in TOKENIZER_FILES if name.endswith(".json")]
    ):
        return cause
    if "tokenizer.json" in names:
        return _unread(directory / "tokenizer.json")
    if "vocab.json" in names and "merges.txt" not in names and not pieces:
        return "has vocab.json and no merges.txt, without which it is no tokenizer; copy or download that too"
    if pieces and not any(name in names for name in VOCABULARIES):
        return _pieces(directory, pieces[0])
    if any(name in names for name in VOCABULARIES):
        return None
    cause = gguf(directory, names) or _elsewhere(directory, names)
    if cause or "adapter_config.json" in names:
        return cause or _adapter(directory)
    if (directory.parent / "tokenizer.json").is_file():
        where = f"{f'add {option}' if option else 'name'} {directory.parent}, which has"
        return f"has no tokenizer (no tokenizer.json or the like); {where}"
    where = (
        f"name a directory that has one by {option}, or copy" if option else "name a directory that has one, or copy"
    )
    return f"has no tokenizer (no tokenizer.json or the like); {where} tokenizer.json and tokenizer_config.json into it"


def _unread(path):
    from tokenizers import Tokenizer

    try:
        Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises this very class
        return (
            f"{path.name} can't be read by tokenizers {version('tokenizers')} ({error}), so it is of a later version, "
            "or damaged; pip install --upgrade tokenizers transformers, or download it again"
        )
    return None


def _pieces(directory, name):
    """The message about a vocabulary of sentencepiece or tiktoken without a tokenizer.json."""
    if _begins(directory / name, b"\n"):  # the first field of a message of protobuf
        needed = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
    else:  # lines of base64
        needed = {"tiktoken": "tiktoken"}
    missing = [package for package, module in needed.items() if not _is_installed(module)]
    if not missing:
        return None
    return (
        f"has its vocabulary as {name} alone, which takes {' and '.join(needed)} to read; pip install "
        f"{' '.join(missing)}, or add a tokenizer.json"
    )


def _is_installed(module):
    with suppress(ModuleNotFoundError):
        return importlib.util.find_spec(module) is not None
    return False
