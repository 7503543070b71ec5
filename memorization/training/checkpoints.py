"""The output directory of stage 2: its checkpoints, the run that it belongs to, and where that run continues."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memorization.models.trained import MODEL, RECORD, SUMS, check_sums, trainer_state
from memorization.shell.cli import FULL, UserError
from memorization.store.files import naming, read_json, write_json
from memorization.store.fingerprints import model_fingerprint
from memorization.store.manifests import difference, manifest_path, read_manifest
from memorization.training.distributed import print_once
from memorization.training.losses import LOSSES
from memorization.training.memorization_curve import CURVE

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
FIGURES = (LOSSES, CURVE, "train_results.json", "eval_results.json")
FILES = (*FIGURES, RECORD, "config.json", "model.safetensors", "trainer_state.json", "training_args.bin")
REMEDY = "--overwrite-output-dir starts over, or name another --output-dir"


def complete_checkpoints(output_dir: str | Path) -> list[Path]:
    """The checkpoint directories of a run, oldest first, without one that a kill left unfinished."""
    whole = (path for path in _numbered(output_dir) if (path / SUMS).is_file())
    return sorted(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def last_checkpoint(output_dir: str | Path) -> Path | None:
    """The checkpoint that a run continues from. Raises UserError if one is damaged or lacks something.

    One at --max-steps within an epoch is skipped: from there the Trainer would take a step too many.
    """
    for checkpoint in reversed(complete_checkpoints(output_dir)):
        check_sums(checkpoint)
        state = trainer_state(checkpoint)
        if state.global_step < state.max_steps or state.epoch.is_integer():
            if not any(path.match("optim*") or path.match("*optim_states.pt") for path in checkpoint.rglob("*")):
                raise UserError(
                    f"{checkpoint}: was saved with --save-only-model, so no run can continue from it; {REMEDY}"
                )
            return checkpoint
    return None


def _numbered(output_dir: str | Path) -> list[Path]:
    """The Trainer's checkpoint directories, complete or not; a checkpoint-thesis/ is the user's own."""
    return [path for path in Path(output_dir).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]


def check_places(output_dir: str | Path) -> None:
    """Raise UserError if something in output_dir has the name of what a run writes or removes there.

    It is called before anything is removed or trained.
    """
    for path in _numbered(output_dir):
        if path.is_symlink() or not path.is_dir():
            raise UserError(f"{path}: is no directory, but has a checkpoint's name; move it away")
    for name in FILES:
        if (path := Path(output_dir, name)).exists() and not path.is_file():
            raise UserError(f"{path}: is no file, but has the name of one that is written there; move it away")


def is_finished(output_dir: str | Path, made_of: dict[str, Any]) -> bool:
    """Whether the run with this made_of is finished in output_dir; False if it can start or continue there.

    Raises UserError if another run, or an unknown one, wrote what is there, or if that has changed since.
    """
    output_dir = Path(output_dir)
    manifest, record = manifest_path(output_dir), output_dir / RECORD
    results = [file for pattern in WEIGHTS for file in output_dir.glob(pattern)]
    results += [path for path in _numbered(output_dir) if (path / "trainer_state.json").is_file()]
    if not results:
        return False
    finished = None
    if manifest.is_file():
        try:
            finished = read_manifest(output_dir, MODEL)
        except UserError as error:
            raise UserError(f"{error}, with --overwrite-output-dir") from None
    before = finished.made_of if finished else read_json(record, dict) if record.is_file() else None
    if before is None:
        raise UserError(f"{results[-1]}: no {RECORD} says which run wrote it; {REMEDY}")
    if differs := difference(before, made_of):
        raise UserError(f"{output_dir}: is of a run with another {differs}; {REMEDY}")
    if finished and finished.contents != model_fingerprint(output_dir):
        raise UserError(f"{output_dir}: its model has changed since it was trained; {REMEDY}")
    return finished is not None


def record_run(output_dir: str | Path, made_of: dict[str, Any], start_over: bool) -> None:
    """Record the run in output_dir before it trains, and remove its manifest and unfinished checkpoints.

    start_over: remove all checkpoints and figures. A kill meanwhile leaves the record of checkpoints that are there.
    """
    output_dir = Path(output_dir)
    manifest_path(output_dir).unlink(missing_ok=True)  # it is written again when this run is finished
    if start_over:
        if old := complete_checkpoints(output_dir):
            print_once(f"starting over: removing {len(old)} checkpoints from {output_dir}")
        for name in FIGURES:
            (output_dir / name).unlink(missing_ok=True)
    whole = [] if start_over else complete_checkpoints(output_dir)
    for checkpoint in _numbered(output_dir):
        if checkpoint not in whole:
            _remove(checkpoint)
    write_json(output_dir / RECORD, made_of)


def remove_old_checkpoints(output_dir: str | Path, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints beyond `limit`, but never the last one, nor `best`, a path."""
    whole = complete_checkpoints(output_dir)
    removable = [checkpoint for checkpoint in whole[:-1] if str(checkpoint) != best]
    for checkpoint in removable[: max(0, len(whole) - limit)] if limit else ():
        _remove(checkpoint)


def _remove(checkpoint: Path) -> None:
    (checkpoint / SUMS).unlink(missing_ok=True)  # without it the checkpoint is unfinished
    shutil.rmtree(checkpoint)


@contextmanager
def full_disk_reported(output_dir: str | Path) -> Iterator[None]:
    """Raise UserError for a full disk, in place of what safetensors and torch raise; remove what is unfinished."""
    try:
        with naming(output_dir):
            yield
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in FULL or "inline_container" in str(error)  # the latter: torch.save
        if not full:
            raise
        for unfinished in set(_numbered(output_dir)).difference(complete_checkpoints(output_dir)):
            shutil.rmtree(unfinished, ignore_errors=True)
        raise UserError(
            f"{output_dir}: no space left for a checkpoint; free some, or keep fewer with --save-total-limit"
        ) from None
