"""The embedded index and Elasticsearch give the same candidates, but for ties in 32 bits at the cut."""

import json
import random
import uuid
from pathlib import Path

import pytest
from elasticsearch.helpers import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from memorization.retrieval.analysis import tokenize
from memorization.retrieval.stopwords import STOP_WORDS
from support.indexes import MADE_OF, opened, remove_from_server

DATA = Path(__file__).parents[2] / "shared" / "data" / "chatdoctor5k.json"

SCRIPTS = [
    "aB1_.,:;'\"- 9z#*\n\t\0",
    "aé1_.,:'\"’·\u00ad\u0301\u200d\ufe0f\u202f 9ßİΣς",
    "👍🏽👨👩👧🇩🇪🇫1#*\ufe0f\u20e3\u200d❤☺⚕©®™〰〽 a★☎\U000e0067\U000e007f🏴\u0301\ufe0e",
    "日本々〇〆ひがーカタｶﾞ゛ア１２한국ㄱᄀa1_.,'\u3099、。〽・",
    "ภาษาไทย่ລາວກေမြန်a1.\u200d",
    "אבג'\"״׳1a._ ֹ",
    "ǅĐÅﬀⅣⒶªµ٣٤٫ܐا١۲कि्षੴ௧߀שلم",
]
WORDS = st.text("ab '.", min_size=1, max_size=3) | st.sampled_from(["fever", "cough", "x" * 300, "𝒜" * 130])
TEXTS = st.one_of(
    st.text(max_size=30),
    st.one_of([st.text(alphabet, max_size=30) for alphabet in SCRIPTS]),
    st.lists(WORDS, max_size=80).map(" ".join),
)


@pytest.fixture(scope="module")
def both(elastic_url, tmp_path_factory):
    """An embedded index and one on the server, to be loaded with the same documents."""
    embedded = opened(["--indexes", str(tmp_path_factory.mktemp("indexes")), "--index-xsuffix", "agreement"])
    elastic = opened(["--elastic-url", elastic_url, "--index-xsuffix", f"test-{uuid.uuid4().hex}"])
    yield embedded, elastic
    remove_from_server(elastic)


def agree(hits, others):
    """Whether two lists of hits hold the same documents with the same scores, but for rounding, and for documents that
    tie with the last one."""
    if len(hits) != len(others) or [hit.score for hit in hits] != pytest.approx(
        [hit.score for hit in others], rel=1e-5
    ):
        return False
    cut = hits[-1].score * (1 + 1e-5) if hits else 0
    above, others_above = ({hit.id: hit.score for hit in of_index if hit.score > cut} for of_index in (hits, others))
    return above.keys() <= {hit.id for hit in others} and others_above.keys() <= {hit.id for hit in hits}


@settings(max_examples=settings.default.max_examples // 4)  # each makes two indexes
@given(documents=st.lists(TEXTS, max_size=30), queries=st.lists(TEXTS, max_size=10), shards=st.sampled_from([1, 3]))
def test_both_give_the_same_hits_for_any_text(both, documents, queries, shards):
    embedded, elastic = both
    elastic._shards = shards
    documents = [(str(i), text) for i, text in enumerate(documents)]
    queries += [text for _, text in documents]
    counts = [index.load(documents, MADE_OF, recreate=True).count for index in both]
    assert counts[0] == counts[1] and embedded.made_of() == elastic.made_of()
    for k in (1, 10):
        hits = embedded.search(queries, k)
        assert all(map(agree, hits, elastic.search(queries, k)))
    for (_, text), of_text in zip(documents, hits[-len(documents) :], strict=False):
        assert bool(of_text) == any(term not in STOP_WORDS for term in tokenize(text))


def test_both_order_ties_alike(both):
    """Copies, and texts of the same words in other numbers."""
    rng = random.Random(3)
    texts = [" ".join(rng.choices(["fever", "cough", "rash"], k=rng.choice([3, 41, 42, 43]))) for _ in range(1500)]
    documents = [(str(i), text) for i, text in enumerate(texts)]
    for index in both:
        index.load(documents, MADE_OF, recreate=True)
    for query in ("fever", "cough rash", "fever fever cough rash"):
        (hits,), (others,) = (index.search([query], 200) for index in both)
        assert agree(hits, others)
        for of_index in (hits, others):
            assert len(of_index) == 200 and len({hit.score for hit in of_index}) < 200
            assert of_index == sorted(of_index, key=lambda hit: (-hit.score, int(hit.id)))
    (hits,), (others,) = (index.search(["fever"], 200) for index in both)
    assert [hit.id for hit in hits] == [hit.id for hit in others]  # of one term no sum is rounded


@pytest.fixture(scope="module")
def rows():
    if not DATA.is_file():
        pytest.skip(f"no {DATA.name}: real dialogues, not part of the project")
    return json.loads(DATA.read_text())


def make_queries(rows, count):
    """Stretches of 60 words across an answer and a question: parts of indexed and of unseen texts."""
    rng = random.Random(5)
    queries = []
    for _ in range(count):
        words = f"{rng.choice(rows)['output']} {rng.choice(rows)['input']}".split()
        start = rng.randrange(max(1, len(words) - 60))
        queries.append(" ".join(words[start : start + 60]))
    return queries


@pytest.fixture(scope="module")
def standard(elastic_url):
    """A function: documents, queries -> the ids that a plain text field finds, the server's analyser on both sides."""
    index = opened(["--elastic-url", elastic_url, "--index-xsuffix", f"test-{uuid.uuid4().hex}"])

    def search(documents, queries):
        index.client.indices.create(
            index=index.name,
            mappings={"properties": {"text": {"type": "text", "analyzer": "standard"}, "id": {"type": "keyword"}}},
        )
        actions = ({"_id": id, "_source": {"text": text, "id": id}} for id, text in documents)
        bulk(index.client, actions, index=index.name, refresh=True)
        ids = []
        for query in queries:
            body = {"query": {"match": {"text": query}}, "sort": [{"_score": "desc"}, {"id": "asc"}], "size": 10}
            ids.append([hit["_id"] for hit in index.client.search(index=index.name, **body)["hits"]["hits"]])
        return ids

    yield search
    remove_from_server(index)


def test_real_texts_are_ranked_as_by_the_servers_own_analyser(rows, both, standard):
    documents = [(str(i), row["output"]) for i, row in enumerate(rows[:5000])]
    queries = make_queries(rows, 1000)
    for index in both:
        index.load(documents, MADE_OF, recreate=True)
    hits, others = (index.search(queries) for index in both)
    assert sum(map(len, hits)) == 10_000
    assert sum(map(agree, hits, others)) >= 995
    # the stop words leave a query after its analysis: joined by blanks, the others are analysed once more
    words = [" ".join(term for term in tokenize(query) if term not in STOP_WORDS) for query in queries]
    pairs = zip(hits, standard(documents, words), strict=True)
    assert sum({hit.id for hit in top} == set(ids) for top, ids in pairs) >= 995
