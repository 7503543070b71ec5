"""An index says itself what it is made of, and is refused when it is not what it was."""

import hashlib
import shutil

import pytest
from elasticsearch import ApiError

from memorization.shell.cli import UserError
from support.indexes import MADE_OF, opened, remove_from_server

OLD = [("1", "fever and cough"), ("2", "a rash"), ("3", "..."), ("4", "half \ud83d of a pair")]
NEW = [("1", "fever and cough"), ("2", "no rash")]


def digest(documents):
    data = b"".join(
        len(part).to_bytes(8, "little") + part
        for document in documents
        for part in (text.encode("utf-8", "surrogatepass") for text in document)
    )
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def index(flags):
    index = opened(flags)
    assert index.load(OLD, MADE_OF).count == 3
    return index


def test_the_index_tells_what_it_is_made_of(index, flags):
    assert opened(flags).made_of() == {**MADE_OF, "documents": digest(OLD)}
    index.load(reversed(OLD), {"prefix_length": 30}, recreate=True)
    assert opened(flags).made_of() == {"prefix_length": 30, "documents": digest(OLD[::-1])}


def test_a_missing_index_has_no_made_of(flags):
    with pytest.raises(UserError, match=f"{flags[-1]}: no such index; make it with: python load_to_elastic.py"):
        opened(flags).made_of()


@pytest.mark.parametrize("use", [lambda index: index.search(["fever"]), lambda index: index.texts(["1"])])
def test_an_index_in_a_directory_that_is_replaced_or_removed_while_in_use_is_noticed(embedded_flags, use):
    index = opened(embedded_flags)
    index.load(OLD, MADE_OF)
    use(index)
    opened(embedded_flags).load(NEW, MADE_OF)
    with pytest.raises(UserError, match="was removed or replaced while in use; run the same command again"):
        use(index)
    index = opened(embedded_flags)
    use(index)
    shutil.rmtree(index.path)
    with pytest.raises(UserError, match="was removed or replaced while in use; run the same command again"):
        use(index)


@pytest.mark.parametrize("use", [lambda index: index.search(["fever"]), lambda index: index.texts(["1"])])
@pytest.mark.parametrize("documents", [OLD, NEW])
def test_an_index_on_a_server_that_is_replaced_or_removed_while_in_use_is_noticed(elastic_flags, use, documents):
    index = opened(elastic_flags)
    index.load(OLD, MADE_OF)
    use(index)
    opened(elastic_flags).load(documents, MADE_OF, recreate=True)
    with pytest.raises(UserError, match="was removed or replaced while in use; run the same command again"):
        use(index)
    index = opened(elastic_flags)
    use(index)
    remove_from_server(index)
    with pytest.raises(UserError, match="was removed or replaced while in use; run the same command again"):
        use(index)


def test_the_same_load_again_disturbs_no_reader(index, flags):
    before = index.search(["fever"])
    assert opened(flags).load(OLD, MADE_OF).count == 3
    assert index.search(["fever"]) == before


class TestServer:
    @pytest.fixture
    def index(self, elastic_flags):
        index = opened(elastic_flags)
        index.load(OLD, MADE_OF)
        return index

    @pytest.mark.parametrize(
        ("documents", "made_of", "message"),
        [
            (NEW, MADE_OF, rf"documents \({digest(OLD)[:12]}, not {digest(NEW)[:12]}\)"),
            (OLD[::-1], MADE_OF, rf"documents \({digest(OLD)[:12]}, not {digest(OLD[::-1])[:12]}\)"),
            (OLD, MADE_OF | {"encoding": "f" * 64}, r"encoding \(0123456789ab, not ffffffffffff\)"),
            (OLD, MADE_OF | {"prefix_length": 30}, r"prefix_length \(50, not 30\)"),
        ],
    )
    def test_is_never_mixed(self, index, elastic_flags, documents, made_of, message):
        with pytest.raises(UserError, match=f"holds other documents than these: {message}; replace it with --recreate"):
            opened(elastic_flags).load(documents, made_of)
        assert opened(elastic_flags).made_of() == {**MADE_OF, "documents": digest(OLD)}

    def test_documents_taken_out_are_noticed(self, index, elastic_flags):
        (own,) = index.client.indices.get_alias(name=index.name)
        with pytest.raises(ApiError, match="index write"):  # a finished index is closed to writers
            index.client.delete(index=own, id="2")
        index.client.indices.put_settings(index=own, settings={"blocks.write": False})
        index.client.delete(index=own, id="2", refresh=True)
        for use in (lambda index: index.open(), lambda index: index.load(OLD, MADE_OF)):
            with pytest.raises(UserError, match="holds 2 documents, by its metadata 3; make it with: .*--recreate"):
                use(opened(elastic_flags))
        opened(elastic_flags).load(OLD, MADE_OF, recreate=True)
        opened(elastic_flags).open()

    def test_it_is_searched_while_another_is_loaded_in_its_place(self, index, elastic_flags):
        before = index.search(["fever"])

        def documents():
            yield from ((str(i), "fever") for i in range(1001))  # the first thousand are written
            assert index.search(["fever"]) == opened(elastic_flags).search(["fever"]) == before

        opened(elastic_flags).load(documents(), MADE_OF, recreate=True)
        assert len(opened(elastic_flags).search(["fever"], 2000)[0]) == 1001
