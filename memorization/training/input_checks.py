"""Checks of what stage 2 reads and where it writes, before it starts."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datasets import load_from_disk
from transformers import PreTrainedTokenizerFast

from memorization.encoding.kinds import OF_ENCODING
from memorization.encoding.tokenizer_check import tokenizer_agrees
from memorization.models import hub
from memorization.models.loading import ENCODER_DECODER, Architecture
from memorization.models.trained import RECORD, model_made_of
from memorization.shell.cli import UserError
from memorization.store.files import read_json
from memorization.store.fingerprints import model_fingerprint
from memorization.store.manifests import Manifest, checked, manifest_path
from memorization.training.checkpoints import check_places
from memorization.training.distributed import print_once


def check_sets(
    paths: dict[str, list[str]], tokenizer: PreTrainedTokenizerFast, architecture: Architecture
) -> dict[str, list[Manifest]]:
    """The manifests of stage 1's sets, by kind of set as their paths.

    Raises UserError for a set that is not as stage 1 wrote it or of another kind, whose texts the tokenizer encodes
    otherwise, that is encoded for the other architecture, or is named twice; for a held-out set of an encoding without
    a training set; and for one with texts of another encoding's training set.
    """
    sets = {kind: [checked(path, OF_ENCODING[kind]) for path in directories] for kind, directories in paths.items()}
    named = [(path, manifest) for kind in sets for path, manifest in zip(paths[kind], sets[kind], strict=True)]
    for path, manifest in named:
        encoder_decoder = manifest.made_of.get("encoder_decoder", False)
        if encoder_decoder != (architecture is ENCODER_DECODER):
            option, script = ("out", "run_seq2seq.py") if encoder_decoder else ("", "run_clm.py")
            raise UserError(
                f"{path}: is not encoded for {architecture.what}; encode with{option} --encoder-decoder, or train on "
                f"it with {script}"
            )
        if not tokenizer_agrees(tokenizer, [Path(path)], manifest.made_of):
            raise UserError(
                f"{path}: was encoded with another tokenizer or end-of-text token than the model's; run "
                f"encode_<task>.py with --tokenizer {tokenizer.name_or_path}"
            )
        same = [other for other, its in named if (its.kind, its.contents) == (manifest.kind, manifest.contents)]
        if len(same) > 1:
            raise UserError(f"{' and '.join(same)}: are the same set; name it once (--task-weights weighs it)")
    training = list(zip(paths.get("training set", ()), sets.get("training set", ()), strict=True))
    for path, manifest in zip(paths.get("held-out set", ()), sets.get("held-out set", ()), strict=True):
        others = [(other, its) for other, its in training if its.identity != manifest.identity]
        if len(others) == len(training) > 0:
            both = " and ".join(f"{name} ({its.identity})" for name, its in [*training, (path, manifest)])
            raise UserError(f"{both}: are of different encodings; name sets that one run of encode_<task>.py wrote")
        for other, _ in others:
            if shared := pc.sum(pc.is_in(_texts(path), _texts(other))).as_py():
                raise UserError(
                    f"{other}: contains {shared} texts of the held-out set {path}, which would be no control; leave "
                    "one of the two out"
                )
    return sets


def _texts(directory: str) -> pa.Array:
    return load_from_disk(directory).with_format("arrow")["text"][:]


def check_output_dir(output_dir: str, model: str | None, trains: bool) -> None:
    """Raise UserError if writing to output_dir would spoil another result.

    model: name of the model that is read. trains: whether there is training, or evaluation only.
    """
    directory, manifest = Path(output_dir).resolve(), manifest_path(output_dir)
    kind = read_json(manifest, dict).get("kind", "model") if manifest.is_file() else "model"
    if kind != "model":
        raise UserError(f"{directory}: is of kind {kind!r}, not 'model'; name another --output-dir")
    source = Path(model).resolve() if model else None
    if trains and source and directory in (source, *source.parents):
        raise UserError(f"{directory}: holds the model to fine-tune; name another --output-dir")
    if trains:
        check_places(directory)
    if not trains and source != directory and (manifest.is_file() or (directory / RECORD).is_file()):
        raise UserError(f"{directory}: holds another model than the one to evaluate; name another --output-dir")


def check_base_model(name: str, sets: dict[str, list[Manifest]], trains: bool) -> tuple[str, str | None]:
    """The fingerprint of the loaded model at a path or hub name, and the encoding it was trained on, if known.

    Raises UserError if its training did not finish, if it has changed since, or if it is evaluated on a set of another
    encoding than it was trained on.
    """
    directory = hub.directory(name)
    encoding = (model_made_of(directory) or {}).get("encoding")
    for kind, manifest in [(kind, manifest) for kind, manifests in sets.items() for manifest in manifests]:
        if encoding is None or manifest.identity in encoding.split():
            continue
        if not trains:
            raise UserError(
                f"{name}: was trained on another encoding ({encoding}) than the {kind} is of ({manifest.identity}), so "
                "it may have seen its texts; name the set of its own encoding"
            )
        if kind == "held-out set":
            print_once(f"{name} was trained on the encoding {encoding}: it may have seen held-out texts of this one")
    return model_fingerprint(directory), encoding
