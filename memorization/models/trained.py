"""Models that stage 2 trained, and their checkpoints: what made them, and whether they are whole."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from memorization.shell.cli import UserError
from memorization.store.files import fingerprint, read_json, write_json
from memorization.store.fingerprints import model_fingerprint
from memorization.store.manifests import Count, Kind, checked, converted, manifest_path, read_manifest

STAGE = "run_clm.py or run_seq2seq.py"


class ModelSettings(TypedDict):
    encoding: str


class TrainedFacts(TypedDict):
    held_out: NotRequired[dict[str, float] | None]


class ModelManifest(msgspec.Struct):
    made_of: ModelSettings
    facts: TrainedFacts


MODEL = Kind("model", STAGE, ModelManifest)
SUMS = "sha256.json"  # in a checkpoint, written last: dict name of each other file -> its hash


def write_sums(checkpoint: str | Path) -> None:
    """Mark a checkpoint as complete, with the hashes of its files: their formats have none, or none that is checked."""
    checkpoint = Path(checkpoint)
    names = [str(path.relative_to(checkpoint)) for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    write_json(checkpoint / SUMS, _sums(checkpoint, [name for name in names if name != SUMS]))


def check_sums(checkpoint: str | Path) -> None:
    """Raise UserError if a file of a complete checkpoint is missing or has changed."""
    checkpoint = Path(checkpoint)
    sums = read_json(checkpoint / SUMS)
    remedy = "remove this checkpoint to go on from the one before, or start over with --overwrite-output-dir"
    if not isinstance(sums, dict):
        raise UserError(f"{checkpoint}: {SUMS} is damaged; {remedy}")
    for name in sums:
        if not (checkpoint / name).is_file():
            raise UserError(f"{checkpoint}: has no {name}, without which a run can't go on as it was; {remedy}")
    for name, sum in _sums(checkpoint, sums).items():
        if sum != sums[name]:
            raise UserError(f"{checkpoint}: {name} is damaged or changed; {remedy}")


def _sums(directory: Path, names: Iterable[str]) -> dict[str, str]:
    with ThreadPoolExecutor() as pool:  # hashing lets other threads run
        return dict(zip(names, pool.map(fingerprint, [directory / name for name in names]), strict=True))


PERPLEXITIES = ("perplexity", "output_perplexity")  # on held-out texts: of all tokens, of the outputs'
RECORD = "run.json"  # in the output directory of stage 2 from its start: the made_of of the run


class TrainerState(msgspec.Struct):
    """The fields that are read of the trainer_state.json of a checkpoint."""

    epoch: Annotated[float, msgspec.Meta(ge=0)]
    global_step: Count
    max_steps: Count
    log_history: list[dict[str, Any]]


def trainer_state(checkpoint: str | Path) -> TrainerState:
    """The TrainerState of a checkpoint. Raises UserError if it lacks a field."""
    return read_json(Path(checkpoint) / "trainer_state.json", TrainerState, foreign=True)


def model_made_of(directory: str | Path, contents: str | None = None) -> dict[str, Any] | None:
    """What made the weights in a directory, as stage 2 recorded it, or None for a model that is not ours.

    contents: its model_fingerprint, where the caller has it. A checkpoint is of the run that its parent directory
    records. Raises UserError for training that did not finish, and for weights that have changed since.
    """
    directory = Path(directory).resolve()  # a link, or ".", has its manifest beside what it stands for
    if manifest_path(directory).is_file():
        return checked(directory, MODEL, contents or model_fingerprint(directory)).made_of
    if (directory / RECORD).is_file():
        raise UserError(
            f"{directory}: has no manifest beside it, so its training did not finish; run {STAGE} again, "
            "or name a checkpoint in it"
        )
    if directory.name.startswith("checkpoint-") and (directory.parent / RECORD).is_file():
        if not (directory / SUMS).is_file():
            raise UserError(f"{directory}: this checkpoint is unfinished; name another")
        check_sums(directory)
        made_of = read_json(directory.parent / RECORD, dict)
        converted({"made_of": made_of, "facts": {}}, ModelManifest, directory.parent / RECORD, STAGE)
        return made_of | {"epochs_done": trainer_state(directory).epoch}
    return None


def held_out_perplexities(directory: str | Path) -> dict[str, float]:
    """The PERPLEXITIES of a model of stage 2 on held-out texts, as far as it measured them."""
    directory = Path(directory).resolve()
    if manifest_path(directory).is_file():
        return read_manifest(directory, MODEL).facts.get("held_out") or {}
    state = trainer_state(directory)
    logged = {
        name: value for row in state.log_history if row.get("step") == state.global_step for name, value in row.items()
    }
    return {name: logged[f"eval_{name}"] for name in PERPLEXITIES if f"eval_{name}" in logged}
