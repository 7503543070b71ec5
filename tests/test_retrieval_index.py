"""What holds for every index, embedded or on a server."""

from collections import Counter

import numpy as np
import pytest

from memorization.retrieval import Hit
from memorization.retrieval.analysis import MAX_TERMS, tokenize
from memorization.retrieval.stopwords import STOP_WORDS
from memorization.shell.cli import UserError
from support.indexes import MADE_OF, opened

WORDS = [f"word{i}" for i in range(300)]


def draw_texts(count, longest, seed):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest), p=np.arange(1, 301) / 45150)) for _ in range(count)]


TEXTS = {str(i): text for i, text in enumerate(draw_texts(200, 200, seed=7))}
HARD = {
    "nul": "one\0stray and\0",
    "emoji": "well 👍🏽 done 👨‍👩‍👧 🇩🇪",
    "rtl": "שלום עולם مرحبا بالعالم",
    "cjk": "東京タワー ひらがな 한국어 ภาษาไทย",
    "surrogate": "half \ud83d of a pair",
    "long": "longline " * 11_112,
    "lines": "first\r\nsecond\u2028third\n",
    "unbroken": "x" * 100_000,
    "ordinary": "the patient was seen",
}


def bm25(query, texts, k1=1.2, b=0.75):
    """Scores of Robertson's formula with Lucene's idf, and lengths rounded down as its norms are."""
    tokens = {id: Counter(tokenize(text)) for id, text in texts.items()}
    length = {id: sum(counts.values()) for id, counts in tokens.items()}
    mean = np.mean(list(length.values()))
    scores = Counter()
    for term, weight in Counter(token for token in tokenize(query) if token not in STOP_WORDS).items():
        having = [id for id in tokens if term in tokens[id]]
        idf = np.log(1 + (len(texts) - len(having) + 0.5) / (len(having) + 0.5))
        for id in having:
            tf = tokens[id][term]
            norm = 1 - b + b * rounded(length[id]) / mean
            scores[id] += weight * idf * (k1 + 1) * tf / (tf + k1 * norm)
    return scores


def rounded(length):
    """Lucene keeps a length in a byte: exact to 40, then with four significant bits above 24."""
    if length < 40:
        return length
    rest = length - 24
    step = 1 << (rest.bit_length() - 4)
    return 24 + rest // step * step


def test_scores_are_bm25(flags):
    index = opened(flags)
    assert index.load(TEXTS.items(), MADE_OF, total=len(TEXTS)).count == len(TEXTS)
    queries = draw_texts(20, 60, seed=8)
    for query, hits in zip(queries, index.search(queries), strict=True):
        scores = bm25(query, TEXTS)
        assert [hit.score for hit in hits] == pytest.approx(sorted(scores.values(), reverse=True)[:10], rel=1e-6)
        assert [hit.score for hit in hits] == pytest.approx([scores[hit.id] for hit in hits], rel=1e-6)
        assert all(hit.score == float(str(np.float32(hit.score))) for hit in hits)


def test_texts_come_back_as_they_were(flags):
    index = opened(flags)
    index.load(HARD.items(), MADE_OF)
    expected = HARD | {"surrogate": "half \ufffd of a pair"}
    assert index.texts(HARD) == expected
    queries = ["stray", "👨‍👩‍👧", "עולם", "京", "pair \ud83d", "longline", "third", "x" * 255, "the patient"]
    assert [[hit.id for hit in hits] for hits in index.search(queries)] == [[id] for id in HARD]
    with pytest.raises(KeyError):
        index.texts(["nul", "nobody"])


def test_ties_are_broken_by_the_order_of_loading_even_across_the_last_place(flags):
    index = opened(flags)
    ids = [str(i) for i in np.random.default_rng(9).permutation(3000)]
    index.load([(id, "same words here" if int(id) % 2 else "other things there") for id in ids], MADE_OF)
    for k in (1, 10):
        (hits,) = index.search(["same words"], k)
        assert [hit.id for hit in hits] == [id for id in ids if int(id) % 2][:k]
        assert len({hit.score for hit in hits}) == 1


def test_a_text_without_words_is_left_out_and_does_not_count(flags):
    index = opened(flags)
    assert index.load([("1", "fever again"), ("2", ""), ("3", " \0... --"), ("4", "none")], MADE_OF).count == 2
    assert index.search(["fever"])[0][0].score == pytest.approx(bm25("fever", {"1": "fever again", "4": "none"})["1"])


def test_stop_words_leave_queries_and_not_documents(flags):
    index = opened(flags)
    index.load([("1", "to be or not to be"), ("2", "whether nobler")], MADE_OF)
    assert index.search(["to be or not", "", " \0 ", "Don't the", "to BE nobler"]) == [
        [],
        [],
        [],
        [],
        index.search(["nobler"])[0],
    ]
    assert index.search([]) == []
    (hits,) = index.search(["nobler"])
    longer, shorter = (
        bm25("nobler", {"1": "to be or not to be", "2": "whether nobler"}),
        bm25("nobler", {"1": "x", "2": "whether nobler"}),
    )
    assert hits == [Hit("2", pytest.approx(longer["2"], rel=1e-6))] and longer != shorter


def test_a_word_said_twice_counts_twice(flags):
    index = opened(flags)
    index.load([("1", "fever"), ("2", "cough")], MADE_OF)
    assert index.search(["fever cough cough"])[0] == [
        Hit("2", pytest.approx(2 * index.search(["fever"])[0][0].score, rel=1e-6)),
        index.search(["fever"])[0][0],
    ]


def test_of_a_query_with_too_many_words_the_first_count(flags):
    index = opened(flags)
    words = [f"word{i}" for i in range(MAX_TERMS + 1)]
    index.load([("first", words[0]), ("last", words[MAX_TERMS - 1]), ("beyond", words[MAX_TERMS])], MADE_OF)
    (hits,) = index.search([" ".join([*words, words[0]])])
    assert [hit.id for hit in hits] == ["first", "last"]  # the first one stands in it twice


def test_loading_again_changes_nothing(flags):
    opened(flags).load(TEXTS.items(), MADE_OF)
    before = opened(flags).search(["word280 word290 word120"], 50)
    assert opened(flags).load(TEXTS.items(), MADE_OF).count == len(TEXTS)
    assert opened(flags).search(["word280 word290 word120"], 50) == before


def test_a_recreated_index_holds_the_new_documents_only(flags):
    opened(flags).load(TEXTS.items(), MADE_OF)
    assert opened(flags).load([("1", "word280 anew")], MADE_OF, recreate=True).count == 1
    (hits,) = opened(flags).search(["word280"])
    assert [hit.id for hit in hits] == ["1"] and hits[0].score == pytest.approx(
        bm25("word280", {"1": "word280 anew"})["1"], rel=1e-6
    )


def test_a_missing_index_names_the_command_that_makes_it(flags):
    index = opened(flags)
    for use in (index.open, lambda: index.search(["x"]), lambda: index.texts(["1"])):
        with pytest.raises(UserError, match=rf"{flags[-1]}: no such index.*load_to_elastic.py .*{flags[-1]}"):
            use()


@pytest.mark.parametrize("name", ["Upper", "_x", "+x", "a b", "a/b", "a*", "..", "x" * 201, "é", "a\n"])
def test_a_name_that_elasticsearch_refuses_is_refused_by_both(name):
    for server in ([], ["--elastic-url", "http://localhost:1"]):
        with pytest.raises(UserError, match="index name .* --index-xsuffix"):
            opened([*server, "--index-xsuffix", name])


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([("1", "a"), ("1", "b")], "'1'.*occurs twice"),
        ([("", "a")], "1 to 512 bytes"),
        ([("é" * 257, "a")], "1 to 512 bytes"),
    ],
)
def test_a_bad_id_stops_the_load(flags, documents, message):
    with pytest.raises(UserError, match=message):
        opened(flags).load([("0", "whole"), *documents], MADE_OF)
    with pytest.raises(UserError, match="no such index|has not finished"):
        opened(flags).search(["whole"])
