"""One loader at a time into a server's index: real loaders that meet, die, are suspended and are overtaken."""

import itertools
import re
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from memorization.retrieval import connection, elastic, hold
from memorization.retrieval.documents import Mark
from memorization.shell.cli import UserError
from support.indexes import MADE_OF, opened

OURS = [(str(i), f"patient {i} has a fever") for i in range(30)]
THEIRS = [(str(i), f"visit {i} for a cough") for i in range(20, 60)]


@pytest.fixture(autouse=True)
def small_writes(monkeypatch):
    monkeypatch.setattr(elastic, "WRITE", 10)


def texts_on(index):
    """All texts that the server holds, by id."""
    index.client.indices.refresh(index=index.name)
    hits = index.client.search(index=index.name, size=1000)["hits"]["hits"]
    return {hit["_id"]: hit["_source"]["text"] for hit in hits}


def mark_on(index):
    return index.client.indices.get_mapping(index=index.name)[index.name]["mappings"]["_meta"]


def broken(documents, after=15):
    yield from itertools.islice(documents, after)
    raise KeyboardInterrupt


@pytest.fixture(params=["none", "finished", "unfinished"])
def before(request, elastic_flags):
    """What is there before two loaders start."""
    if request.param == "finished":
        opened(elastic_flags).load([("0", "old words")], MADE_OF)
    if request.param == "unfinished":
        with pytest.raises(KeyboardInterrupt):
            opened(elastic_flags).load(broken(OURS), MADE_OF)
    return request.param


def test_of_loaders_started_together_one_finishes_with_exactly_its_documents(before, elastic_flags):
    """Six at once; who has the place waits until all others have ended."""
    loaders, ended = 6, threading.Semaphore(0)
    start = threading.Barrier(loaders)

    def load(number):
        documents = [(str(i), f"text {i} of loader {number}") for i in range(30)]

        def streamed():
            for _ in range(loaders - 1):
                assert ended.acquire(timeout=60)
            yield from documents

        index = opened(elastic_flags)
        start.wait()
        try:
            index.load(streamed(), MADE_OF, recreate=before != "none")
            return documents
        except UserError as error:
            ended.release()
            return str(error)

    with ThreadPoolExecutor(loaders) as pool:
        results = list(pool.map(load, range(loaders)))
    refused = [result for result in results if isinstance(result, str)]
    (documents,) = (result for result in results if not isinstance(result, str))
    assert len(refused) == loaders - 1
    # the last two: where the place of the one before was given up, and another was quicker
    assert all(re.search("is being loaded by process|was taken over by|was removed while", line) for line in refused)
    index = opened(elastic_flags)
    index.check()
    assert texts_on(index) == dict(documents)


def test_nothing_of_the_loader_stays_in_a_finished_index(elastic_flags):
    index = opened(elastic_flags)
    index.load(broken_then_whole(index), MADE_OF)
    assert mark_on(index).keys() == {"format", "made_of", "count", "length"}
    assert texts_on(index) == dict(OURS)
    there = index.client.indices.get(index=index.name)[index.name]
    assert all(alias["is_hidden"] for alias in there["aliases"].values()) and len(there["aliases"]) == 1


def broken_then_whole(index):
    """The documents, while another loader tries in vain: with --recreate as without."""
    for count, document in enumerate(OURS):
        if count in (5, 25):
            for recreate in (False, True):
                with pytest.raises(UserError, match=r"is being loaded by process \d+ of \S+ .since .*wait until"):
                    opened(["--elastic-url", index.where.rsplit("/", 1)[0], "--index-xsuffix", index.name]).load(
                        THEIRS, MADE_OF, recreate=recreate
                    )
        yield document


def change_loader(index, **change):
    mark = mark_on(index)
    index.client.indices.put_mapping(index=index.name, meta=mark | {"loader": mark["loader"] | change})


def ended_process():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        ({"process": ended_process}, "has ended in its midst; going on"),
        ({"started": "1"}, "has ended in its midst; going on"),  # another has its number now
        ({"machine": "elsewhere", "host": "far"}, "gave no sign of life; taking its place"),
        ({"machine": ""}, "gave no sign of life; taking its place"),
        ({"token": "0" * 16}, "gave no sign of life; taking its place"),  # killed as it took a place
    ],
)
@pytest.mark.parametrize("recreate", [False, True])
def test_who_has_ended_gives_way_and_if_it_lives_stops_at_its_next_write(
    loader, said, recreate, elastic_flags, monkeypatch, capsys
):
    monkeypatch.setattr(hold, "WATCH", 2)
    monkeypatch.setattr(hold, "POLL", 0.01)
    index = opened(elastic_flags)
    theirs = THEIRS if recreate else OURS

    def documents():
        for count, document in enumerate(OURS):
            if count == 15:  # ten are written
                change_loader(index, **{name: value() if callable(value) else value for name, value in loader.items()})
                assert opened(elastic_flags).load(theirs, MADE_OF, recreate=recreate) == len(theirs)
            yield document

    with pytest.raises(
        UserError, match="was taken over by a load that has ended; this load has stopped and changes no"
    ):
        index.load(documents(), MADE_OF)
    assert said in capsys.readouterr().err
    opened(elastic_flags).check()
    assert texts_on(index) == dict(theirs)


def test_a_beat_elsewhere_is_seen(elastic_flags, monkeypatch):
    monkeypatch.setattr(hold, "BEAT", 0)
    monkeypatch.setattr(hold, "POLL", 0.05)
    index = opened(elastic_flags)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(hold, "_machine", lambda: "elsewhere")
        other = hold.Hold(index.client, index.name, index.where)
    assert other.make(Mark(format=3, made_of=MADE_OF), elastic.MAPPINGS, {})
    stop = threading.Event()

    def live():
        while not stop.wait(0.05):
            other.beat()

    with ThreadPoolExecutor(1) as pool:
        living = pool.submit(live)
        try:
            for recreate in (False, True):
                with pytest.raises(UserError, match="is being loaded by process"):
                    opened(elastic_flags).load(OURS, MADE_OF, recreate=recreate)
        finally:
            stop.set()
        living.result()
    other.leave()
    began = time.monotonic()
    assert opened(elastic_flags).load(OURS, MADE_OF) == len(OURS)  # it has left, so nothing is watched
    assert time.monotonic() - began < hold.WATCH * hold.POLL


def alter(index, id, text=None):
    if text:
        index.client.index(index=index.name, id=id, document={"id": id, "text": text, "terms": text})
    else:
        index.client.delete(index=index.name, id=id)


@pytest.mark.parametrize(
    ("meddle", "message"),
    [
        (lambda index: alter(index, "25", "another text"), "another text under '25'; replace it with --recreate"),
        (lambda index: alter(index, "5"), "1 of them were removed while it was loaded; replace it with --recreate"),
        (
            lambda index: alter(index, "99", "one more"),
            "documents that are not among these; replace it with --recreate",
        ),
    ],
)
def test_what_others_write_meanwhile_is_noticed(meddle, message, elastic_flags):
    index = opened(elastic_flags)

    def documents():
        for count, document in enumerate(OURS):
            if count == 15:
                meddle(index)
            yield document

    with pytest.raises(UserError, match=message):
        index.load(documents(), MADE_OF)
    with pytest.raises(UserError, match="its load has not finished"):
        opened(elastic_flags).search(["fever"])


def test_the_same_text_written_already_is_no_conflict(elastic_flags):
    index = opened(elastic_flags)

    def documents():
        for count, document in enumerate(OURS):
            if count == 15:
                alter(index, "25", OURS[25][1])
            yield document

    assert index.load(documents(), MADE_OF) == len(OURS)
    assert texts_on(index) == dict(OURS)


@pytest.mark.parametrize("removed", ["removed", "made anew"])
def test_an_index_removed_in_the_middle_is_left_as_it_is(removed, elastic_flags):
    index = opened(elastic_flags)

    def documents():
        for count, document in enumerate(OURS):
            if count == 15:
                index.client.indices.delete(index=index.name)
                if removed == "made anew":
                    index.client.indices.create(index=index.name)
            yield document

    with pytest.raises(UserError, match="was removed while it was loaded|was taken over by a load that has ended"):
        index.load(documents(), MADE_OF)
    if removed == "removed":
        assert not index.client.indices.get(index=f"{index.name}*")  # nor is one made by writing
    else:
        assert texts_on(index) == {}


def test_an_index_of_the_version_before_is_searched_and_replaced(elastic_flags):
    index = opened(elastic_flags)
    index.load(OURS, MADE_OF)
    hits = index.search(["fever", "patient 7"])
    alias = next(iter(index.client.indices.get_alias(index=index.name)[index.name]["aliases"]))
    index.client.indices.delete_alias(index=index.name, name=alias)
    index.client.indices.put_settings(index=index.name, settings={"blocks.write": None})
    assert opened(elastic_flags).search(["fever", "patient 7"]) == hits
    assert opened(elastic_flags).load(OURS, MADE_OF) == len(OURS)
    assert opened(elastic_flags).load(THEIRS, MADE_OF, recreate=True) == len(THEIRS)
    assert texts_on(index) == dict(THEIRS)


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
        context.setattr(hold, "_runs", lambda loader: False)  # all before are dead
        context.setattr(hold, "WATCH", 1)  # for one that died between taking its place and saying so
        context.setattr(hold, "POLL", 0.01)
        for kills in itertools.count(1):
            left = kills
            try:
                opened(elastic_flags).load(OURS, MADE_OF, recreate=recreate)
                break
            except Kill:
                pass
    assert kills > 8
    index = opened(elastic_flags)
    index.check()
    assert texts_on(index) == dict(OURS)
    assert mark_on(index).keys() == {"format", "made_of", "count", "length"}


def test_one_killed_as_it_finished_is_finished_by_the_next(elastic_flags, monkeypatch):
    """All is written and the index closed to writers; the mark says nothing of that yet."""

    def killed(self, mark):
        raise KeyboardInterrupt

    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr(hold.Hold, "finish", killed)
        opened(elastic_flags).load(OURS, MADE_OF)
    assert opened(elastic_flags).load(OURS, MADE_OF) == len(OURS)
    opened(elastic_flags).check()
