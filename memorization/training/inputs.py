"""What stage 2 reads and where it writes, checked before it starts: are they what they say, and do they fit?"""

from pathlib import Path

from memorization import hub
from memorization.cli import UserError
from memorization.files import read_json
from memorization.models import ENCODER_DECODER
from memorization.runs import RECORD, checked, manifest_path, model_fingerprint, model_made_of, tokenizer_fingerprint
from memorization.training.launch import say


def check_sets(paths, tokenizer, model_kind):
    """The manifests of stage 1's sets at the paths, dict kind -> path or None: dict kind -> Manifest of those given.

    model_kind: of models.py. Raises UserError if one is not what stage 1 wrote as that, if they are of different
    encodings, or if they were encoded with another tokenizer or for the other kind of model.
    """
    sets = {kind: checked(path, kind) for kind, path in paths.items() if path}
    if len({manifest.identity for manifest in sets.values()}) > 1:
        both = " and ".join(f"{paths[kind]} ({manifest.identity})" for kind, manifest in sets.items())
        raise UserError(f"{both}: are of different encodings; name two sets that one run of encode_dialogue.py wrote")
    for kind, manifest in sets.items():
        if (pairs := manifest.made_of.get("encoder_decoder", False)) != (model_kind is ENCODER_DECODER):
            option, script = ("out", "run_seq2seq.py") if pairs else ("", "run_clm.py")
            raise UserError(
                f"{paths[kind]}: is not encoded for {model_kind.what}; encode with{option} --encoder-decoder, or train "
                f"on it with {script}"
            )
        if manifest.made_of["tokenizer"] != tokenizer_fingerprint(tokenizer):
            raise UserError(
                f"{paths[kind]}: was encoded with another tokenizer or end-of-text token than the model's; run "
                f"encode_dialogue.py with --tokenizer {tokenizer.name_or_path}"
            )
    return sets


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
    if not trains and model != output_dir and (manifest.is_file() or (output_dir / RECORD).is_file()):
        raise UserError(f"{output_dir}: holds another model than the one to evaluate; name another --output-dir")


def check_model(name, sets, trains):
    """The fingerprint of the loaded model at a path or hub name, and the encoding it was trained on, if that is known.

    Raises UserError if its training did not finish, if it has changed since, or if the set to evaluate it on is not
    of the encoding it was trained on.
    """
    directory = hub.directory(name)
    encoding = (model_made_of(directory) or {}).get("encoding")
    for kind, manifest in sets.items():
        if encoding in (None, manifest.identity):
            continue
        if not trains:
            raise UserError(
                f"{name}: was trained on another encoding ({encoding}) than the {kind} is of ({manifest.identity}), so "
                "it may have seen its texts; name the set of its own encoding"
            )
        if kind == "held-out set":
            say(f"{name} was itself trained on the encoding {encoding}: it may have seen held-out texts of this one")
    return model_fingerprint(directory), encoding
