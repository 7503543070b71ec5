"""Speed of loading and searching: the embedded index and Elasticsearch, side by side in one run.

    python -m benchmarks.retrieval --texts dialogues.json --elastic-url http://localhost:9200

Documents and queries are made of the sentences of real answers, drawn with a seed; without --texts, of made-up words
with Zipf frequencies. "one by one" sends each document in a request of its own, as the published code does. Everything
is timed in turn, --rounds times, and the best of each counts. Takes some minutes; wants the machine for itself.
"""

import json
import random
import re
import shutil
import tempfile
import time
from pathlib import Path

from memorization.retrieval.elastic import ElasticIndex
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.shell.cli import Parser, run

NAME = "retrieval-benchmark"


class Ours:
    """An index of the project, by its interface."""

    most = None  # items of a round; None: all

    def __init__(self, index):
        self.index = index

    def load(self, texts):
        self.index.load(((str(i), text) for i, text in enumerate(texts)), {}, recreate=True)

    def search(self, queries):
        self.index.search(queries, 10)

    def remove(self):
        if isinstance(self.index, ElasticIndex):
            names = [*self.index.client.indices.get(index=f"{self.index.name}*")]
            self.index.client.indices.delete(index=[*names, "none"], ignore_unavailable=True)


class OneByOne(Ours):
    """A request a document. Searches are those of its few documents, and not to be compared."""

    most = 1000

    def load(self, texts):
        self.remove()
        for i, text in enumerate(texts):
            self.index.client.index(index=self.index.name, id=str(i), document={"id": i, "text": text})
        self.index.client.indices.refresh(index=self.index.name)

    search = None


def main(args):
    documents, queries = make(args)
    print(f"{args.documents:,} documents of {args.words} words, {args.queries:,} queries of {args.query_words} words")
    directory = tempfile.mkdtemp()
    contenders = {"embedded": Ours(EmbeddedIndex(directory, NAME))}
    if args.elastic_url:
        contenders["elasticsearch"] = Ours(ElasticIndex([args.elastic_url], NAME))
        contenders["elasticsearch, one by one"] = OneByOne(ElasticIndex([args.elastic_url], f"{NAME}-single"))
    rates = {name: ([0], [0]) for name in contenders}
    try:
        for _ in range(args.rounds):
            for name, contender in contenders.items():
                rates[name][0].append(rate(contender.load, documents[: contender.most]))
                if contender.search:
                    rates[name][1].append(rate(contender.search, queries))
    finally:
        shutil.rmtree(directory)
        for contender in contenders.values():
            contender.remove()
    report({name: [max(loads), max(searches)] for name, (loads, searches) in rates.items()})


def make(args):
    """Documents and queries, lists of texts."""
    rng = random.Random(args.seed)
    if args.texts:
        sentences = [
            sentence.split()
            for row in json.loads(args.texts.read_text())
            for sentence in re.split(r"(?<=[.?!]) ", row["output"])
        ]
    else:
        words = [f"word{i}" for i in range(20_000)]
        weights = [1 / (i + 1) for i in range(len(words))]
        sentences = [rng.choices(words, weights, k=15) for _ in range(30_000)]

    def text(length):
        words = []
        while len(words) < length:
            words += rng.choice(sentences)
        return " ".join(words[:length])

    return [text(args.words) for _ in range(args.documents)], [text(args.query_words) for _ in range(args.queries)]


def rate(method, items):
    """Items a second."""
    start = time.perf_counter()
    method(items)
    return len(items) / (time.perf_counter() - start)


def report(best):
    print(f"\n{'':28}{'documents/s':>12}{'queries/s':>12}")
    for name, (load, search) in best.items():
        print(f"{name:28}{load:12,.0f}{search or float('nan'):12,.0f}")
    print()
    if "elasticsearch" in best:
        ratio = best["elasticsearch"][0] / best["elasticsearch, one by one"][0]
        print(f"Elasticsearch in bulk loads {ratio:.1f} times as fast as one by one")
        ratio = best["embedded"][1] / best["elasticsearch"][1]
        print(f"the embedded index answers {ratio:.1f} times the queries of Elasticsearch")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--texts", type=Path, help="JSON file of rows with an `output`")
    parser.add_argument("--elastic-url", help="server, without a password (default: leave it out)")
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=150)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--query-words", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    run(main, parser.parse_args())
