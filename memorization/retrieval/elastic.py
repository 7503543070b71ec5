"""An index on an Elasticsearch server (8 or 9), fed with our terms."""

import sys
import time
from functools import partial
from itertools import islice

from elasticsearch.helpers import bulk
from tqdm import tqdm

from memorization.cli import UserError
from memorization.retrieval.connection import BUSY, PATIENCE, connect, told
from memorization.retrieval.documents import FORMAT, Documents
from memorization.retrieval.index import Index
from memorization.runs import difference

BATCH = 200  # searches in one request
WRITE = 1000  # documents written or fetched, or terms asked for, in one request


class ElasticIndex(Index):
    """The index `name` of the server at `urls`; the other arguments are those of connect()."""

    def __init__(self, urls, name, **trust):
        super().__init__(name, where=f"{urls[0]}/{name}")
        self.client = connect(urls, **trust)

    def load(self, documents, made_of, recreate=False, total=None, shards=None, replicas=None):
        self._opened = None
        documents = Documents(documents)
        stream = iter(tqdm(documents, total=total, desc=self.where, unit="doc"))
        with told(self.where):
            if recreate:
                self.client.indices.delete(index=self.name, ignore_unavailable=True)
            there = self._mark()
            if there is None:
                self._create(made_of, 1 if shards is None else shards, replicas or 0)
            else:
                self._accept(there, made_of, shards, replicas)
            if there and "count" in there:  # finished
                for _ in stream:
                    pass
                self._compare(there, documents.mark(made_of)["made_of"])
            else:
                while batch := {id: (text, terms) for id, text, terms in islice(stream, WRITE)}:
                    self._write(batch if there is None else self._absent(batch))
                self.client.indices.refresh(index=self.name)
                if self._open() > documents.count:
                    raise self._other("documents that are not among these")
                self.client.indices.put_settings(index=self.name, settings={"refresh_interval": None})
                self.client.indices.put_mapping(index=self.name, meta=documents.mark(made_of))
        self.check()
        return documents.count

    def _create(self, made_of, shards, replicas):
        self.client.indices.create(
            index=self.name,
            settings={
                "number_of_shards": shards,
                "number_of_replicas": replicas,
                "refresh_interval": -1,
                "max_result_window": 2**31 - 1,  # however many documents tie
            },
            mappings={
                "_meta": {"format": FORMAT, "made_of": made_of},
                "_source": {"excludes": ["terms"]},
                "dynamic": "strict",
                "properties": {
                    "id": {"type": "keyword"},
                    "text": {"type": "text", "index": False},
                    "terms": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"},
                },
            },
        )

    def _accept(self, there, made_of, shards, replicas):
        """Raise UserError if the index with the mark `there` cannot take this load."""
        if there.get("format") != FORMAT:
            raise UserError(
                f"{self.where}: exists and is not of this format; name another with --index-xsuffix, or replace it "
                "with --recreate"
            )
        documents = there["made_of"].get("documents")  # those of this load are not known yet
        self._compare(there, made_of | ({"documents": documents} if documents else {}))
        (index,) = self.client.indices.get_settings(index=self.name).values()
        has = index["settings"]["index"]["number_of_shards"]
        if shards not in (None, int(has)):
            raise UserError(f"{self.where}: has {has} shards; to change that, add --recreate")
        if replicas is not None:
            self.client.indices.put_settings(index=self.name, settings={"number_of_replicas": replicas})

    def _compare(self, there, made_of):
        if there["made_of"] != made_of:
            raise self._other(difference(there["made_of"], made_of))

    def _other(self, what):
        # Documents are never replaced or deleted: BM25 would go on counting their words for hours
        return UserError(
            f"{self.where}: holds other documents than these: {what}; replace it with --recreate, or name another with "
            "--index-xsuffix"
        )

    def _absent(self, batch):
        """The documents of a batch that are not in the index yet. Raises UserError if one is with another text."""
        there = self._find(list(batch))
        for id, text in there.items():
            if text != batch[id][0]:
                raise self._other(f"another text under {id!r}")
        return {id: document for id, document in batch.items() if id not in there}

    def _write(self, batch):
        bulk(
            self.client,
            (
                {"_op_type": "create", "_id": id, "_source": {"id": id, "text": text, "terms": " ".join(terms)}}
                for id, (text, terms) in batch.items()
            ),
            index=self.name,
            max_chunk_bytes=8 << 20,
            max_retries=10,
            initial_backoff=1,
            max_backoff=30,
            retry_on_status=BUSY,
            ignore_status=409,  # written by a request whose answer was lost
        )

    def _mark(self):
        with told(self.where):
            answer = self.client.options(ignore_status=404).indices.get(
                index=self.name, filter_path="*.mappings._meta,*.settings.index.uuid"
            )
        if answer.meta.status == 404:
            return None
        (index,) = answer.values()
        # the server's own id of the index tells it from one of the same documents that is being loaded in its place
        uuid = index["settings"]["index"]["uuid"]
        return index["mappings"]["_meta"] | {"uuid": uuid} if "mappings" in index else {}

    def _open(self):
        (answer,) = self._msearch([{"size": 0, "track_total_hits": True}])
        return answer["hits"]["total"]["value"]

    def _frequencies(self, terms):
        counts = []
        for start in range(0, len(terms), WRITE):
            filters = [{"term": {"terms": term}} for term in terms[start : start + WRITE]]
            (answer,) = self._msearch([{"size": 0, "aggs": {"having": {"filters": {"filters": filters}}}}])
            counts += [bucket["doc_count"] for bucket in answer["aggregations"]["having"]["buckets"]]
        return counts

    def _search(self, queries, limit):
        answers = self._msearch([_any_of(query, limit) for query in queries])
        return [[(hit["_score"], hit["fields"]["id"][0]) for hit in answer["hits"]["hits"]] for answer in answers]

    def _find(self, ids):
        texts = {}
        for start in range(0, len(ids), WRITE):
            some = ids[start : start + WRITE]
            with told(self.where):
                documents = self._items(
                    "docs", partial(self.client.mget, index=self.name, ids=some, source_includes="text")
                )
            texts |= {document["_id"]: document["_source"]["text"] for document in documents if document["found"]}
        return texts

    def _read(self, keys):
        return {id: (id, text) for id, text in self._find(keys).items()}

    def _msearch(self, bodies):
        """The answers to these searches, in order, each from all shards."""
        # dfs: all shards weigh terms by the whole index's frequencies
        head = {"search_type": "dfs_query_then_fetch", "allow_partial_search_results": False}
        answers = []
        for start in range(0, len(bodies), BATCH):
            searches = [line for body in bodies[start : start + BATCH] for line in (head, body)]
            with told(self.where):
                answers += self._items("responses", partial(self.client.msearch, index=self.name, searches=searches))
        return answers

    def _items(self, key, request):
        """The items of the answer to a request, asked again while shards are not available, as after a restart."""
        until, pause = time.monotonic() + PATIENCE, 1
        while True:
            items = request()[key]
            failed = next((item for item in items if "error" in item), None)
            if not failed:
                return items
            if failed["error"]["type"] == "index_not_found_exception":
                raise self._missing()
            if failed.get("status", 503) not in BUSY or time.monotonic() > until:
                raise UserError(
                    f"{self.where}: the server answered {failed['error']['reason']!r}; see the server's log"
                )
            tqdm.write(f"{self.where}: not ready; trying again in {pause} s", file=sys.stderr)
            time.sleep(pause)
            pause = min(2 * pause, 5)


def _any_of(query, limit):
    return {
        "size": limit,
        "stored_fields": "_none_",
        "docvalue_fields": ["id"],  # twice as fast as the _id, which is stored with the text
        "track_total_hits": False,
        "query": {"bool": {"should": [{"term": {"terms": {"value": t, "boost": n}}} for t, n in query.items()]}},
    }
