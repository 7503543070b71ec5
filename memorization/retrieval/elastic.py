"""An index on an Elasticsearch server (8 or 9), fed with our terms.

Each load makes an index of its own, <name>-<16 hexadecimal digits>. Once that is complete, the alias <name> is switched
to it in one step, and the index that had the alias before is removed. So loaders do not disturb each other, and one
that is killed leaves nothing under the name. What it leaves under its own is removed by the next load of the name, if
its process has ended (on the same machine) or it is a day old. A wrong guess stops that loader and harms no result.
"""

import os
import re
import socket
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from elastic_transport import TransportError
from elasticsearch import ApiError, BadRequestError
from elasticsearch.helpers import streaming_bulk

from memorization.retrieval.analysis import query_terms
from memorization.retrieval.connection import connect, error_of, errors_in_one_line, failures, refusal
from memorization.retrieval.documents import (
    FORMAT,
    DocumentStream,
    IndexDocument,
    IndexMetadata,
    Loader,
    parse_metadata,
)
from memorization.retrieval.index import Hit, Index
from memorization.shell.cli import UserError
from memorization.shell.parallel import batches
from memorization.store.manifests import difference

SEARCHES = 200  # in one request
DOCUMENTS = 1000  # written or fetched in one request
REQUEST = 900_000  # bytes of documents written in one request; proxies commonly let a megabyte pass
DAY = 86_400_000  # milliseconds

MAPPINGS = {
    "_source": {"excludes": ["terms"]},
    "dynamic": "strict",
    "properties": {
        "id": {"type": "keyword"},
        "number": {"type": "integer", "index": False},
        "text": {"type": "text", "index": False},
        "terms": {"type": "text", "analyzer": "whitespace", "index_options": "freqs"},
    },
}


class Stored(NamedTuple):
    """An index on the server. metadata: as stored, {} where somebody else made it. created: milliseconds."""

    name: str
    metadata: dict
    mappings: dict
    aliases: list[str]
    shards: int
    created: int


class ElasticIndex(Index):
    """The index `name` of the server at `urls`. shards, replicas: of an index that is loaded (default: 1 and 0).

    The other arguments are those of connect().
    """

    def __init__(
        self,
        urls: Sequence[str],
        name: str,
        shards: int | None = None,
        replicas: int | None = None,
        ca_certs: Path | None = None,
        ssl_fingerprint: str | None = None,
        insecure: bool = False,
    ) -> None:
        super().__init__(name, where=f"{urls[0]}/{name}")
        self._shards, self._replicas = shards, replicas
        self._index: str | None = None  # the index that the alias had when it was opened
        self.client = connect(urls, ca_certs, ssl_fingerprint, insecure)

    def check_load(self, made_of: dict[str, str | int], recreate: bool = False) -> None:
        with errors_in_one_line(self.where):
            self._unchanged_by_load(made_of, recreate)

    def _load(
        self, stream: DocumentStream, documents: Iterable[IndexDocument], made_of: dict[str, str | int], recreate: bool
    ) -> IndexMetadata:
        self._index = None
        with errors_in_one_line(self.where):
            if stored := self._unchanged_by_load(made_of, recreate):
                if self._replicas is not None:
                    replicas = {"number_of_replicas": self._replicas}
                    self.client.indices.put_settings(index=stored.name, settings=replicas)
                for _ in documents:  # for their hash
                    pass
                self._check_same(stored, stream.metadata(made_of).made_of)
                return self.open()
            own = f"{self.name}-{uuid.uuid4().hex[:16]}"
            try:
                self._create(own, made_of)
                self._write(own, documents)
                metadata = stream.metadata(made_of)
                self._finish(own, metadata)
                self._switch(own, metadata, recreate)
            finally:
                self._discard(own)
            return self.open()

    def search(self, texts: Sequence[str], k: int = 10) -> list[list[Hit]]:
        self.open()
        queries = [Counter(query_terms(text)) for text in texts]
        answers = self._searches(_any_of(query, k) for query in queries if query)
        return [
            [Hit(hit["fields"]["id"][0], hit["_score"]) for hit in next(answers)["hits"]["hits"]] if query else []
            for query in queries
        ]

    def texts(self, ids: Iterable[str]) -> dict[str, str]:
        self.open()
        texts = {}
        for some in batches(ids, DOCUMENTS):
            with errors_in_one_line(self.where):
                answer = self.client.mget(index=self._index, ids=some, source_includes="text")
            for document in self._checked(answer.body)["docs"]:
                if not document["found"]:
                    raise KeyError(document["_id"])
                texts[document["_id"]] = document["_source"]["text"]
        return texts

    def _read_metadata(self) -> Any:
        with errors_in_one_line(self.where):
            stored = self._look_up(self._index or self.name)
        if not stored:
            return None
        self._index = stored.name
        return self._metadata_of(stored)

    def _open(self, metadata: IndexMetadata) -> int:
        (answer,) = self._searches([{"size": 0, "track_total_hits": True}])
        return answer["hits"]["total"]["value"]

    def _look_up(self, name: str) -> Stored | None:
        """The index that has the name or alias; None without one."""
        answer = self.client.options(ignore_status=404).indices.get(index=name)
        if answer.meta.status == 404:
            return None
        if len(answer.body) != 1:
            raise UserError(f"{self.where}: is an alias of several indexes; name another with --index-xsuffix")
        return _stored(*answer.body.popitem())

    def _metadata_of(self, stored: Stored) -> dict:
        if stored.metadata and stored.metadata.get("format") == FORMAT and stored.mappings != MAPPINGS:
            raise UserError(
                f"{self.where}: its fields are not those that this version makes; {self._remedy()} --recreate"
            )
        return stored.metadata

    def _replaceable(self, recreate: bool) -> Stored | None:
        """The index under the name, None without one. Raises UserError if a load may not replace it."""
        stored = self._look_up(self.name)
        if not stored:
            return None
        if stored.name == self.name:
            if "format" not in stored.metadata:
                raise UserError(
                    f"{self.where}: is an index that stage 4 did not make; name another with --index-xsuffix, or "
                    "remove it on the server"
                )
            if not recreate:
                raise UserError(f"{self.where}: was loaded by an earlier version; {self._remedy()} --recreate")
        elif not self._is_own(stored.name):
            raise UserError(f"{self.where}: is an alias of {stored.name}; name another with --index-xsuffix")
        return stored

    def _unchanged_by_load(self, made_of: dict[str, str | int], recreate: bool) -> Stored | None:
        """The index under the name, if a load may only find the same documents in it. Raises UserError for others."""
        stored = self._replaceable(recreate)
        if not stored or recreate:
            return None
        self._check_same(stored, made_of)
        if self._shards not in (None, stored.shards):
            raise UserError(f"{self.where}: has {stored.shards} shards; to change that, add --recreate")
        return stored

    def _is_own(self, index: str) -> bool:
        """Whether an index has a name as loads of this one give."""
        return bool(re.fullmatch(re.escape(self.name) + "-[0-9a-f]{16}", index))

    def _check_same(self, stored: Stored, made_of: dict[str, str | int]) -> None:
        """Raise UserError if the index holds other documents. made_of: without their hash as long as it is unknown."""
        remedy = "replace it with --recreate, or name another with --index-xsuffix"
        there = parse_metadata(self._metadata_of(stored), self.where, remedy).made_of
        if differs := difference(there, {"documents": there.get("documents", "unknown")} | made_of):
            raise UserError(f"{self.where}: holds other documents than these: {differs}; {remedy}")

    def _create(self, own: str, made_of: dict[str, str | int]) -> None:
        """Make the index of this load, and remove what killed loads left."""
        settings = {
            "number_of_shards": self._shards or 1,
            "number_of_replicas": self._replicas or 0,
            "refresh_interval": -1,
            "max_result_window": 2**31 - 1,
        }
        self._loader = Loader(socket.gethostname(), os.getpid())
        metadata = IndexMetadata(format=FORMAT, made_of=made_of, loader=self._loader)
        try:
            self.client.indices.create(
                index=own, mappings=MAPPINGS | {"_meta": msgspec.to_builtins(metadata)}, settings=settings
            )
        except BadRequestError as error:  # the answer to a first request was lost
            if error.error != "resource_already_exists_exception":
                raise
        indexes = [_stored(*item) for item in self.client.indices.get(index=f"{self.name}-*").body.items()]
        now = next(stored.created for stored in indexes if stored.name == own)
        for stored in indexes:
            if stored.name == own or not self._is_own(stored.name) or stored.aliases or "format" not in stored.metadata:
                continue
            if now - stored.created > DAY or _has_ended(stored.metadata.get("loader")):
                self._remove(stored.name)

    def _write(self, own: str, documents: Iterable[IndexDocument], together: int = DOCUMENTS) -> None:
        """Write documents to the index of this load, up to so many together in a request."""
        actions = (
            {
                "_op_type": "create",  # to replace one would count its words twice for hours
                "_id": document.id,
                "id": document.id,
                "number": document.number,
                "text": document.text,
                "terms": " ".join(document.terms),
            }
            for document in documents
        )
        too_large = []
        for _, item in streaming_bulk(
            self.client,
            actions,
            chunk_size=together,
            max_chunk_bytes=REQUEST,
            raise_on_error=False,
            raise_on_exception=False,
            yield_ok=False,
            index=own,
        ):
            answer = item["create"]
            status, fields = answer["status"], answer.get("data")
            if status == 409:  # was written by a request whose answer was lost
                continue
            if status == 413 and together > 1:
                too_large.append(
                    IndexDocument(fields["number"], fields["id"], fields["text"], fields["terms"].split(" "))
                )
                continue
            if status == 413:
                size = len(fields["text"]) + len(fields["terms"])
                raise UserError(
                    f"{self.where}: document {answer['_id']!r} ({size} characters with its words) is larger than the "
                    "server accepts; raise its http.max_content_length, or shorten the text"
                )
            error = error_of(answer["exception"].body if "exception" in answer else answer)
            raise refusal(f"{self.where}, document {answer['_id']!r}", status, error)
        if too_large:
            self._write(own, too_large, max(1, together // 20))

    def _finish(self, own: str, metadata: IndexMetadata) -> None:
        """Close the index to writers, complete its metadata, and check it as a reader does."""
        self.client.indices.refresh(index=own)
        self.client.indices.put_settings(index=own, settings={"refresh_interval": None, "blocks.write": True})
        metadata = msgspec.structs.replace(metadata, loader=self._loader)
        self.client.indices.put_mapping(index=own, meta=msgspec.to_builtins(metadata))
        self._index = own
        self.open()

    def _switch(self, own: str, metadata: IndexMetadata, recreate: bool) -> None:
        """Give the alias to the index of this load, unless another load has finished meanwhile with the same."""
        replaced = None
        while (stored := self._replaceable(recreate)) is None or stored.name != own:
            if stored and not recreate:
                self._check_same(stored, metadata.made_of)
                return
            # the server lets an alias have one write index only: of two loads that find none, one is refused
            actions: list[dict] = [{"add": {"index": own, "alias": self.name, "is_write_index": True}}]
            if stored and stored.name == self.name:
                actions.append({"remove_index": {"index": self.name}})
            elif stored:
                replaced = stored.name
                actions.append({"remove": {"index": replaced, "alias": self.name, "must_exist": True}})
            try:
                self.client.indices.update_aliases(actions=actions)
            except ApiError as error:  # another load was quicker, or this is done and its answer was lost
                if error.status_code != 404 and "more than one write index" not in str(error):
                    raise
        if replaced:
            self._remove(replaced)

    def _remove(self, index: str) -> None:
        self.client.options(ignore_status=404).indices.delete(index=index)

    def _discard(self, own: str) -> None:
        """Remove the index of this load if it has not got the alias, and the server is there."""
        client = self.client.options(request_timeout=5, max_retries=0, ignore_status=404)
        self.client.transport.patient = False  # type: ignore[attr-defined]  # a PatientTransport
        with suppress(ApiError, TransportError):
            if not client.indices.exists_alias(index=own, name=self.name):
                self._index = self._metadata = None
                client.indices.delete(index=own)

    def _searches(self, bodies: Iterable[dict]) -> Iterator[dict]:
        """The answers to these searches, in order, each from all shards."""
        # dfs: all shards weigh terms by the whole index's frequencies
        head = {"search_type": "dfs_query_then_fetch", "allow_partial_search_results": False}
        for some in batches(bodies, SEARCHES):
            searches = [line for body in some for line in (head, body)]
            with errors_in_one_line(self.where):
                answer = self.client.msearch(index=self._index, searches=searches)
            yield from self._checked(answer.body)["responses"]

    def _checked(self, body: dict) -> dict:
        for status, error in failures(body):
            raise refusal(self.where, status, error)
        return body


def _stored(index: str, answer: dict) -> Stored:
    """An index as the server describes it."""
    mappings, settings = dict(answer["mappings"]), answer["settings"]["index"]
    metadata = mappings.pop("_meta", {})
    shards, created = int(settings["number_of_shards"]), int(settings["creation_date"])
    return Stored(index, metadata, mappings, list(answer["aliases"]), shards, created)


def _has_ended(raw: Any) -> bool:
    """Whether the loader of an index has surely ended; of another machine's that is not known."""
    try:
        loader = msgspec.convert(raw, Loader)
    except msgspec.ValidationError:
        return False
    if loader.host != socket.gethostname():
        return False
    try:
        os.kill(loader.process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # another person's
        pass
    return False


def _any_of(terms: Counter[str], k: int) -> dict:
    """The search for the k documents that BM25 ranks highest for a query's terms."""
    clauses = [{"term": {"terms": {"value": term, "boost": count}}} for term, count in terms.items()]
    return {
        "size": k,
        "stored_fields": "_none_",
        "docvalue_fields": ["id"],  # twice as fast as the _id, which is stored with the text
        "track_total_hits": False,
        "query": {"bool": {"should": clauses}},
        "sort": [{"_score": "desc"}, {"number": "asc"}],
    }
