"""A real Elasticsearch server on this machine."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[3] / "shared" / "elasticsearch" / "server.sh"


HOW = (
    "no Elasticsearch: set ELASTIC_TEST_URL to one of yours, as from: docker run -p 9200:9200 -e discovery.type="
    "single-node -e xpack.security.enabled=false docker.elastic.co/elasticsearch/elasticsearch:8.19.8"
)


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
