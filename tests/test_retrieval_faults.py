"""Faults of a real server: one line with the remedy, or, once it has answered, patience."""

import hashlib
import itertools
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from memorization.retrieval import IndexSettings, open_index
from memorization.shell.cli import UserError
from support.indexes import MADE_OF, opened
from support.servers import LocalServer

WORDS = ["fever", "cough", "ache", "rash", "cramp", "chills", "vertigo"]
DOCUMENTS = {str(i): f"patient {i} {a} {b} {c}" for i, (a, b, c) in enumerate(itertools.product(WORDS * 2, repeat=3))}


def ids_on(index):
    """The ids of the documents as the server lists them."""
    hits = index.client.search(index=index.name, size=10_000, sort="id", source=False)["hits"]["hits"]
    return [hit["_id"] for hit in hits]


@pytest.fixture
def own_server():
    """A server that the test may kill."""
    server = LocalServer()
    yield server
    server.remove()


def test_a_load_and_a_search_go_on_through_a_restart(own_server, capsys):
    flags = ["--elastic-url", own_server.url, "--index-xsuffix", "test"]
    queries = [f"patient {i} {WORDS[i % 7]}" for i in range(100)]
    finished = opened(flags)
    finished.load(DOCUMENTS.items(), MADE_OF)
    before = finished.search(queries)
    loading, loaded = opened([*flags[:-1], "test-2"]), threading.Event()

    def documents():
        for count, document in enumerate(DOCUMENTS.items()):
            if count == 1500:
                own_server.kill()
                starting = pool.submit(own_server.start)
            yield document
        starting.result()

    def search():
        while not loaded.is_set():
            assert finished.search(queries) == before

    with ThreadPoolExecutor() as pool:
        searching = pool.submit(search)
        try:
            assert loading.load(documents(), MADE_OF).count == len(DOCUMENTS)
        finally:
            loaded.set()
        searching.result()
    assert ids_on(loading) == sorted(DOCUMENTS)
    assert loading.texts(DOCUMENTS) == DOCUMENTS
    assert finished.search(queries) == loading.search(queries) == before
    assert capsys.readouterr().err.count("the Elasticsearch server does not answer; trying again in 1 s") >= 2


def test_shards_and_replicas_are_set(elastic_flags):
    def load(recreate=False, **how):
        index = open_index(replace(settings, **how))
        index.load([("1", "fever")], MADE_OF, recreate)
        (answer,) = index.client.indices.get_settings(index=index.name).values()
        return answer["settings"]["index"]

    settings = IndexSettings(elastic_flags[-1], elastic_url=(elastic_flags[1],))
    stored = load(shards=3, replicas=2)
    assert (stored["number_of_shards"], stored["number_of_replicas"]) == ("3", "2")
    assert "refresh_interval" not in stored  # the server's own again
    with pytest.raises(UserError, match="has 3 shards; to change that, add --recreate"):
        load(shards=2)
    stored = load(replicas=0)
    assert (stored["number_of_shards"], stored["number_of_replicas"]) == ("3", "0")
    assert load(recreate=True, shards=2)["number_of_shards"] == "2"


def test_an_index_that_others_made_is_left_alone(elastic_flags):
    index = opened(elastic_flags)
    index.client.index(index=index.name, document={"title": "years of work"}, refresh=True)
    for recreate in (False, True):
        with pytest.raises(UserError, match="is an index that stage 4 did not make; name another"):
            index.load(DOCUMENTS.items(), MADE_OF, recreate=recreate)
    with pytest.raises(UserError, match="is no index of ours"):
        index.search(["x"])
    assert index.client.count(index=index.name)["count"] == 1


def test_no_server_at_the_start_is_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError, match=f"{url}: no answer .*start the server or correct --elastic-url"):
            opened(["--elastic-url", url, "--index-xsuffix", "x"])


@pytest.mark.parametrize(
    "url", ["localhost:9200", "http://localhost", "ftp://localhost:21", "http://:9200", "http://a:b"]
)
def test_a_url_that_is_none_is_one_line(url):
    with pytest.raises(UserError, match="as http://localhost:9200 does"):
        opened(["--elastic-url", url, "--index-xsuffix", "x"])


def test_a_password_in_the_url_is_refused_and_not_shown():
    with pytest.raises(UserError, match="ELASTIC_PASSWORD") as caught:
        opened(["--elastic-url", "http://me:s3cret@localhost:9200", "--index-xsuffix", "x"])
    assert "s3cret" not in str(caught.value)


class TestSecureServer:
    @pytest.fixture(autouse=True)
    def credentials(self, monkeypatch, secure_server):
        for name in ("ELASTIC_USER", "ELASTIC_PASSWORD"):
            monkeypatch.setenv(name, secure_server.env[name])
        self.authority = secure_server.env["ELASTIC_CA_CERTS"]
        self.flags = ["--elastic-url", secure_server.url, "--index-xsuffix", "test"]
        self.port = int(secure_server.url.rsplit(":", 1)[1])

    def test_the_right_ones_are_accepted(self, monkeypatch):
        index = opened([*self.flags, "--ca-certs", self.authority])
        index.load([("1", "fever")], MADE_OF, recreate=True)
        monkeypatch.setenv("ELASTIC_CA_CERTS", self.authority)
        assert [hit.id for hit in opened(self.flags).search(["fever"])[0]] == ["1"]

    def test_a_fingerprint_is_enough_and_must_be_right(self):
        certificate = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", self.port)))
        right = hashlib.sha256(certificate).hexdigest()
        opened([*self.flags, "--ssl-fingerprint", right])
        with pytest.raises(UserError, match="not trusted.*--ssl-fingerprint"):
            opened([*self.flags, "--ssl-fingerprint", right[::-1]])
        with pytest.raises(UserError, match="64 hexadecimal digits"):
            opened([*self.flags, "--ssl-fingerprint", "ab:cd"])

    def test_an_unknown_certificate_is_one_line(self, tmp_path):
        with pytest.raises(UserError, match="certificate is not trusted .*--ca-certs"):
            opened(self.flags)
        with pytest.raises(UserError, match="No such file.*name the PEM file"):
            opened([*self.flags, "--ca-certs", str(tmp_path / "nothing.pem")])
        (tmp_path / "text.pem").write_text("no certificate")
        with pytest.raises(UserError, match="text.pem: .*name the PEM file"):
            opened([*self.flags, "--ca-certs", str(tmp_path / "text.pem")])

    def test_insecure_is_loud(self, capsys):
        opened([*self.flags, "--insecure"])
        assert "WARNING: --insecure: the certificate" in capsys.readouterr().err

    def test_a_wrong_or_missing_password_is_one_line_that_does_not_show_it(self, monkeypatch):
        flags = [*self.flags, "--ca-certs", self.authority]
        monkeypatch.setenv("ELASTIC_PASSWORD", "s3cret")
        with pytest.raises(UserError, match="does not accept the credentials; set .*ELASTIC_PASSWORD") as caught:
            opened(flags)
        assert "s3cret" not in str(caught.value)
        monkeypatch.delenv("ELASTIC_PASSWORD")
        with pytest.raises(UserError, match="one is set without the other"):
            opened(flags)
        monkeypatch.delenv("ELASTIC_USER")
        with pytest.raises(UserError, match="does not accept the credentials"):
            opened(flags)
        monkeypatch.setenv("ELASTIC_API_KEY", "c2VjcmV0OnMzY3JldA==")
        with pytest.raises(UserError, match="does not accept the credentials; set ELASTIC_API_KEY"):
            opened(flags)

    def test_plain_http_to_it_is_one_line(self):
        with pytest.raises(UserError, match="no answer|does not accept"):
            opened(["--elastic-url", f"http://127.0.0.1:{self.port}", "--index-xsuffix", "test"])
