"""Secrets work as the server takes them, and no message, log or file shows one."""

import base64
import contextlib
import hashlib
import logging
import time
import warnings
from pathlib import Path
from urllib.parse import quote

import pytest

from memorization.retrieval.credentials import check_urls
from memorization.shell import cli
from memorization.shell.cli import UserError
from support.indexes import MADE_OF, opened

SECRET = "s3cret"
URL = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"API_KEY": f"{SECRET}\n"}, "ELASTIC_API_KEY: holds a blank, a line end"),
        ({"API_KEY": f" {SECRET}"}, "ELASTIC_API_KEY: holds a blank, a line end"),
        ({"API_KEY": f"{SECRET}\r\nX: y"}, "ELASTIC_API_KEY: holds a blank, a line end"),
        ({"API_KEY": f"{SECRET}é"}, "ELASTIC_API_KEY: holds a blank, a line end or a character that no key has"),
        ({"API_KEY": " "}, "ELASTIC_API_KEY: holds a blank, a line end"),
        ({"API_KEY": f"{SECRET}\udcff"}, "ELASTIC_API_KEY: holds a blank, a line end or a character that no key has"),
        ({"USER": "me", "PASSWORD": f"{SECRET}\n"}, "ELASTIC_PASSWORD: holds a line end"),
        ({"USER": "me\n", "PASSWORD": SECRET}, "ELASTIC_USER: holds a line end"),
        ({"USER": f"me:{SECRET}", "PASSWORD": SECRET}, "ELASTIC_USER: holds a colon"),
        ({"PASSWORD": SECRET}, "one is set without the other"),
        ({"USER": "mé", "PASSWORD": f"{SECRET}ü☃ \udcff"}, "no answer .*start the server"),
        ({"API_KEY": SECRET}, "no answer .*start the server"),
    ],
)
def test_a_credential_that_cannot_be_is_one_line_without_it(environment, message, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(f"ELASTIC_{name}", value)
    check_one_line(URL, message)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (f"http://me:{SECRET}@localhost:9200", "give them as ELASTIC_USER and ELASTIC_PASSWORD"),
        (f"http://{SECRET}@localhost:9200", "give them as ELASTIC_USER and ELASTIC_PASSWORD"),
        (f"http://me%3A{SECRET}%40localhost:9200", "give them as ELASTIC_USER and ELASTIC_PASSWORD"),
        (f"me:{SECRET}@localhost:9200", "give them as ELASTIC_USER and ELASTIC_PASSWORD"),
        (f"http://me:{SECRET}", "must name scheme, host and port and nothing else"),
        (f"{SECRET}", "must name scheme, host and port and nothing else"),
        (f"http://me%3A{SECRET}:9200", "must name scheme, host and port and nothing else"),
        (f"http://localhost:9200/?api_key={SECRET}", "must name scheme, host and port and nothing else"),
        (f"http://localhost:9200#{SECRET}", "must name scheme, host and port and nothing else"),
        (f"http://localhost:9200/ {SECRET}", "must name scheme, host and port and nothing else"),
        (f"http://[::1{SECRET}]:9200", "must name scheme, host and port and nothing else"),
        (f"http://{SECRET}é:9200", "must name scheme, host and port and nothing else"),
        ("http://localhost:0", "must name scheme, host and port and nothing else"),
        ("http://localhost:65536", "must name scheme, host and port and nothing else"),
    ],
)
def test_a_secret_in_a_url_is_not_shown(url, message):
    check_one_line(url, message)


def test_nodes_are_of_one_kind():
    with pytest.raises(UserError, match="some are http and some https; name nodes of one kind"):
        opened(["--elastic-url", "http://127.0.0.1:9", "https://127.0.0.1:9", "--index-xsuffix", "x"])


@pytest.mark.parametrize("twice", ["http://a.example:9200", "HTTP://A.example:09200/", "http://a.example:9200/"])
def test_a_node_is_named_once(twice):
    with pytest.raises(UserError, match="a node is named twice; name each once"):
        check_urls(["http://b.example:9200", "http://a.example:9200", twice])
    check_urls(["http://b.example:9200", "http://a.example:9200", "http://a.example:9201", "http://a.example:9200/x"])


def check_one_line(url, message):
    with pytest.raises(UserError, match=message) as caught:
        opened(["--elastic-url", url, "--index-xsuffix", "x"])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("password", ['s3cret "quoted" \\ % é\u2603', "s3cret\udcff", "s3cret"])
@pytest.mark.parametrize("spell", [str, repr, ascii, quote, "basic", "bytes"])
def test_the_file_with_a_traceback_has_no_spelling_of_a_secret(password, spell, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(cli.tempfile, "tempdir", None)
    monkeypatch.setenv("ELASTIC_USER", "mé")
    monkeypatch.setenv("ELASTIC_PASSWORD", password)
    data = password.encode("utf-8", "surrogateescape")
    spelled = {
        "basic": lambda: base64.b64encode("mé:".encode() + data).decode(),
        "bytes": lambda: repr(data),
        quote: lambda: quote(data),
    }.get(spell, lambda: spell(password))()

    def main():
        raise RuntimeError(f"header {spelled}")

    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    assert ended.value.code == 1
    (file,) = tmp_path.iterdir()
    text = file.read_text() + capsys.readouterr().err
    core = spelled.strip("'\"").removeprefix("b'") if spell != "bytes" else spelled[2:-1]
    assert core not in text and "s3cret" not in text and "header" in text


ROLE = "reader: {cluster: [monitor], indices: [{names: ['test-secrets*'], privileges: [read, view_index_metadata]}]}"
USERS = {"fleur": ("pässwörd ☃ 密码", "superuser"), "reader": ("s3cret-reader", "reader")}


@pytest.fixture(scope="module")
def users(secure_server):
    """Makes the server know USERS, through the files that it reads again every five seconds."""
    (configuration,) = Path(secure_server.directory).glob("elasticsearch-*/config")
    add(configuration / "roles.yml", ROLE)
    for name, (password, role) in USERS.items():
        add(
            configuration / "users",
            f"{name}:{{SHA}}{base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()}",
        )
        add(configuration / "users_roles", f"{role}:{name}" if role != "superuser" else f"{role}:tester,{name}")


def add(file, line):
    role = line.split(":")[0]
    lines = [one for one in file.read_text().splitlines() if one.split(":")[0] != role]
    file.write_text("\n".join([*lines, line, ""]))


def accepted(flags):
    """The index that the flags name, once the server knows the user."""
    for _ in range(100):
        with contextlib.suppress(UserError):
            return opened(flags)
        time.sleep(0.2)
    return opened(flags)


class TestSecureServer:
    @pytest.fixture(autouse=True)
    def credentials(self, monkeypatch, secure_server):
        for name, value in secure_server.env.items():
            monkeypatch.setenv(name, value)
        self.flags = ["--elastic-url", secure_server.url, "--index-xsuffix", "test-secrets"]

    def log_in(self, monkeypatch, name):
        monkeypatch.setenv("ELASTIC_USER", name)
        monkeypatch.setenv("ELASTIC_PASSWORD", USERS[name][0])
        return accepted(self.flags)

    def test_a_password_outside_ascii_is_sent_in_utf_8(self, users, monkeypatch):
        self.log_in(monkeypatch, "fleur")
        monkeypatch.setenv("ELASTIC_PASSWORD", "pässwörd ☃ 密碼")
        with pytest.raises(UserError, match="does not accept the credentials"):
            opened(self.flags)

    def test_who_may_not_write_is_told_so(self, users, monkeypatch):
        index = opened(self.flags)
        index.load([("1", "fever")], MADE_OF, recreate=True)
        reader = self.log_in(monkeypatch, "reader")
        assert [hit.id for hit in reader.search(["fever"])[0]] == ["1"]
        assert reader.load([("1", "fever")], MADE_OF).count == 1  # nothing to write
        for name, recreate in [("test-secrets", True), ("test-secrets-2", False), ("forbidden", False)]:
            with pytest.raises(
                UserError, match="not allowed .*unauthorized.*use an account that may do this"
            ) as caught:
                opened([*self.flags[:-1], name]).load([("1", "fever")], MADE_OF, recreate=recreate)
            assert "s3cret" not in str(caught.value)
        index.open()

    def test_an_unchecked_certificate_is_warned_of_once(self, monkeypatch, capfd, caplog):
        monkeypatch.delenv("ELASTIC_CA_CERTS")
        logging.getLogger("urllib3").setLevel(logging.NOTSET)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opened([*self.flags, "--insecure"]).open()
        assert capfd.readouterr().err.count("\n") == 1 and not caplog.records
