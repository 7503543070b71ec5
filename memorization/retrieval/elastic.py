"""An index on an Elasticsearch server (8 or 9), fed with our terms."""

from itertools import islice

from elasticsearch import NotFoundError
from tqdm import tqdm

from memorization.retrieval.connection import Patience, connect, passes, told
from memorization.retrieval.documents import FORMAT, Documents, Mark
from memorization.retrieval.hold import Hold
from memorization.retrieval.requests import WRITE, Requests
from memorization.retrieval.rescored import RescoredIndex
from memorization.shell.cli import UserError
from memorization.store.manifests import difference

MAPPINGS = {
    "_source": {"excludes": ["terms"]},
    "dynamic": "strict",
    "properties": {
        "id": {"type": "keyword"},
        "text": {"type": "text", "index": False},
        "terms": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"},
    },
}


class ElasticIndex(RescoredIndex):
    """The index `name` of the server at `urls`; the other arguments are those of connect()."""

    def __init__(self, urls, name, **trust):
        super().__init__(name, where=f"{urls[0]}/{name}")
        self.client = connect(urls, **trust)
        self._requests = Requests(self.client, name, self.where, self._missing)
        self._hold = None  # while we load

    def load(self, documents, made_of, recreate=False, total=None, shards=None, replicas=None):
        self._opened = None
        documents, self._hold = Documents(documents), Hold(self.client, self.name, self.where)
        try:
            with told(self.where), tqdm(documents, total=total, desc="indexing", unit="doc") as bar:
                self._load(documents, iter(bar), made_of, recreate, shards, replicas)
        except BaseException:
            self._hold.leave()
            raise
        finally:
            self._hold = None
        self.check()
        return documents.count

    def _load(self, documents, stream, made_of, recreate, shards, replicas):
        try:
            there, new = self._take(made_of, recreate, shards, replicas)
            if there.finished:
                for _ in stream:
                    pass
                self._compare(there, documents.mark(made_of).made_of)
                return
            while batch := {id: (text, terms) for id, text, terms in islice(stream, WRITE)}:
                self._hold.beat()
                self._write(batch if new else self._absent(batch))
            self._finish(documents.mark(made_of))
        except NotFoundError:
            raise self._missing() from None

    def _take(self, made_of, recreate, shards, replicas):
        """The Mark of the index, and whether it is new and so empty; if it is not finished, its place is ours."""
        start = Mark(format=FORMAT, made_of=made_of)
        settings = {
            "number_of_shards": 1 if shards is None else shards,
            "number_of_replicas": replicas or 0,
            "refresh_interval": -1,
            "max_result_window": 2**31 - 1,  # however many documents tie
        }
        while True:  # until nobody else was quicker
            found = self._requests.look()
            if not found:
                if self._hold.make(start, MAPPINGS, settings):
                    return start, True
                continue
            self._hold.check_ended(found, self._requests.look)
            if recreate:
                if not found.holders or self._hold.take(start, found.holders):
                    self.client.indices.delete(index=self.name, ignore_unavailable=True)
                continue
            there = self._as_mark(self._raw_mark(found))
            documents = there.made_of.get("documents")  # those of this load are not known yet
            self._compare(there, made_of | ({"documents": documents} if documents else {}))
            if shards not in (None, found.shards):
                raise UserError(f"{self.where}: has {found.shards} shards; to change that, add --recreate")
            if replicas is not None:
                self.client.indices.put_settings(index=self.name, settings={"number_of_replicas": replicas})
            if there.finished or self._hold.take(there, found.holders):
                return there, False

    def _finish(self, mark):
        self._check_held(mark)
        # nothing comes in from here on, not even what a loader whose place we took had on its way
        self.client.indices.add_block(index=self._hold.alias, block="write")
        self._check_held(mark)
        self.client.indices.put_settings(index=self._hold.alias, settings={"refresh_interval": None})
        self._hold.finish(mark)

    def _check_held(self, mark):
        """Raise UserError unless the index holds as many documents as were given."""
        self.client.indices.refresh(index=self._hold.alias)
        held = self._open(mark)
        if held > mark.count:
            raise self._other("documents that are not among these")
        if held < mark.count:
            raise self._other(f"{mark.count - held} of them were removed while it was loaded")

    def _compare(self, there, made_of):
        if there.made_of != made_of:
            raise self._other(difference(there.made_of, made_of))

    def _other(self, what):
        # Documents are never replaced or deleted: BM25 would go on counting their words for hours
        return UserError(f"{self.where}: holds other documents than these: {what}; {self._remedy()}")

    def _absent(self, batch):
        """The documents of a batch that are not in the index yet. Raises UserError if one is with another text."""
        there = self._find(list(batch))
        for id, text in there.items():
            if text != batch[id][0]:
                raise self._other(f"another text under {id!r}")
        return {id: document for id, document in batch.items() if id not in there}

    def _write(self, batch):
        """Create these documents. One that is there already was written by a request whose answer was lost."""
        patience = Patience()
        while batch:
            answer = self._requests.create(list(batch.items()), self._hold.alias)
            refused = {id: (status, error) for id, status, error in answer}
            there = [id for id, (status, _) in refused.items() if status == 409]
            wait = [id for id, reason in refused.items() if passes(*reason)]
            for id in refused.keys() - {*there, *wait}:
                raise self._requests.refused(*refused[id], f", document {id!r}")
            batch = self._absent({id: batch[id] for id in there}) | {id: batch[id] for id in wait}
            if batch and not patience.wait(f"the server has not taken {len(batch)} documents"):
                raise self._requests.refused(*refused[next(iter(batch))])
            self._hold.beat()

    def _read_mark(self):
        found = self._requests.look()
        return found and self._raw_mark(found)

    def _raw_mark(self, found):
        if found.mark and found.mappings != MAPPINGS:
            raise UserError(f"{self.where}: its fields are not those that this version makes; {self._remedy()}")
        return found.mark

    def _open(self, mark):
        (answer,) = self._requests.search([{"size": 0, "track_total_hits": True}])
        return answer["hits"]["total"]["value"]

    def _frequencies(self, terms):
        counts = []
        for start in range(0, len(terms), WRITE):
            filters = [{"term": {"terms": term}} for term in terms[start : start + WRITE]]
            (answer,) = self._requests.search([{"size": 0, "aggs": {"having": {"filters": {"filters": filters}}}}])
            counts += [bucket["doc_count"] for bucket in answer["aggregations"]["having"]["buckets"]]
        return counts

    def _search(self, queries, limit):
        answers = self._requests.search([_any_of(query, limit) for query in queries])
        return [[(hit["_score"], hit["fields"]["id"][0]) for hit in answer["hits"]["hits"]] for answer in answers]

    def _find(self, ids):
        return self._requests.texts(ids)

    def _missing(self):
        return self._hold.lost(self._requests.look()) if self._hold else super()._missing()

    def _remedy(self):
        if self._hold:
            return "replace it with --recreate, or name another with --index-xsuffix"
        return super()._remedy()


def _any_of(query, limit):
    return {
        "size": limit,
        "stored_fields": "_none_",
        "docvalue_fields": ["id"],  # twice as fast as the _id, which is stored with the text
        "track_total_hits": False,
        "query": {"bool": {"should": [{"term": {"terms": {"value": t, "boost": n}}} for t, n in query.items()]}},
    }
