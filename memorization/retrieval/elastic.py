"""An index on an Elasticsearch server (8 or 9), with the server's standard analyser and BM25."""

import sys
import time
from functools import partial
from itertools import islice

from elasticsearch.helpers import bulk
from tqdm import tqdm

from memorization.cli import UserError
from memorization.retrieval.connection import BUSY, PATIENCE, connect, told
from memorization.retrieval.index import FORMAT, Hit, Index, checked

BATCH = 200  # searches in one request
WRITE = 1000  # documents written or fetched in one request


class ElasticIndex(Index):
    """The index `name` of the server at `urls`; the other arguments are those of connect()."""

    def __init__(self, urls, name, **trust):
        super().__init__(name, where=f"{urls[0]}/{name}")
        self.client = connect(urls, **trust)
        self.ready = False

    def load(self, documents, recreate=False, total=None, shards=None, replicas=None):
        ids = set()
        documents = iter(tqdm(checked(documents, ids), total=total, desc=self.where, unit="doc"))
        with told(self.where):
            if recreate:
                self.client.indices.delete(index=self.name, ignore_unavailable=True)
            new = not self.client.indices.exists(index=self.name)
            if new:
                self._create(1 if shards is None else shards, replicas or 0)
            finished = not new and self._mark_of(shards, replicas)["finished"]
            while batch := dict(islice(documents, WRITE)):
                if not new:
                    batch = self._absent(batch)
                if batch and finished:
                    raise self._other(next(iter(batch)))
                self._write(batch)
            self.client.indices.refresh(index=self.name)
            if self.client.count(index=self.name)["count"] > len(ids):
                raise self._other()
            self.client.indices.put_settings(index=self.name, settings={"refresh_interval": None})
            self._mark(finished=True, documents=len(ids))
        return len(ids)

    def _create(self, shards, replicas):
        self.client.indices.create(
            index=self.name,
            settings={"number_of_shards": shards, "number_of_replicas": replicas, "refresh_interval": -1},
            mappings={
                "_meta": {"format": FORMAT, "finished": False},
                "dynamic": "strict",
                "properties": {
                    "id": {"type": "keyword"},
                    "text": {"type": "text", "analyzer": "standard", "index_options": "freqs"},
                },
            },
        )

    def _mark_of(self, shards, replicas):
        """The mark of the index that is there. Raises UserError if it cannot take this load."""
        settings, mark = self._state()
        if mark.get("format") != FORMAT:
            raise UserError(
                f"{self.where}: exists and is not of this format; name another with --index-xsuffix, or replace it "
                "with --recreate"
            )
        if shards not in (None, int(settings["number_of_shards"])):
            raise UserError(f"{self.where}: has {settings['number_of_shards']} shards; to change that, add --recreate")
        if replicas is not None:
            self.client.indices.put_settings(index=self.name, settings={"number_of_replicas": replicas})
        return mark

    def _state(self):
        (index,) = self.client.indices.get(index=self.name).values()
        return index["settings"]["index"], index["mappings"].get("_meta", {})

    def _absent(self, batch):
        """The documents of a batch that are not in the index yet. Raises UserError if one is with another text."""
        there = self._fetch(list(batch))
        for id, text in there.items():
            if text != batch[id]:
                raise self._other(id)
        return {id: text for id, text in batch.items() if id not in there}

    def _other(self, id=None):
        # Documents are never replaced or deleted: BM25 would go on counting their words for hours
        which = "" if id is None else f" (such as {id!r})"
        return UserError(
            f"{self.where}: holds other documents than these{which}; replace it with --recreate, or name another with "
            "--index-xsuffix"
        )

    def _mark(self, **facts):
        self.client.indices.put_mapping(index=self.name, meta={"format": FORMAT, **facts})

    def _write(self, batch):
        bulk(
            self.client,
            ({"_op_type": "create", "_id": id, "_source": {"id": id, "text": text}} for id, text in batch.items()),
            index=self.name,
            max_chunk_bytes=8 << 20,
            max_retries=10,
            initial_backoff=1,
            max_backoff=30,
            retry_on_status=BUSY,
            ignore_status=409,  # written by a request whose answer was lost
        )

    def check(self):
        if self.ready:
            return
        with told(self.where):
            if not self.client.indices.exists(index=self.name):
                raise self.missing()
            _, mark = self._state()
        if "format" not in mark:
            raise UserError(f"{self.where}: is no index of ours; {self.remedy()}")
        if mark["format"] != FORMAT:
            raise UserError(f"{self.where}: has format {mark['format']}, this version reads {FORMAT}; {self.remedy()}")
        if not mark["finished"]:
            raise UserError(f"{self.where}: its load has not finished; run that load_to_elastic.py again")
        self.ready = True

    def texts(self, ids):
        self.check()
        ids, texts = list(ids), {}
        for start in range(0, len(ids), WRITE):
            with told(self.where):
                texts |= self._fetch(ids[start : start + WRITE])
        return {id: texts[id] for id in ids}

    def _fetch(self, ids):
        documents = self._items("docs", partial(self.client.mget, index=self.name, ids=ids, source_includes="text"))
        return {document["_id"]: document["_source"]["text"] for document in documents if document["found"]}

    def _frequencies(self, terms):
        count = {"size": 0, "track_total_hits": True}
        answers = self._msearch([{**count, "query": {"term": {"text": term}}} for term in terms])
        return [answer["hits"]["total"]["value"] for answer in answers]

    def _search(self, queries, k):
        answers = self._msearch([_best(terms, k) for terms in queries])
        return [[Hit(hit["_id"], hit["sort"][0]) for hit in answer["hits"]["hits"]] for answer in answers]

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
                raise self.missing()
            if failed.get("status", 503) not in BUSY or time.monotonic() > until:
                raise UserError(
                    f"{self.where}: the server answered {failed['error']['reason']!r}; see the server's log"
                )
            tqdm.write(f"{self.where}: not ready; trying again in {pause} s", file=sys.stderr)
            time.sleep(pause)
            pause = min(2 * pause, 5)


def _best(terms, k):
    return {
        "size": k,
        "_source": False,
        "track_total_hits": False,
        "sort": [{"_score": "desc"}, {"id": "asc"}],
        "query": {"bool": {"should": [{"term": {"text": {"value": t, "boost": n}}} for t, n in terms.items()]}},
    }
