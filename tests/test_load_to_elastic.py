"""Stage 4 at the shell."""

import re
import shutil
import signal
import subprocess
import sys

import pytest

from memorization.detection.copied_runs import SpanIndex
from memorization.detection.span_index import build
from memorization.encoding.kinds import PROBES
from memorization.encoding.made_up import make_dialogues
from memorization.encoding.probes import Probes
from memorization.retrieval.index import INDEX
from memorization.shell.cli import UserError
from memorization.store.files import fingerprint, read_json, write_json
from memorization.store.locations import encoding_paths
from memorization.store.manifests import TextDigest, read_manifest
from support.command_line import ROOT, one_line, run_script
from support.indexes import opened


def encode(rows, name="dialogue", *flags):
    """The suffixes of the members that stage 1 makes of these rows, by id."""
    write_json(f"{name}.json", rows)
    how = ["--data", f"{name}.json", "--name", name, "--test-size", "0.3", *flags]
    assert run_script("encode_dialogue.py", *how) == 0
    return members(name)


def members(name="dialogue", prefix_length=None):
    probes = Probes("tokenized_data", name, prefix_length)
    return {str(probe["id"]): probe["suffix"] for probe in probes[:] if probe["member"]}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(home)
        encode(make_dialogues(seed=4, single=30, fourfold=0, sixteenfold=0))
    return home


@pytest.fixture
def here(encoded, tmp_path, monkeypatch):
    """A working directory with what stage 1 makes of 30 dialogues, 21 of them members."""
    shutil.copytree(encoded / "tokenized_data", tmp_path / "tokenized_data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_only_bars(errors):
    """That standard error is the bars of both indexes, which fit 80 columns."""
    lines = [line for line in re.split("[\r\n]+", errors) if line]
    assert lines and all(line.startswith(("indexing: ", "spans: ")) and len(line) <= 80 for line in lines), errors


PAPER = ["-dir", "./tokenized_data/", "-fn", "dialogue_prefix.json"]  # the published command's arguments


def test_the_papers_command_indexes_the_members(here, capsys):
    assert run_script("load_to_elastic.py", *PAPER, "--index-xsuffix", "dialogue_suffix") == 0
    out, err = capsys.readouterr()
    encoding = read_manifest("tokenized_data/tokenized_dialogue_prefix", PROBES).identity
    lines = [
        "indexes/dialogue_suffix: 21 training suffixes",
        f"indexes/spans-{encoding}: 30 samples, 21 of them members",
    ]
    assert out.splitlines() == lines
    spans = SpanIndex("indexes", encoding)
    probes = Probes("tokenized_data", "dialogue")
    samples = [(int(spans.ids[i]), bool(spans.members[i]), int(spans._clusters[i]), spans.texts[i]) for i in range(30)]
    assert samples == list(probes.samples()) and spans.samples == [21, 9]
    assert_only_bars(err)
    index = opened(["--index-xsuffix", "dialogue_suffix"])
    assert index.texts(members()) == members()
    assert [hits[0].id for hits in index.search(members().values(), 1)] == list(members())
    manifest = read_manifest("indexes/dialogue_suffix", INDEX)
    read = encoding_paths("tokenized_data", "dialogue").values()
    assert manifest.inputs == {str(path): fingerprint(path) for path in read}
    assert (manifest.rows, manifest.made_of) == (21, index.made_of())


def test_the_index_says_what_it_is_made_of(here):
    flags = [*PAPER, "--index-xsuffix", "short", "--prefix-length", "30"]
    assert run_script("load_to_elastic.py", *flags) == 0
    digest = TextDigest()
    for id, suffix in members(prefix_length=30).items():
        digest.add(id, suffix)
    encoding = read_manifest("tokenized_data/tokenized_dialogue_prefix", PROBES).identity
    made_of = {"encoding": encoding, "probe": "text", "prefix_length": 30, "documents": digest.hex()}
    assert opened(["--index-xsuffix", "short"]).made_of() == made_of


def test_the_papers_command_loads_into_a_server(here, elastic_url, elastic_flags, monkeypatch, capsys):
    monkeypatch.setenv("ELASTIC_URL", elastic_url)
    for _ in range(2):
        assert run_script("load_to_elastic.py", *PAPER, "--index-xsuffix", elastic_flags[-1]) == 0
        assert_only_bars(capsys.readouterr().err)
    index = opened(elastic_flags)
    assert index.texts(members()) == members()
    assert [hits[0].id for hits in index.search(members().values(), 1)] == list(members())
    assert read_json(f"indexes/{elastic_flags[-1]}.manifest.json")["facts"]["index"] == index.where
    names = {path.name.split("-")[0] for path in (here / "indexes").iterdir()}
    assert names == {elastic_flags[-1].split("-")[0], "spans"} and len(list((here / "indexes").iterdir())) == 2


def test_a_secured_server_with_credentials_from_the_environment(here, secure_server, monkeypatch, capsys):
    for name, value in secure_server.env.items():
        monkeypatch.setenv(name, value)
    assert run_script("load_to_elastic.py", *PAPER, "--index-xsuffix", "stage4", "--recreate") == 0
    index = opened(["--index-xsuffix", "stage4"])
    assert index.texts(members()) == members()
    written = (here / "indexes" / "stage4.manifest.json").read_text() + "".join(capsys.readouterr())
    assert secure_server.env["ELASTIC_PASSWORD"] not in written


def test_a_killed_load_into_a_server_is_not_searched_and_is_made_good_by_the_same_command(here, elastic_flags):
    rows = [{"instruction": "", "input": f"visit {i} " + "word " * 30, "output": "word " * 70} for i in range(12_000)]
    texts = encode(rows, "many", "--prefix-length", "10")
    paths = ["-dir", "tokenized_data", "-fn", "many_prefix.json"]
    command = [sys.executable, ROOT / "load_to_elastic.py", *paths, *elastic_flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    progress = b""
    while max(map(int, re.findall(rb"([0-9]+)/8400", progress)), default=0) <= 3000:  # the first thousands are there
        assert (more := process.stderr.read1()), progress
        progress += more
    process.send_signal(signal.SIGKILL)
    process.communicate()
    index = opened(elastic_flags)
    with pytest.raises(UserError, match="no such index"):
        index.open()
    (left,) = index.client.indices.get(index=f"{index.name}-*")
    index.client.indices.refresh(index=left)
    assert 0 < index.client.count(index=left)["count"] < 8_400
    subprocess.run(command, check=True, stderr=subprocess.PIPE)
    assert len(texts) == 8_400 and opened(elastic_flags).texts(texts) == texts
    (new,) = index.client.indices.get(index=f"{index.name}-*")
    assert new != left


def test_the_regions_of_telephone_numbers_are_those_of_the_span_index(here, capsys):
    flags = [*PAPER, "--index-xsuffix", "regions", "--regions"]
    assert run_script("load_to_elastic.py", *flags, "US", "Germany") == 2
    assert "--regions GERMANY: no region with telephone numbers" in one_line(capsys)
    assert not (here / "indexes").exists()
    encoding = read_manifest("tokenized_data/tokenized_dialogue_prefix", PROBES).identity
    for regions in (["us", "DE"], ["CN"]):
        assert run_script("load_to_elastic.py", *flags, *regions) == 0
        assert SpanIndex("indexes", encoding).regions == tuple(sorted(map(str.upper, regions)))


def test_suffixes_without_a_word_are_counted(here, capsys):
    rows = [{"instruction": "", "input": f"{i} word" * 40, "output": " ... " * 40} for i in range(2)]
    assert len(encode(rows, "few")) == 1
    paths = ["-dir", "tokenized_data", "-fn", "few_prefix.json"]
    assert run_script("load_to_elastic.py", *paths, "--prefix-length", "130", "--index-xsuffix", "few") == 0
    out = capsys.readouterr().out
    assert "0 training suffixes" in out and "left out, as they have no word to search: 1" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-dir", ".", "-fn", "nothing_prefix.json", "--index-xsuffix", "x"], "tokenized_nothing_prefix: no such file"),
        (["-dir", "tokenized_data", "-fn", "dialogue.json", "--index-xsuffix", "x"], "must be <name>_prefix.json"),
        ([*PAPER, "--index-xsuffix", "x", "--prefix-length", "9999"], "lower --prefix-length"),
        ([*PAPER, "--index-xsuffix", "x", "--prefix-length", "-1"], "--prefix-length: must be"),
        ([*PAPER, "--index-xsuffix", "Upper Case"], "index name 'Upper Case'"),
        ([*PAPER, "--index-xsuffix", ""], "must not be empty"),
        (PAPER, "--index-xsuffix is needed"),
        ([*PAPER, "--index-xsuffix", "x", "--elastic-url", "http://127.0.0.1:9"], "http://127.0.0.1:9: no answer"),
        ([*PAPER, "--index-xsuffix", "x", "--elastic-url", "http://me:s3cret@h:9200"], "ELASTIC_PASSWORD"),
        ([*PAPER, "--index-xsuffix", "x", "--shards", "none"], "argument --shards"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(here, capsys, arguments, message):
    before = set(here.iterdir())
    assert run_script("load_to_elastic.py", *arguments) == 2
    line = one_line(capsys)
    assert message in line and "s3cret" not in line
    assert set(here.iterdir()) == before


def test_help_shows_the_papers_command(capsys):
    assert run_script("load_to_elastic.py", "--help") == 0
    assert "python load_to_elastic.py -dir ./tokenized_data/ -fn dialogue_prefix.json" in capsys.readouterr().out


def test_the_texts_of_an_index_come_back_beside_the_samples_that_they_are_parts_of_alone(here, capsys):
    """With samples of other texts under the same ids, or none, the index's texts are refused, not made up."""
    assert run_script("load_to_elastic.py", *PAPER, "--index-xsuffix", "suffixes") == 0
    index, texts = opened(["--index-xsuffix", "suffixes"]), members()
    (spans,) = (here / "indexes").glob("spans-*")
    samples = SpanIndex("indexes", spans.name.removeprefix("spans-"))
    rows = [[int(samples.ids[i]), bool(samples.members[i]), i, f"not {samples.texts[i]}"] for i in range(30)]
    spans.rename(here / "away")
    for others in ([], rows):
        if others:
            build(spans, others, "other", 30, 1)
        with pytest.raises(UserError, match="its texts are not of the samples in .*; make it with"):
            index.texts(texts)
    shutil.rmtree(spans)
    (here / "away").rename(spans)
    assert index.texts(texts) == texts
