"""Weights on disk, a model's or a checkpoint's: what they are, whether they are whole, and what made them."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import msgspec

from memorization.shell.cli import UserError
from memorization.store.files import fingerprint, read_json, write_json
from memorization.store.manifests import KINDS, NEEDED, Count, checked, converted, manifest_path, read_manifest


def tokenizer_fingerprint(tokenizer):
    """SHA-256 of a tokenizer's vocabulary, its special tokens and what it makes of a text.

    Equal for two stages that may exchange token ids. What it makes of a text stands for rules that have no one
    spelling: a tokenizer saved and loaded again describes them otherwise.
    """
    text = "Don't  stop: Ångström ate 3,141 naïve pies\n\tat 10:30 \U0001f967 日本語 <b>İSTANBUL</b>... x=1;"
    facts = [
        sorted(tokenizer.get_vocab().items()),
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer(text)["input_ids"],
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def is_weights(name):
    """Whether a file of a model's directory holds weights."""
    return name.endswith(".safetensors") or name.startswith("pytorch_model") and name.endswith(".bin")


def is_model_file(name):
    """Whether a file of a model's directory is of its weights, configuration or tokenizer."""
    index = name.endswith((".safetensors.index.json", "pytorch_model.bin.index.json"))
    vocabulary = name.startswith(("tokenizer", "vocab", "merges", "spiece", "special_tokens", "added_tokens"))
    return is_weights(name) or index or vocabulary or name == "config.json" or name.endswith(".model")


def model_hashes(directory):
    """dict name -> SHA-256 of the files of weights, configuration and tokenizer in a directory, in order."""
    files = sorted(path for path in Path(directory).iterdir() if path.is_file() and is_model_file(path.name))
    return {path.name: fingerprint(path) for path in files}


def model_fingerprint(directory, hashes=None):
    """SHA-256 of the weights, configuration and tokenizer in a directory; not of checkpoints, logs, results.

    hashes: its model_hashes, if they are known.
    """
    digest = hashlib.sha256()
    for name, file in (hashes or model_hashes(directory)).items():
        digest.update(f"{name} {file}\n".encode())
    return digest.hexdigest()


SUMS = "sha256.json"  # in a checkpoint, written last: dict name of each other file -> its hash


def write_sums(checkpoint):
    """Mark a checkpoint as complete, with the hashes of its files: their formats have none, or none that is checked."""
    checkpoint = Path(checkpoint)
    names = [str(path.relative_to(checkpoint)) for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    write_json(checkpoint / SUMS, _sums(checkpoint, [name for name in names if name != SUMS]))


def check_sums(checkpoint):
    """Raise UserError if a complete checkpoint is not what was saved, naming a file that is missing or has changed."""
    checkpoint = Path(checkpoint)
    sums = read_json(checkpoint / SUMS)
    remedy = "remove this checkpoint to go on from the one before, or start over with --overwrite-output-dir"
    if not isinstance(sums, dict):
        raise UserError(f"{checkpoint}: {SUMS} is damaged; {remedy}")
    for name in sums:
        if not (checkpoint / name).is_file():
            raise UserError(f"{checkpoint}: has no {name}, without which a run can't go on as it was; {remedy}")
    for name, found in _sums(checkpoint, sums).items():
        if found != sums[name]:
            raise UserError(f"{checkpoint}: {name} is damaged or changed; {remedy}")


def _sums(directory, names):
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        return dict(zip(names, pool.map(fingerprint, [directory / name for name in names]), strict=True))


PERPLEXITIES = ("perplexity", "output_perplexity")  # on held-out texts: of all tokens, of the outputs'
RECORD = "run.json"  # in the output directory of stage 2 from its start: the made_of of the run


class TrainerState(msgspec.Struct):
    """What is read of the trainer_state.json of a checkpoint."""

    epoch: Annotated[float, msgspec.Meta(ge=0)]
    global_step: Count
    max_steps: Count
    log_history: list[dict[str, Any]]


def trainer_state(checkpoint):
    """The TrainerState of a checkpoint. Raises UserError if it lacks a field."""
    return read_json(Path(checkpoint) / "trainer_state.json", TrainerState, foreign=True)


def model_made_of(directory, contents=None):
    """What made the weights in a directory, as stage 2 recorded it, or None for a model that is not ours.

    contents: its model_fingerprint, if that is known. A checkpoint is of the run that its parent directory records.
    Raises UserError for training that did not finish, and for weights that have changed since.
    """
    directory = Path(directory).resolve()  # a link, or ".", has its manifest beside what it stands for
    if manifest_path(directory).is_file():
        return checked(directory, "model", contents or model_fingerprint(directory)).made_of
    if (directory / RECORD).is_file():
        raise UserError(
            f"{directory}: has no manifest beside it, so its training did not finish; run {KINDS['model']} again, "
            "or name a checkpoint in it"
        )
    if directory.name.startswith("checkpoint-") and (directory.parent / RECORD).is_file():
        if not (directory / SUMS).is_file():
            raise UserError(f"{directory}: this checkpoint is unfinished; name another")
        check_sums(directory)
        made_of = read_json(directory.parent / RECORD, dict)
        converted({"made_of": made_of, "facts": {}}, NEEDED["model"], directory.parent / RECORD, KINDS["model"])
        return made_of | {"epochs_done": trainer_state(directory).epoch}
    return None


def held_out_perplexities(directory):
    """What stage 2 found on held-out texts, of a model of its own: dict of `perplexity` and, of outputs alone,
    `output_perplexity`; without what it was not asked for.
    """
    directory = Path(directory).resolve()
    if manifest_path(directory).is_file():
        return read_manifest(directory, "model").facts.get("held_out") or {}
    state = trainer_state(directory)
    logged = {
        name: value for row in state.log_history if row.get("step") == state.global_step for name, value in row.items()
    }
    return {name: logged[f"eval_{name}"] for name in PERPLEXITIES if f"eval_{name}" in logged}
