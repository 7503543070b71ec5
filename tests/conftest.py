"""What tests share: how hypothesis searches; a real Elasticsearch server, started when a test first asks for it, and
used by all processes of a run.

HYPOTHESIS_PROFILE=fuzz (`make fuzz`) searches at random; else a test tries the same examples every time.
"""

import fcntl
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks a hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: a second thread only waits for the first

import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

import hypothesis
import pytest
from stages import zygote  # noqa: F401

from memorization.retrieval import IndexSettings, add_index_arguments, open_index
from memorization.shell.cli import Parser

hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile(
    "fuzz", derandomize=False, deadline=None, database=None, max_examples=1000, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

SERVER = Path(__file__).parents[2] / "shared" / "elasticsearch" / "server.sh"
HOW = (
    "no Elasticsearch: set ELASTIC_TEST_URL to one of yours, as from: docker run -p 9200:9200 -e discovery.type="
    "single-node -e xpack.security.enabled=false docker.elastic.co/elasticsearch/elasticsearch:8.19.8"
)
MADE_OF = {"encoding": "0123456789abcdef" * 4, "prefix_length": 50}  # of an index
CONNECTION = ("ELASTIC_URL", "ELASTIC_API_KEY", "ELASTIC_USER", "ELASTIC_PASSWORD", "ELASTIC_CA_CERTS")


class LocalServer:
    """A server of this machine. env: the environment variables that reach it. directory: where it lies already."""

    def __init__(self, *options, directory=None, env=None):
        if not SERVER.is_file() or not shutil.which("java"):
            pytest.skip(HOW)
        self.options, self.directory, self.env = options, directory, env
        if not directory:
            self.directory = tempfile.mkdtemp(prefix="elasticsearch-")
            Path(self.directory).chmod(0o755)
            self.start()

    @property
    def url(self):
        return self.env["ELASTIC_URL"]

    def _run(self, verb, *options):
        command = [SERVER, verb, self.directory, *options]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def start(self):
        exports = self._run("start", *self.options).splitlines()
        self.env = dict(line.removeprefix("export ").split("=", 1) for line in exports)

    def kill(self):
        self._run("kill")

    def remove(self):
        self._run("kill")
        shutil.rmtree(self.directory)


def common(request, tmp_path_factory, name, *options):
    """The LocalServer of a name that all processes of this run share: the first that asks starts it."""
    file = _of_the_run(request.config, tmp_path_factory) / f"{name}.json"
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if file.exists():
            return LocalServer(*options, **json.loads(file.read_text()))
        server = LocalServer(*options)
        file.write_text(json.dumps({"directory": server.directory, "env": server.env}))
        return server


def _of_the_run(config, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(config, "workerinput") else base


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):  # the last one of all processes
        for file in _of_the_run(session.config, session.config._tmp_path_factory).glob("*_server.json"):
            LocalServer(**json.loads(file.read_text())).remove()


@pytest.fixture(scope="session")
def local_server(request, tmp_path_factory):
    return common(request, tmp_path_factory, "local_server")


@pytest.fixture(scope="session")
def secure_server(request, tmp_path_factory):
    return common(request, tmp_path_factory, "secure_server", "--secure")


@pytest.fixture(scope="session")
def elastic_url(request):
    """The server that ELASTIC_TEST_URL names, else a local one; else the test is skipped."""
    return os.environ.get("ELASTIC_TEST_URL") or request.getfixturevalue("local_server").url


@pytest.fixture(autouse=True)
def own_environment():
    """What a test sets, or a script that it runs in this process, as DeepSpeed's ranks, ends with it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def own_connection(monkeypatch):
    """A server that the person at the shell works with is not the tests' business."""
    for name in CONNECTION:
        if name == "ELASTIC_URL" or "ELASTIC_TEST_URL" not in os.environ:
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def elastic_flags(elastic_url):
    """The flags of an index of the test's own on the server, removed afterwards."""
    flags = ["--elastic-url", elastic_url, "--index-xsuffix", f"test-{uuid.uuid4().hex}"]
    yield flags
    remove_from_server(opened(flags))


@pytest.fixture
def embedded_flags(tmp_path):
    """The flags of an embedded index of the test's own."""
    return ["--indexes", str(tmp_path / "indexes"), "--index-xsuffix", "test"]


@pytest.fixture(params=["embedded", "elastic"])
def flags(request):
    """The flags of an index of the test's own: the test runs with each implementation."""
    return request.getfixturevalue(f"{request.param}_flags")


def opened(flags):
    """The index that these flags of stages 4 and 5 name."""
    parser = Parser("")
    add_index_arguments(parser)
    return open_index(IndexSettings.of(parser.parse_args(flags)))


def remove_from_server(index):
    """Remove what has the name of an ElasticIndex, and what its loads left."""
    indexes = index.client.indices
    indexes.delete(index=[*indexes.get(index=f"{index.name}*"), "none"], ignore_unavailable=True)
