"""Models and checkpoints on disk: known by their contents, refused where these are not what was written."""

import json
import shutil
from math import nan

import pytest
from tokenizers import normalizers

from memorization.models.hub import load_tokenizer
from memorization.models.trained import MODEL, RECORD, model_made_of, write_sums
from memorization.shell.cli import UserError
from memorization.store import fingerprints, manifests
from memorization.store.files import write_json
from support.command_line import ROOT
from support.tiny_models import save_language_model

TOKENIZER = ROOT / "configs" / "gpt-neo-small"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_language_model(tmp_path_factory.mktemp("model") / "model", TOKENIZER)


@pytest.fixture
def trained(model, tmp_path):
    """A copy of the model as stage 2 leaves it."""
    directory = shutil.copytree(model, tmp_path / "out" / "trained")
    write_json(directory / RECORD, {"encoding": "e", "seed": 5})
    contents = fingerprints.model_fingerprint(directory)
    manifests.write_manifest(directory, MODEL, {"encoding": "e", "seed": 5}, {}, contents=contents)
    return directory


def test_a_model_is_its_weights_configuration_and_tokenizer(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "elsewhere")
    for name in ("losses.jsonl", "train_results.json", "README.md", "generation_config.json", "optimizer.pt"):
        (copy / name).write_text("other")
    (copy / "checkpoint-3").mkdir()
    (copy / "checkpoint-3" / "model.safetensors").write_text("other")
    assert fingerprints.model_fingerprint(copy) == fingerprints.model_fingerprint(model)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        before = (copy / name).read_bytes()
        (copy / name).write_bytes(before + b" ")
        assert fingerprints.model_fingerprint(copy) != fingerprints.model_fingerprint(model)
        (copy / name).write_bytes(before)
    for name in ("pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "vocab.json", "merges.txt", "spiece.model"):
        (copy / name).write_text("more")
        assert fingerprints.model_fingerprint(copy) != fingerprints.model_fingerprint(model)
        (copy / name).unlink()


def test_a_model_of_ours_says_what_made_it_however_it_is_named(trained, monkeypatch):
    record = {"encoding": "e", "seed": 5}
    link = trained.parent / "latest"
    link.symlink_to(trained)
    monkeypatch.chdir(trained)
    for name in (trained, f"{trained}/", link, ".", "../trained"):
        assert model_made_of(name) == record
    assert model_made_of(trained, fingerprints.model_fingerprint(trained)) == record


def test_a_model_of_ours_with_other_weights_is_refused(trained):
    with (trained / "model.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(
        UserError, match="trained: has changed since it was written .*; run run_clm.py or run_seq2seq.py again"
    ):
        model_made_of(trained)


def test_training_that_did_not_finish_makes_no_model(trained):
    manifests.manifest_path(trained).unlink()
    with pytest.raises(
        UserError,
        match="trained: .*its training did not finish; run run_clm.py or run_seq2seq.py again, or name a checkpoint",
    ):
        model_made_of(trained)


def test_a_checkpoint_is_of_the_run_it_lies_in(model, trained):
    for finished in (True, False):
        if not finished:
            manifests.manifest_path(trained).unlink()
        checkpoint = shutil.copytree(model, trained / f"checkpoint-{finished:d}")
        with pytest.raises(UserError, match="this checkpoint is unfinished; name another"):
            model_made_of(checkpoint)
        write_json(checkpoint / "trainer_state.json", STATE | {"x": nan})
        write_sums(checkpoint)
        assert model_made_of(checkpoint) == {"encoding": "e", "seed": 5, "epochs_done": 2.0}


STATE = {"epoch": 2.0, "global_step": 4, "max_steps": 4, "log_history": []}


@pytest.mark.parametrize(
    ("record", "state", "message"),
    [
        ({"seed": 5}, STATE, "run.json: .*missing required field `encoding`.*; run run_clm.py or run_seq2seq.py again"),
        ({"encoding": 5}, STATE, "run.json: .*Expected `str`"),
        ([], STATE, "run.json: Expected `object`"),
        *(
            ({"encoding": "e"}, STATE | {"epoch": epoch}, "trainer_state.json: .*epoch")
            for epoch in (nan, -1, None, "2")
        ),
        *(({"encoding": "e"}, STATE | {name: -1}, f"state.json: .*{name}") for name in ("global_step", "max_steps")),
        *(({"encoding": "e"}, {name: STATE[name] for name in STATE if name != less}, less) for less in STATE),
    ],
)
def test_a_checkpoint_whose_record_or_state_cannot_be_is_refused(tmp_path, record, state, message):
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "checkpoint-4" / "trainer_state.json").write_text(json.dumps(state))
    write_sums(tmp_path / "checkpoint-4")
    with pytest.raises(UserError, match=message):
        model_made_of(tmp_path / "checkpoint-4")


def test_of_a_model_from_elsewhere_nothing_is_known(model):
    assert model_made_of(model) is None
    assert model_made_of("org/name") is None


def test_a_tokenizer_is_known_by_what_it_makes_of_texts(tmp_path):
    tokenizer = load_tokenizer(TOKENIZER)
    own = fingerprints.tokenizer_fingerprint(tokenizer)
    tokenizer.save_pretrained(tmp_path / "same")
    assert fingerprints.tokenizer_fingerprint(load_tokenizer(tmp_path / "same")) == own
    tokenizer.add_tokens(["hippocampus"])
    assert fingerprints.tokenizer_fingerprint(tokenizer) != own
    other = load_tokenizer(TOKENIZER)
    other.eos_token = other.convert_ids_to_tokens(7)
    assert fingerprints.tokenizer_fingerprint(other) != own
    lowering = load_tokenizer(TOKENIZER)
    lowering.backend_tokenizer.normalizer = normalizers.Lowercase()
    assert fingerprints.tokenizer_fingerprint(lowering) != own
