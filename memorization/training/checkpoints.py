"""The output directory of stage 2: what lies in it, whose it is, and from where a run goes on."""

import re
import shutil
from contextlib import contextmanager
from pathlib import Path

from memorization.models.trained import MODEL, RECORD, SUMS, check_sums, trainer_state
from memorization.shell.cli import FULL, UserError
from memorization.store.files import naming, read_json, write_json
from memorization.store.fingerprints import model_fingerprint
from memorization.store.manifests import difference, manifest_path, read_manifest
from memorization.training.curve import CURVE
from memorization.training.launch import say
from memorization.training.losses import LOSSES

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
FIGURES = (LOSSES, CURVE, "train_results.json", "eval_results.json")
FILES = (*FIGURES, RECORD, "config.json", "model.safetensors", "trainer_state.json", "training_args.bin")
REMEDY = "--overwrite-output-dir starts over, or name another --output-dir"


def checkpoints(output_dir):
    """The complete checkpoint directories of a run, oldest first: not one that a kill left unfinished."""
    whole = (path for path in _numbered(output_dir) if (path / SUMS).is_file())
    return sorted(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")))


def last_checkpoint(output_dir):
    """The checkpoint that a run goes on from, or None. Raises UserError if one is damaged or lacks something.

    One at --max-steps within an epoch is passed over: from there the Trainer would go a step too far.
    """
    for checkpoint in reversed(checkpoints(output_dir)):
        check_sums(checkpoint)
        state = trainer_state(checkpoint)
        if state.global_step < state.max_steps or state.epoch.is_integer():
            if not any(path.match("optim*") or path.match("*optim_states.pt") for path in checkpoint.rglob("*")):
                raise UserError(
                    f"{checkpoint}: was saved with --save-only-model, so no run can go on from it; {REMEDY}"
                )
            return checkpoint
    return None


def _numbered(output_dir):
    """The Trainer's checkpoint directories, finished or not; a checkpoint-thesis/ is somebody's own."""
    return [path for path in Path(output_dir).glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]


def check_places(output_dir):
    """Raise UserError if something in output_dir stands in the way of what a run writes or removes there.

    So it is known before anything is removed, or trained.
    """
    for path in _numbered(output_dir):
        if path.is_symlink() or not path.is_dir():
            raise UserError(f"{path}: is no directory, but has a checkpoint's name; move it away")
    for name in FILES:
        if (path := Path(output_dir, name)).exists() and not path.is_file():
            raise UserError(f"{path}: is no file, but has the name of one that is written there; move it away")


def is_finished(output_dir, made_of):
    """Whether the run of this making is finished in output_dir; False if it can start or go on there.

    Raises UserError if what is there is another run's, of unknown making, or has changed since.
    """
    output_dir = Path(output_dir)
    manifest, record = manifest_path(output_dir), output_dir / RECORD
    there = [file for pattern in WEIGHTS for file in output_dir.glob(pattern)]
    there += [path for path in _numbered(output_dir) if (path / "trainer_state.json").is_file()]
    if not there:
        return False
    finished = None
    if manifest.is_file():
        try:
            finished = read_manifest(output_dir, MODEL)
        except UserError as error:
            raise UserError(f"{error}, with --overwrite-output-dir") from None
    before = finished.made_of if finished else read_json(record, dict) if record.is_file() else None
    if before is None:
        raise UserError(f"{there[-1]}: nothing says of which run it is, as {RECORD} would; {REMEDY}")
    if differs := difference(before, made_of):
        raise UserError(f"{output_dir}: is of a run with another {differs}; {REMEDY}")
    if finished and finished.contents != model_fingerprint(output_dir):
        raise UserError(f"{output_dir}: its model has changed since it was trained; {REMEDY}")
    return finished is not None


def begin(output_dir, made_of, start_over):
    """Record the run in output_dir before it trains; what could pass for a finished run goes, and what a kill left.

    start_over: so do checkpoints and figures.
    A kill in the midst leaves the record of the checkpoints that are there.
    """
    output_dir = Path(output_dir)
    manifest_path(output_dir).unlink(missing_ok=True)  # it comes back when this run is finished
    if start_over:
        if found := checkpoints(output_dir):
            say(f"starting over: removing {len(found)} checkpoints from {output_dir}")
        for name in FIGURES:
            (output_dir / name).unlink(missing_ok=True)
    whole = [] if start_over else checkpoints(output_dir)
    for checkpoint in _numbered(output_dir):
        if checkpoint not in whole:
            _remove(checkpoint)
    write_json(output_dir / RECORD, made_of)


def rotate(output_dir, limit, best):
    """Remove the oldest checkpoints beyond `limit` (None: no limit), but never the last one, nor `best`, a path."""
    found = checkpoints(output_dir)
    free = [checkpoint for checkpoint in found[:-1] if str(checkpoint) != best]
    for checkpoint in free[: max(0, len(found) - limit)] if limit else ():
        _remove(checkpoint)


def _remove(checkpoint):
    (checkpoint / SUMS).unlink(missing_ok=True)  # from here on it is unfinished
    shutil.rmtree(checkpoint)


@contextmanager
def told_when_full(output_dir):
    """Raise UserError for a full disk, in place of what safetensors and torch raise; the unfinished checkpoint goes."""
    try:
        with naming(output_dir):
            yield
    except (OSError, RuntimeError) as error:
        full = getattr(error, "errno", None) in FULL or "inline_container" in str(error)  # the latter: torch.save
        if not full:
            raise
        for unfinished in set(_numbered(output_dir)).difference(checkpoints(output_dir)):
            shutil.rmtree(unfinished, ignore_errors=True)
        raise UserError(
            f"{output_dir}: no space left for a checkpoint; free some, or keep fewer with --save-total-limit"
        ) from None
