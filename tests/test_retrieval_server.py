"""What a server and the way to it do to a load and a search: waited out where it passes, else one line at once."""

import itertools
import uuid

import pytest

from memorization.retrieval import connection, elastic
from memorization.shell.cli import UserError
from support.faulty_proxy import FAULTS, Proxy
from support.indexes import MADE_OF, opened, remove_from_server

WORDS = ["fever", "cough", "ache", "rash", "cramp", "chills", "vertigo"]
DOCUMENTS = {str(i): f"patient {i} {a} {b} {c}" for i, (a, b, c) in enumerate(itertools.product(WORDS, repeat=3))}
QUERIES = [f"patient {i} {WORDS[i % 7]}" for i in range(0, 343, 7)]


@pytest.fixture(scope="module")
def finished(elastic_url):
    """The flags of a finished index, and the hits of the queries in it."""
    flags = ["--elastic-url", elastic_url, "--index-xsuffix", f"test-{uuid.uuid4().hex}"]
    index = opened(flags)
    index.load(DOCUMENTS.items(), MADE_OF)
    yield flags, index.search(QUERIES)
    remove_from_server(index)


@pytest.fixture
def impatient(monkeypatch):
    """Nothing is waited for."""
    monkeypatch.setattr(connection.time, "sleep", lambda seconds: pytest.fail(f"waits {seconds} s"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_load_and_a_search_come_out_right_through(fault, elastic_url, finished, monkeypatch, capsys):
    """The fault comes in bursts, longer than the client's library repeats a request by itself."""
    flags, expected = finished
    for module, name, value in [
        (connection, "PAUSE", 0.01),
        (connection, "TIMEOUT", 0.3 if fault == "late" else 60),
        (elastic, "DOCUMENTS", 100),
        (elastic, "SEARCHES", 20),
    ]:
        monkeypatch.setattr(module, name, value)
    when = (lambda number: number % 7 == 2) if fault == "late" else (lambda number: number % 12 in range(1, 6))
    with Proxy(elastic_url, fault, when) as proxy:
        index = opened(["--elastic-url", proxy.url, *flags[2:]])
        assert index.load(DOCUMENTS.items(), MADE_OF, recreate=True).count == len(DOCUMENTS)
        assert index.search(QUERIES) == expected
        assert index.texts(DOCUMENTS) == DOCUMENTS
        assert proxy.done > 3
    assert fault == "late" or "trying again in 0.01 s" in capsys.readouterr().err
    index = opened(flags)
    assert index.search(QUERIES) == expected
    assert index.client.indices.stats(index=index.name)["_all"]["primaries"]["docs"]["deleted"] == 0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("items", "the server is busy .status 429: injected.; run the same command again later"),
        ("503", "the server is busy .status 503: injected.; run the same command again later"),
        ("cut", "no answer .*; start the server or correct --elastic-url"),
    ],
)
def test_a_server_that_stays_busy_is_given_up(fault, message, elastic_url, elastic_flags, monkeypatch):
    monkeypatch.setattr(connection, "PAUSE", 0.01)
    monkeypatch.setattr(connection, "PATIENCE", 0.01)
    with Proxy(elastic_url) as proxy:
        index = opened(["--elastic-url", proxy.url, *elastic_flags[2:]])
        proxy.fault = fault
        with pytest.raises(UserError, match=message):
            index.load(DOCUMENTS.items(), MADE_OF)


def test_a_server_that_is_busy_at_the_start_is_one_line_at_once(elastic_url, impatient):
    with Proxy(elastic_url, "503") as proxy:
        proxy.next_fault = lambda path: "503"
        with pytest.raises(UserError, match="the server is busy .status 503: injected.; run the same command again"):
            opened(["--elastic-url", proxy.url, "--index-xsuffix", "x"])


def test_a_document_over_the_servers_limit_is_named(elastic_url, elastic_flags, impatient):
    documents = DOCUMENTS | {"long": "word " * 1000}
    with Proxy(elastic_url, limit=8000) as proxy:
        index = opened(["--elastic-url", proxy.url, *elastic_flags[2:]])
        with pytest.raises(UserError, match=r"document 'long' \(9999 characters.*is larger .*http.max_content_length"):
            index.load(documents.items(), MADE_OF)
        del documents["long"]
        assert index.load(documents.items(), MADE_OF).count == len(DOCUMENTS)


def closed(client, name):
    client.indices.close(index=name)


BLOCKS = ("read_only", "read_only_allow_delete", "write")


def blocked(block):
    return lambda client, name: client.indices.put_settings(index=name, settings={f"blocks.{block}": True})


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (closed, "is closed; open it on the server"),
        (blocked("write"), "is blocked .*index write.*take the block"),
        (blocked("read_only"), "is blocked .*read-only.*take the block"),
        (blocked("read_only_allow_delete"), "is blocked .*flood-stage.*free disk space"),
    ],
)
def test_what_does_not_pass_is_one_line_at_once(trouble, message, elastic_flags, impatient, monkeypatch):
    monkeypatch.setattr(elastic, "DOCUMENTS", 100)

    def documents():
        for count, document in enumerate(DOCUMENTS.items()):
            if count == 200:
                (own,) = index.client.indices.get(index=f"{index.name}-*")
                trouble(index.client, own)
            yield document

    index = opened(elastic_flags)
    with pytest.raises(UserError, match=message):
        index.load(documents(), MADE_OF)
    for own in index.client.indices.get(index=f"{index.name}-*"):  # a block may keep it
        index.client.indices.put_settings(index=own, settings={f"index.blocks.{block}": False for block in BLOCKS})
    assert opened(elastic_flags).load(DOCUMENTS.items(), MADE_OF).count == len(DOCUMENTS)
    if trouble is closed:
        index.open()
        (own,) = index.client.indices.get_alias(name=index.name)
        closed(index.client, own)
        for use in (index, opened(elastic_flags)):
            with pytest.raises(UserError, match=message):
                use.search(["fever"])


METADATA = {"format": 5, "made_of": MADE_OF | {"documents": "0" * 64}, "count": 1}


def test_metadata_that_are_none_are_one_line_and_can_be_replaced(elastic_flags, impatient):
    index = opened(elastic_flags)
    index.load([("1", "fever")], MADE_OF)
    for metadata, message in [
        ({name: METADATA[name] for name in ("format", "count")}, "metadata is damaged .*`made_of`"),
        (METADATA | {"count": "1"}, "metadata is damaged .*got `str`"),
        (METADATA | {"count": 1.5}, "metadata is damaged .*got `float`"),
        (METADATA | {"made_of": ["encoding"]}, "metadata is damaged .*got `array`"),
        (METADATA | {"made_of": MADE_OF}, "metadata is damaged .*hash of the documents"),
        (METADATA | {"note": "mine"}, "metadata is damaged .*unknown field `note`"),
        (METADATA | {"loader": {"host": "h", "process": -1}}, "metadata is damaged .*loader.process"),
        (METADATA | {"format": "3"}, "has format '3', this version reads 5"),
        (METADATA | {"count": 7}, "holds 1 documents, by its metadata 7"),
        ({"title": "thesis"}, "is no index of ours"),
    ]:
        index.client.indices.put_mapping(index=index.name, meta=metadata)
        with pytest.raises(UserError, match=f"{message}.*make it with: python load_to_elastic.py"):
            opened(elastic_flags).search(["fever"])
        if "count" not in message and "holds" not in message:
            with pytest.raises(UserError, match=f"{message}.*replace it with --recreate"):
                opened(elastic_flags).load([("1", "fever")], MADE_OF)
    assert opened(elastic_flags).load([("1", "fever")], MADE_OF, recreate=True).count == 1


@pytest.mark.parametrize(
    "change",
    [
        {"terms": {"type": "text", "analyzer": "standard", "index_options": "freqs"}},
        {"terms": {"type": "text", "analyzer": "whitespace", "search_analyzer": "keyword", "index_options": "freqs"}},
        {"id": {"type": "text"}},
        {"title": {"type": "text"}},
    ],
)
def test_other_fields_than_ours_are_noticed(change, elastic_flags):
    index = opened(elastic_flags)
    index.load([("1", "fever")], MADE_OF)
    ((own, answer),) = index.client.indices.get(index=index.name).items()
    mappings = answer["mappings"] | {"properties": answer["mappings"]["properties"] | change}
    index.client.indices.delete(index=own)
    index.client.indices.create(index=own, mappings=mappings, aliases={index.name: {}})
    index.client.index(index=own, document={"id": "1"}, refresh=True)
    with pytest.raises(UserError, match="its fields are not those that this version makes; .*--recreate"):
        opened(elastic_flags).search(["fever"])
    with pytest.raises(UserError, match="its fields are not those that this version makes; .*--recreate"):
        opened(elastic_flags).load([("1", "fever")], MADE_OF)
    assert opened(elastic_flags).load([("1", "fever")], MADE_OF, recreate=True).count == 1


def test_the_alias_of_another_index_is_left_alone(elastic_flags):
    index = opened(elastic_flags)
    names = [f"{index.name}-{letter}" for letter in "ab"]
    for name, message in zip(names, ("is an alias of .*-a; name another", "of several indexes; name"), strict=True):
        index.client.indices.create(index=name, aliases={index.name: {}})
        with pytest.raises(UserError, match=message):
            index.load(DOCUMENTS.items(), MADE_OF, recreate=True)
        with pytest.raises(UserError, match="is no index of ours|of several indexes"):
            index.open()
