"""Stage 4 at the shell."""

import signal
import subprocess
import sys

import pytest
from conftest import opened
from shell import ROOT, one_line, run_script

from memorization.encoding.probes import write_probes
from memorization.files import fingerprint, read_manifest, write_json

PROBES = [
    {"id": i, "member": i % 3 > 0, "prefix": f"prefix {i}", "suffix": f"suffix {i} of visit {i % 7}", "duplicates": 1}
    for i in range(30)
]
MEMBERS = {str(probe["id"]): probe["suffix"] for probe in PROBES if probe["member"]}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with the probes of stage 1 in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tokenized_data").mkdir()
    write_probes(tmp_path / "tokenized_data" / "dialogue_prefix.json", PROBES)
    return tmp_path


PAPER = ["-dir", "./tokenized_data/", "-fn", "dialogue_prefix.json"]  # the published command's arguments


def test_the_papers_command_indexes_the_members(here, capsys):
    assert run_script("load_to_elastic.py", *PAPER, "--index-xsuffix", "dialogue_suffix") == 0
    assert "indexes/dialogue_suffix: 20 training suffixes" in capsys.readouterr().out
    index = opened(["--index-xsuffix", "dialogue_suffix"])
    assert index.texts(MEMBERS) == MEMBERS
    assert {hit.id for hit in index.search(["suffix"], 100)[0]} == set(MEMBERS)
    manifest = read_manifest("indexes/dialogue_suffix")
    assert manifest["inputs"] == {
        "tokenized_data/dialogue_prefix.json": fingerprint("tokenized_data/dialogue_prefix.json")
    }
    assert manifest["documents"] == 20


def test_the_papers_command_loads_into_a_server(here, elastic_url, elastic_flags, monkeypatch):
    monkeypatch.setenv("ELASTIC_URL", elastic_url)
    for _ in range(2):
        assert run_script("load_to_elastic.py", *PAPER, "--index-xsuffix", elastic_flags[-1]) == 0
    index = opened(elastic_flags)
    assert index.texts(MEMBERS) == MEMBERS
    assert {hit.id for hit in index.search(["suffix"], 100)[0]} == set(MEMBERS)
    assert read_manifest(here / "indexes" / elastic_flags[-1])["index"] == index.where
    assert [path.name for path in (here / "indexes").iterdir()] == [f"{elastic_flags[-1]}.manifest.json"]


def test_a_secured_server_with_credentials_from_the_environment(here, secure_server, monkeypatch, capsys):
    for name, value in secure_server.env.items():
        monkeypatch.setenv(name, value)
    assert run_script("load_to_elastic.py", *PAPER, "--index-xsuffix", "stage4", "--recreate") == 0
    index = opened(["--index-xsuffix", "stage4"])
    assert index.texts(MEMBERS) == MEMBERS
    written = (here / "indexes" / "stage4.manifest.json").read_text() + "".join(capsys.readouterr())
    assert secure_server.env["ELASTIC_PASSWORD"] not in written


def test_a_killed_load_into_a_server_continues(here, elastic_flags):
    many = [PROBES[1] | {"id": i, "suffix": f"suffix {i} " + "word " * 100} for i in range(20_000)]
    write_probes("many.json", many)
    command = [sys.executable, ROOT / "load_to_elastic.py", "-dir", ".", "-fn", "many.json", *elastic_flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    said = b""
    while b"000/20000" not in said and b"001/20000" not in said:  # the bar has left 0
        said += process.stderr.read1()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    client = opened(elastic_flags).client
    assert not client.indices.get_mapping(index=elastic_flags[-1])[elastic_flags[-1]]["mappings"]["_meta"]["finished"]
    client.indices.refresh(index=elastic_flags[-1])
    assert 0 < client.count(index=elastic_flags[-1])["count"] < 20_000
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    texts = {str(probe["id"]): probe["suffix"] for probe in many}
    assert opened(elastic_flags).texts(texts) == texts
    assert client.count(index=elastic_flags[-1])["count"] == 20_000


def test_suffixes_without_a_word_are_counted(here, capsys):
    write_probes("few.json", [PROBES[1], PROBES[2] | {"suffix": " ... "}])
    assert run_script("load_to_elastic.py", "-dir", ".", "-fn", "few.json", "--index-xsuffix", "few") == 0
    out = capsys.readouterr().out
    assert "1 training suffixes" in out and "left out, as they have no word to search: 1" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-dir", ".", "-fn", "nothing.json", "--index-xsuffix", "x"], "nothing.json: no such file"),
        (["-dir", ".", "-fn", "torn.json", "--index-xsuffix", "x"], "torn.json: not valid JSON at line 1"),
        (["-dir", ".", "-fn", "rows.json", "--index-xsuffix", "x"], "rows.json: not in pandas"),
        (["-dir", ".", "-fn", "outsiders.json", "--index-xsuffix", "x"], "outsiders.json: no members"),
        ([*PAPER, "--index-xsuffix", "Upper Case"], "index name 'Upper Case'"),
        ([*PAPER, "--index-xsuffix", ""], "--index-xsuffix is needed"),
        (PAPER, "--index-xsuffix is needed"),
        ([*PAPER, "--index-xsuffix", "x", "--elastic-url", "http://127.0.0.1:9"], "http://127.0.0.1:9: no answer"),
        ([*PAPER, "--index-xsuffix", "x", "--elastic-url", "http://me:s3cret@h:9200"], "ELASTIC_PASSWORD"),
        ([*PAPER, "--index-xsuffix", "x", "--shards", "none"], "argument --shards"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(here, capsys, arguments, message):
    (here / "torn.json").write_text('{"columns": [')
    write_json("rows.json", [1, 2])
    write_probes("outsiders.json", [PROBES[0]])
    before = set(here.iterdir())
    assert run_script("load_to_elastic.py", *arguments) == 2
    line = one_line(capsys)
    assert message in line and "s3cret" not in line
    assert set(here.iterdir()) == before


def test_help_shows_the_papers_command(capsys):
    assert run_script("load_to_elastic.py", "--help") == 0
    assert "python load_to_elastic.py -dir ./tokenized_data/ -fn dialogue_prefix.json" in capsys.readouterr().out
