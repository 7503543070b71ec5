"""What tests share: how hypothesis searches; a real Elasticsearch server, started when a test first asks for it, and
used by all processes of a run.

HYPOTHESIS_PROFILE=fuzz (`make fuzz`) searches at random; else a test tries the same examples every time.
"""

import fcntl
import gc
import json
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test asks a hub
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: a second thread only waits for the first

import uuid

import hypothesis
import pytest

from support.indexes import opened, remove_from_server
from support.servers import LocalServer

hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile(
    "fuzz", derandomize=False, deadline=None, database=None, max_examples=1000, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

CONNECTION = ("ELASTIC_URL", "ELASTIC_API_KEY", "ELASTIC_USER", "ELASTIC_PASSWORD", "ELASTIC_CA_CERTS")


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


def pytest_xdist_auto_num_workers(config):
    """One process more than processors for the slow tests, which wait for servers and launches much of their time."""
    return (os.cpu_count() or 1) + 1 if config.option.markexpr.startswith("slow") else None


SLOW = {"elastic_url", "secure_server", "own_server", "warm_python", "loads"}  # fixtures that start processes

LONG = {"test_ranks.py", "test_commands.py", "test_run_clm.py", "test_canaries.py", "test_encoder_decoder.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONG)  # they begin first, so that none is left for the end
    for item in items:
        if SLOW & {*item.fixturenames}:
            item.add_marker("slow")


def pytest_collection_finish():
    """Every training collects garbage: what is imported by now, a million objects, is none and is not looked at."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(params=["embedded", pytest.param("elastic", marks=pytest.mark.slow)])
def flags(request):
    """The flags of an index of the test's own: the test runs with each implementation."""
    return request.getfixturevalue(f"{request.param}_flags")


@pytest.fixture(scope="session")
def warm_python(request, tmp_path_factory):
    """The directory of the programs of support/warm_python.py, which all processes of this run share."""
    from support.warm_python import start

    directory = _of_the_run(request.config, tmp_path_factory) / "warm"
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "programs").exists():
            start(directory, os.getppid() if hasattr(request.config, "workerinput") else os.getpid())
    return directory / "programs"


@pytest.fixture(scope="session")
def fork_server(warm_python, tmp_path_factory):
    """A ForkServer. Its `work` is an empty directory; beside it lies what the stages read, written by themselves."""
    from support.stage_commands import prepared

    fork_server = prepared(warm_python / "python", tmp_path_factory.mktemp("home"))
    yield fork_server
    fork_server.close()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A directory with what stage 2 reads: `small`, a tokenizer and a configuration, and the sets of two encodings,
    `data` and `other`."""
    from support.training_runs import write_home  # imports torch

    return write_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def finished(home):
    """An uninterrupted run of stage 2 on `data`, 2 epochs of 5 steps, with a checkpoint an epoch."""
    import run_clm
    from support.training_runs import flags

    run_clm.main(flags(home, home / "finished"))
    return home / "finished"


@pytest.fixture(scope="session")
def two(home):
    """`home` with a further encoding, `more`, of 12 samples and 3 held-out ones, which all begin with token 1."""
    from support.training_runs import write_more

    return write_more(home)
