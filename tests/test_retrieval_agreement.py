"""The embedded index and Elasticsearch give the same candidates for real texts."""

import json
import random
from pathlib import Path

import pytest
from conftest import opened

from memorization.retrieval.analysis import tokenize
from memorization.retrieval.stopwords import STOP_WORDS

DATA = Path(__file__).parents[2] / "shared" / "data" / "chatdoctor5k.json"
pytestmark = pytest.mark.skipif(not DATA.is_file(), reason=f"no {DATA.name}: real dialogues, not part of the project")


@pytest.fixture(scope="module")
def rows():
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


def ids(results):
    return [[hit.id for hit in hits] for hits in results]


def test_both_rank_the_same_ten_of_5000_documents(rows, embedded_flags, elastic_flags):
    documents = [(str(i), row["output"]) for i, row in enumerate(rows[:5000])]
    embedded, elastic = opened(embedded_flags), opened(elastic_flags)
    assert embedded.load(documents) == elastic.load(documents) == 5000
    queries = make_queries(rows, 1000)
    pairs = list(zip(ids(embedded.search(queries)), ids(elastic.search(queries)), strict=True))
    assert sum(len(one) for one, _ in pairs) == 10_000
    assert sum(one == other for one, other in pairs) >= 995
    assert sum(set(one) == set(other) for one, other in pairs) >= 999

    # the server's own match query on its own analysis of the words is the ground truth of both
    for query, hits in zip(queries[:50], elastic.search(queries[:50]), strict=True):
        words = " ".join(token for token in tokenize(query) if token not in STOP_WORDS)
        found = elastic.client.search(index=elastic.name, query={"match": {"text": words}}, size=10)["hits"]["hits"]
        assert [hit.score for hit in hits] == pytest.approx([hit["_score"] for hit in found], rel=1e-6)


def test_both_order_repeated_documents_alike_in_several_shards(rows, embedded_flags, elastic_flags):
    texts = [row["output"] for row in rows[:400]] * 5
    random.Random(3).shuffle(texts)
    documents = [(str(i), text) for i, text in enumerate(texts)]
    embedded, elastic = opened(embedded_flags), opened(elastic_flags)
    embedded.load(documents)
    elastic.load(documents, shards=3)
    queries = make_queries(rows, 200)
    assert ids(embedded.search(queries)) == ids(elastic.search(queries))
