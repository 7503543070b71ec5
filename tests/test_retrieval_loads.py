"""Loads into a server's index: loaders that meet, die, and are overtaken; the alias always has one whole index."""

import itertools
import os
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from memorization.retrieval import connection, elastic
from memorization.retrieval.documents import FORMAT, IndexMetadata, Loader
from memorization.shell.cli import UserError
from support.indexes import MADE_OF, opened

OURS = [(str(i), f"patient {i} has a fever") for i in range(30)]
THEIRS = [(str(i), f"visit {i} for a cough") for i in range(20, 60)]


@pytest.fixture(autouse=True)
def small_requests(monkeypatch):
    monkeypatch.setattr(elastic, "DOCUMENTS", 10)


def texts_on(index):
    """All texts that the server holds under the name, by id."""
    hits = index.client.search(index=index.name, size=1000)["hits"]["hits"]
    return {hit["_id"]: hit["_source"]["text"] for hit in hits}


def indexes_on(index):
    """The names of all indexes that loads of the name have made."""
    return sorted(index.client.indices.get(index=f"{index.name}*"))


def leave_unfinished(index, process, host=None, suffix="0123456789abcdef"):
    """An index as a load leaves it that is killed."""
    metadata = IndexMetadata(format=FORMAT, made_of=MADE_OF, loader=Loader(host or socket.gethostname(), process))
    mappings = elastic.MAPPINGS | {"_meta": msgspec.to_builtins(metadata)}
    name = f"{index.name}-{suffix}"
    index.client.indices.create(index=name, mappings=mappings, settings={"number_of_replicas": 0})
    return name


def ended_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize("recreate", [False, True])
def test_of_loaders_started_together_the_name_has_exactly_the_documents_of_one(recreate, elastic_flags):
    if recreate:
        opened(elastic_flags).load([("0", "old words")], MADE_OF)
    loaders = 6
    start = threading.Barrier(loaders)

    def load(number):
        index, documents = opened(elastic_flags), [(str(i), f"text {i} of loader {number}") for i in range(30)]
        start.wait()
        try:
            index.load(documents, MADE_OF, recreate=recreate)
            return documents
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(loaders) as pool:
        results = list(pool.map(load, range(loaders)))
    refused = [result for result in results if isinstance(result, str)]
    if not recreate:
        assert all("holds other documents than these" in line for line in refused)
    index = opened(elastic_flags)
    index.open()
    assert texts_on(index) in [dict(result) for result in results if not isinstance(result, str)]
    assert len(index.client.indices.get_alias(name=index.name)) == 1
    index.load(OURS, MADE_OF, recreate=True)
    assert texts_on(index) == dict(OURS)


def test_loaders_of_the_same_documents_all_succeed_and_leave_one_index(elastic_flags):
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(opened(elastic_flags).load, OURS, MADE_OF) for _ in range(4)]
    assert len({load.result().made_of["documents"] for load in loads}) == 1
    index = opened(elastic_flags)
    index.load(OURS, MADE_OF, recreate=True)
    assert texts_on(index) == dict(OURS)


@pytest.mark.parametrize("same", [False, True])
def test_a_load_that_another_overtakes_is_refused_or_gives_way(same, elastic_flags):
    def documents():
        yield from OURS[:15]
        opened(elastic_flags).load(OURS if same else THEIRS, MADE_OF)
        yield from OURS[15:]

    index = opened(elastic_flags)
    if same:
        index.load(documents(), MADE_OF)
    else:
        with pytest.raises(UserError, match="holds other documents than these: documents"):
            index.load(documents(), MADE_OF)
    assert texts_on(index) == dict(OURS if same else THEIRS)
    assert len(indexes_on(index)) == 1
    assert opened(elastic_flags).load(OURS, MADE_OF, recreate=True).count == len(OURS)


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("no more")])
def test_a_load_that_fails_leaves_nothing_and_what_was_there_before(error, elastic_flags):
    def failing():
        yield from OURS[:15]
        raise error

    index = opened(elastic_flags)
    for before in ([], [("0", "old words")]):
        if before:
            index.load(before, MADE_OF)
        with pytest.raises(type(error) if isinstance(error, UserError) else error):
            opened(elastic_flags).load(failing(), MADE_OF, recreate=bool(before))
        assert len(indexes_on(index)) == len(before)
    assert texts_on(index) == {"0": "old words"}


def test_what_a_killed_load_left_is_removed_by_the_next_if_it_has_surely_ended(elastic_flags, monkeypatch):
    index = opened(elastic_flags)
    ended = leave_unfinished(index, ended_process(), suffix="0" * 16)
    living = leave_unfinished(index, os.getpid(), suffix="1" * 16)
    elsewhere = leave_unfinished(index, ended_process(), host="elsewhere", suffix="2" * 16)
    of_another_name = f"{index.name}-more-{'3' * 16}"
    index.client.indices.create(index=of_another_name)
    with pytest.raises(UserError, match="no such index"):
        index.open()
    index.load(OURS, MADE_OF)
    assert ended not in indexes_on(index) and {living, elsewhere, of_another_name} < {*indexes_on(index)}
    monkeypatch.setattr(elastic, "DAY", -1)
    index.load(OURS, MADE_OF, recreate=True)
    assert {living, elsewhere}.isdisjoint(indexes_on(index))
    assert len(indexes_on(index)) == 2 and of_another_name in indexes_on(index)


@pytest.mark.parametrize("made_anew", [False, True])
def test_an_index_that_is_removed_while_it_is_loaded_never_gets_the_name(made_anew, elastic_flags):
    index = opened(elastic_flags)

    def documents():
        for count, document in enumerate(OURS):
            if count == 25:
                (own,) = indexes_on(index)
                index.client.indices.delete(index=own)
                if made_anew:
                    index.client.indices.create(index=own)
            yield document

    with pytest.raises(UserError, match="was removed|is no index of ours|its fields are not those"):
        index.load(documents(), MADE_OF)
    assert indexes_on(index) == []


def test_the_index_of_an_earlier_version_is_refused_and_replaced_with_recreate(elastic_flags):
    index = opened(elastic_flags)
    mark = {"format": 3, "made_of": MADE_OF | {"documents": "0" * 64}, "count": 1, "length": 1}
    index.client.indices.create(index=index.name, mappings={"_meta": mark})
    with pytest.raises(UserError, match="has format 3, this version reads [0-9]+; make it with: .* --recreate"):
        index.search(["fever"])
    with pytest.raises(UserError, match="was loaded by an earlier version; make it with: .* --recreate"):
        index.load(OURS, MADE_OF)
    assert index.load(OURS, MADE_OF, recreate=True).count == len(OURS)
    assert texts_on(index) == dict(OURS) and index.name not in indexes_on(index)


@pytest.mark.parametrize("recreate", [False, True])
def test_a_kill_after_any_request_is_made_good_by_the_same_command(recreate, elastic_flags, monkeypatch):
    """Each load dies one request later than the one before and finds what that left, until one has finished."""

    class Kill(BaseException):
        pass

    def perform_request(transport, *args, **options):
        nonlocal left
        left -= 1
        if left < 0:
            raise Kill  # the dead ask for nothing
        response = perform(transport, *args, **options)
        if not left:
            raise Kill
        return response

    if recreate:
        opened(elastic_flags).load(THEIRS, MADE_OF)
    perform = connection.Transport.perform_request
    with monkeypatch.context() as context:
        context.setattr(connection.Transport, "perform_request", perform_request)
        context.setattr(elastic, "_has_ended", lambda loader: True)  # all before are dead
        for kills in itertools.count(1):
            left = kills
            try:
                opened(elastic_flags).load(OURS, MADE_OF, recreate=recreate)
                break
            except Kill:
                pass
            left = 1 << 30
            there = opened(elastic_flags)
            if there.client.indices.exists(index=there.name):  # never anything but a whole one
                there.open()
                assert texts_on(there) in (dict(OURS), dict(THEIRS))
            else:
                assert not recreate
    assert kills > 8
    index = opened(elastic_flags)
    index.open()
    assert texts_on(index) == dict(OURS)
    opened(elastic_flags).load(OURS, MADE_OF, recreate=True)
