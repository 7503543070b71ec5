"""Loading by name: a path asks no network, a hub that refuses or is away is one line without the token."""

import errno
import os
import shutil
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from huggingface_hub import constants
from transformers import BertConfig, ByT5Tokenizer, GPT2Config, T5Config

from memorization.models import hub
from memorization.shell.cli import UserError
from memorization.store.files import read_json, write_json
from support.command_line import ROOT
from support.tiny_models import damage, edited, gpt_neo_config, save_language_model, save_word_tokenizer

REFUSALS = {"gated": (403, "GatedRepo"), "unknown": (401, "RepoNotFound"), "gone": (404, "RepoNotFound")}
LOAD = """if True:
    import sys
    from memorization.models import hub
    from memorization.models import loading as models
    from memorization.shell.cli import UserError
    loads = hub.load_tokenizer, models.load_config, lambda name: models.load_for_generation(name, "auto", "cpu")
    for name in sys.argv[1:]:
        for load in loads:
            try:
                load(name)
            except UserError as error:
                print(error)
"""


@pytest.fixture
def loads():
    """Loads names with a hub that refuses them in a process of its own; (what is printed, requests), both lists."""
    asked = []

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, error = next((REFUSALS[name] for name in REFUSALS if name in self.path), (404, "EntryNotFound"))
            self.send_response(status)
            self.send_header("X-Error-Code", error)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    def load(*names, port=None, token="hf_secret"):
        away = {"HF_ENDPOINT": f"http://127.0.0.1:{port or server.server_port}", "HF_HUB_OFFLINE": "0"}
        secret = {"HF_TOKEN": token, "PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"}
        command = [sys.executable, "-c", LOAD, *map(str, names)]
        done = subprocess.run(command, env=os.environ | away | secret, capture_output=True, text=True, check=True)
        assert "cret" not in done.stdout + done.stderr and not done.stderr.replace("\n", ""), done.stderr
        return done.stdout.splitlines(), [path for path in asked if "agent-harnesses" not in path]

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    Thread(target=server.serve_forever, daemon=True).start()
    yield load
    server.shutdown()


def test_a_hub_that_refuses_is_one_line_without_the_token(loads):
    messages, asked = loads("o/gated", "o/unknown", "gone")
    assert len(messages) == 9 and asked
    for name, reason in (
        ("o/gated", "only to whom its owners admit"),
        ("o/unknown", "none of that name"),
        ("gone", "none"),
    ):
        assert [line.startswith(f"{name}: ") and reason in line for line in messages].count(True) == 3, messages


def test_what_a_repository_of_the_hub_lacks_is_told(loads):
    messages, asked = loads("o/adapter")
    assert len(messages) == 3 and asked
    assert messages[0] == "o/adapter: a tokenizer could not be loaded: it has no tokenizer; name one that has"
    assert all(
        "it has no config.json that says what model it is; if it holds an adapter" in line for line in messages[1:]
    )


def test_a_path_asks_no_hub_and_a_hub_that_is_away_is_told(loads, tmp_path):
    model = save_language_model(tmp_path / "model", ROOT / "configs" / "gpt-neo-small")
    bare = edited(model, tmp_path / "bare", lambda path: (path / "model.safetensors").unlink())
    for file in bare.glob("tokenizer*"):
        file.unlink()
    messages, asked = loads(model, bare, tmp_path / "a/b/c")
    assert not asked
    assert [line.split(":")[0] for line in messages] == [str(bare)] * 2 + [str(tmp_path / "a/b/c")] * 3
    messages, asked = loads("o/unknown", port=1)
    assert (
        not asked
        and len(messages) == 3
        and all("o/unknown: " in line and "no hub answers" in line for line in messages)
    )


def test_no_hub_is_one_line_within_seconds_and_what_is_in_the_cache_loads(loads, tmp_path, monkeypatch):
    model = save_language_model(tmp_path / "model", ROOT / "configs" / "gpt-neo-small")
    cached = tmp_path / "home" / "hub" / "models--o--cached"
    shutil.copytree(model, cached / "snapshots" / "abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    begun = time.monotonic()
    messages, _ = loads("o/cached", "o/unknown", port=1)
    assert [line.split(":")[0] for line in messages] == ["o/unknown"] * 3
    assert time.monotonic() - begun < 90  # imports and loads on a busy machine; the libraries would retry for minutes


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("gpt2", False), ("someone/model", False), ("./someone/model", True), ("../model", True), ("/model", True),
        ("~/model", True), ("a/b/c", True), ("tests", True), ("memorization/training", True),
    ],
)  # fmt: skip
def test_what_is_a_path(name, path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert hub.is_path(name) == path


def test_what_is_no_directory_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for name, message in (
        (tmp_path / "none", "no such directory; check"),
        (tmp_path / "file", "a file; name the directory"),
    ):
        with pytest.raises(UserError, match=f"{name}: {message}"):
            hub.load_tokenizer(name)


def test_a_token_that_is_none_is_told_and_not_shown(loads):
    messages, _ = loads("o/unknown", token="hf_sé\ncret")
    assert len(messages) == 3 and all("HF_TOKEN holds characters that no token has" in line for line in messages), (
        messages
    )


def test_a_path_is_loaded_offline_whatever_a_library_would_ask(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    loaded = hub.load(lambda name, **options: (options, constants.HF_HUB_OFFLINE), tmp_path, "a model", more=1)
    assert loaded == ({"more": 1, "local_files_only": True}, True) and constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EIO])
def test_an_error_of_the_system_stays_one(number):
    """It has its own line, with a remedy that helps."""

    def full(name, **_):
        raise OSError(number, "of the system", name)

    with pytest.raises(OSError, match="of the system"):
        hub.load(full, "someone/model", "a model")


# ---- tokenizers


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizers") / "words"
    save_word_tokenizer(path, 64)
    return path


def unnamed(path):
    (path / "tokenizer.json").unlink()
    write_json(path / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"})


def no_end(path):
    config = read_json(path / "tokenizer_config.json")
    write_json(path / "tokenizer_config.json", {name: value for name, value in config.items() if name != "eos_token"})


def slow(path):
    shutil.rmtree(path)
    ByT5Tokenizer().save_pretrained(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unnamed, r"has no tokenizer \(no tokenizer.json or the like\)"),
        (no_end, "has no end-of-text token"),
        (slow, "not a fast tokenizer"),
        (damage("tokenizer.json", lambda data: data[: len(data) // 2]), "tokenizer.json is damaged: it is no valid"),
        (damage("tokenizer.json", lambda data: b""), "tokenizer.json is damaged: it is no valid JSON"),
        (damage("tokenizer.json", lambda data: b"[]"), "tokenizer.json is damaged: it holds no object"),
        (damage("tokenizer_config.json", lambda data: b"{"), "tokenizer_config.json is damaged: it is no valid JSON"),
        (damage("tokenizer_config.json", lambda data: b"[]"), "tokenizer_config.json is damaged: it holds no object"),
        (damage("tokenizer_config.json", lambda data: b"\xff"), "tokenizer_config.json is damaged: it is no valid"),
        (lambda path: [file.unlink() for file in path.iterdir()], "is an empty directory"),
    ],
)
def test_a_tokenizer_that_cannot_be_right_is_refused(words, tmp_path, change, message):
    edited(words, tmp_path / "tokenizer", change)
    with pytest.raises(UserError, match=f"tokenizer: .*{message}"):
        hub.load_tokenizer(tmp_path / "tokenizer")


@pytest.mark.parametrize("config", [GPT2Config(), BertConfig(), T5Config(), gpt_neo_config(64, 0)])
def test_a_model_without_its_tokenizer_has_none(tmp_path, config):
    """The library would make one up: without a vocabulary, every text is nothing or unknown."""
    config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="has no tokenizer"):
        hub.load_tokenizer(tmp_path)
