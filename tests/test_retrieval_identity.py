"""An index says itself what it is made of, and is refused when it is not what it was."""

import hashlib
import itertools
import shutil

import pytest
from elasticsearch import ApiError

from memorization.retrieval.elastic import ElasticIndex
from memorization.shell.cli import UserError
from support.indexes import MADE_OF, opened

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
    assert index.load(OLD, MADE_OF) == 3
    return index


def remove(index):
    if isinstance(index, ElasticIndex):
        index.client.indices.delete(index=index.name)
    else:
        shutil.rmtree(index.path)


def test_the_index_tells_what_it_is_made_of(index, flags):
    assert opened(flags).made_of() == {**MADE_OF, "documents": digest(OLD)}
    index.load(reversed(OLD), {"prefix_length": 30}, recreate=True)
    assert opened(flags).made_of() == {"prefix_length": 30, "documents": digest(OLD[::-1])}


def test_a_missing_index_has_no_made_of(flags):
    with pytest.raises(UserError, match=f"{flags[-1]}: no such index; make it with: python load_to_elastic.py"):
        opened(flags).made_of()


@pytest.mark.parametrize("use", [lambda index: index.search(["fever"]), lambda index: index.texts(["1"])])
def test_an_index_that_is_replaced_or_removed_while_in_use_is_noticed(index, flags, use):
    use(index)
    opened(flags).load(NEW, MADE_OF, recreate=True)
    with pytest.raises(
        UserError, match=rf"is not the index that was opened: documents \({digest(NEW)[:12]}, not {digest(OLD)[:12]}\)"
    ):
        use(index)
    use(opened(flags))
    remove(index)
    with pytest.raises(UserError, match=f"removed while in use, with documents {digest(OLD)[:12]} in it; make it with"):
        use(index)


def test_the_same_documents_of_another_encoding_are_another_index(index, flags):
    index.check()
    opened(flags).load(OLD, MADE_OF | {"encoding": "f" * 64}, recreate=True)
    with pytest.raises(UserError, match=r"opened: encoding \(ffffffffffff, not 0123456789ab\); run this command again"):
        index.search(["fever"])


def test_the_same_load_again_disturbs_no_reader(index, flags):
    before = index.search(["fever"])
    assert opened(flags).load(OLD, MADE_OF) == 3
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

    def test_an_unfinished_load_goes_on_only_with_the_same(self, elastic_flags):
        documents = [(str(i), f"patient {i}") for i in range(2500)]

        def broken():
            yield from itertools.islice(documents, 1700)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            opened(elastic_flags).load(broken(), MADE_OF)
        with pytest.raises(UserError, match=r"prefix_length \(50, not 30\); replace it with --recreate"):
            opened(elastic_flags).load(documents, MADE_OF | {"prefix_length": 30})
        with pytest.raises(UserError, match="another text under '7'; replace it with --recreate"):
            opened(elastic_flags).load([*documents[:7], ("7", "other")], MADE_OF)
        with pytest.raises(UserError, match="documents that are not among these; replace it with --recreate"):
            opened(elastic_flags).load(documents[:100], MADE_OF)
        assert opened(elastic_flags).load(documents, MADE_OF) == 2500
        assert opened(elastic_flags).made_of()["documents"] == digest(documents)

    def test_documents_taken_out_are_noticed(self, index, elastic_flags):
        with pytest.raises(ApiError, match="index write"):  # a finished index is closed to writers
            index.client.delete(index=index.name, id="2")
        index.client.indices.put_settings(index=index.name, settings={"blocks.write": False})
        index.client.delete(index=index.name, id="2", refresh=True)
        for use in (lambda index: index.check(), lambda index: index.load(OLD, MADE_OF)):
            with pytest.raises(UserError, match="holds 2 documents, by its mark 3; make it with: .*--recreate"):
                use(opened(elastic_flags))
        opened(elastic_flags).load(OLD, MADE_OF, recreate=True)
        opened(elastic_flags).check()

    def test_one_that_is_being_loaded_in_its_place_is_not_searched(self, index, elastic_flags):
        def documents():
            yield from ((str(i), "fever") for i in range(1001))  # the first thousand are written, and found
            index.client.indices.refresh(index=index.name)
            with pytest.raises(UserError, match="is not the index that was opened"):
                index.search(["fever"])
            with pytest.raises(UserError, match="its load has not finished"):
                opened(elastic_flags).search(["fever"])

        opened(elastic_flags).load(documents(), MADE_OF, recreate=True)

    def test_the_same_loaded_anew_in_its_place_is_noticed(self, index, elastic_flags):
        index.check()
        opened(elastic_flags).load(OLD, MADE_OF, recreate=True)
        with pytest.raises(UserError, match="is not the index that was opened: loaded again; run this command again"):
            index.search(["fever"])
