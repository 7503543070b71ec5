"""What stage 2 reads and where it writes, checked before it starts: are they what they say, and do they fit?"""

from pathlib import Path

import pyarrow.compute as pc
from datasets import load_from_disk

from memorization.encoding.kinds import OF_ENCODING
from memorization.encoding.tokenizer_check import tokenizer_agrees
from memorization.models import hub
from memorization.models.loading import ENCODER_DECODER
from memorization.models.trained import RECORD, model_made_of
from memorization.shell.cli import UserError
from memorization.store.files import read_json
from memorization.store.fingerprints import model_fingerprint
from memorization.store.manifests import checked, manifest_path
from memorization.training.checkpoints import check_places
from memorization.training.launch import say


def check_sets(paths, tokenizer, model_kind):
    """The manifests of stage 1's sets at the paths, dict kind -> list of paths: dict kind -> list of Manifest.

    model_kind: of loading. Raises UserError if one is not what stage 1 wrote as that, if the tokenizer makes other
    tokens of its texts, if it was encoded for the other kind of model, if there are two that are the same, a held-out
    set of an encoding of which no training set is given, or one whose texts stand in the training set of another
    encoding.
    """
    sets = {kind: [checked(path, OF_ENCODING[kind]) for path in directories] for kind, directories in paths.items()}
    found = [(path, manifest) for kind in sets for path, manifest in zip(paths[kind], sets[kind], strict=True)]
    for path, manifest in found:
        if (pairs := manifest.made_of.get("encoder_decoder", False)) != (model_kind is ENCODER_DECODER):
            option, script = ("out", "run_seq2seq.py") if pairs else ("", "run_clm.py")
            raise UserError(
                f"{path}: is not encoded for {model_kind.what}; encode with{option} --encoder-decoder, or train on it "
                f"with {script}"
            )
        if not tokenizer_agrees(tokenizer, [path], manifest.made_of):
            raise UserError(
                f"{path}: was encoded with another tokenizer or end-of-text token than the model's; run "
                f"encode_<task>.py with --tokenizer {tokenizer.name_or_path}"
            )
        same = [one for one, its in found if (its.kind, its.contents) == (manifest.kind, manifest.contents)]
        if len(same) > 1:
            raise UserError(f"{' and '.join(same)}: are the same set; name it once (--task-weights weighs it)")
    trained = list(zip(paths.get("training set", ()), sets.get("training set", ()), strict=True))
    for path, manifest in zip(paths.get("held-out set", ()), sets.get("held-out set", ()), strict=True):
        others = [(other, its) for other, its in trained if its.identity != manifest.identity]
        if len(others) == len(trained) > 0:
            both = " and ".join(f"{one} ({its.identity})" for one, its in [*trained, (path, manifest)])
            raise UserError(f"{both}: are of different encodings; name sets that one run of encode_<task>.py wrote")
        for other, _ in others:
            if shared := pc.sum(pc.is_in(_texts(path), _texts(other))).as_py():
                raise UserError(
                    f"{other}: {shared} texts of the held-out set {path} are in it, so they would be no control; leave "
                    "one of the two out"
                )
    return sets


def _texts(directory):
    return load_from_disk(str(directory)).with_format("arrow")["text"][:]


def check_output_dir(output_dir, model, trains):
    """Raise UserError if writing to output_dir would spoil another result.

    model: name of the model that is read, or None. trains: whether there is training, or evaluation only.
    """
    output_dir, manifest = Path(output_dir).resolve(), manifest_path(output_dir)
    kind = read_json(manifest, dict).get("kind", "model") if manifest.is_file() else "model"
    if kind != "model":
        raise UserError(f"{output_dir}: is of kind {kind!r}, not 'model'; name another --output-dir")
    model = Path(model).resolve() if model else None
    if trains and model and output_dir in (model, *model.parents):
        raise UserError(f"{output_dir}: holds the model to fine-tune; name another --output-dir")
    if trains:
        check_places(output_dir)
    if not trains and model != output_dir and (manifest.is_file() or (output_dir / RECORD).is_file()):
        raise UserError(f"{output_dir}: holds another model than the one to evaluate; name another --output-dir")


def check_model(name, sets, trains):
    """The fingerprint of the loaded model at a path or hub name, and the encoding it was trained on, if that is known.

    Raises UserError if its training did not finish, if it has changed since, or if the set to evaluate it on is not
    of the encoding it was trained on.
    """
    directory = hub.directory(name)
    encoding = (model_made_of(directory) or {}).get("encoding")
    for kind, manifest in [(kind, manifest) for kind, of_kind in sets.items() for manifest in of_kind]:
        if encoding is None or manifest.identity in encoding.split():
            continue
        if not trains:
            raise UserError(
                f"{name}: was trained on another encoding ({encoding}) than the {kind} is of ({manifest.identity}), so "
                "it may have seen its texts; name the set of its own encoding"
            )
        if kind == "held-out set":
            say(f"{name} was itself trained on the encoding {encoding}: it may have seen held-out texts of this one")
    return model_fingerprint(directory), encoding
