"""Requests to a server about one index: in pieces of a size it takes, the same again while it is not ready."""

from functools import partial
from typing import NamedTuple

from elasticsearch import ApiError

from memorization.retrieval.connection import Patience, passes, refusal, told
from memorization.shell.cli import UserError

SEARCHES = 200  # in one request
WRITE = 1000  # documents written or fetched, or terms asked for, in one request
CHUNK = 8 << 20  # characters of documents written in one request
HOLDER = ".loader-"  # in the alias through which a loader writes: <index>.loader-<token>


class Found(NamedTuple):
    """What the server says of an index. mark: raw, with the index's uuid; {} where somebody else made the index.

    holders: the aliases of loaders, one at a time (hold.py).
    """

    mark: dict
    holders: list[str]
    mappings: dict
    shards: int


class Requests:
    """Requests about the index `name`. where: a name of it for messages. missing: makes the error for one that is gone.

    Each method raises UserError for what the server refuses and what does not pass.
    """

    def __init__(self, client, name, where, missing):
        self._client, self._name, self._where, self._missing = client, name, where, missing

    def look(self):
        """What there is under the name: Found, or None. Raises UserError where that is no index."""
        with told(self._where):
            answer = self._client.options(ignore_status=404).indices.get(index=self._name)
        if answer.meta.status == 404:
            return None
        if list(answer) != [self._name]:
            raise UserError(f"{self._where}: is an alias or a data stream, no index; name another with --index-xsuffix")
        found = answer[self._name]
        mappings, settings = found["mappings"], found["settings"]["index"]
        mark = mappings.pop("_meta", {})
        if mark:
            # the server's own id of the index tells it from one of the same documents that is loaded in its place
            mark["uuid"] = settings["uuid"]
        holders = sorted(alias for alias in found["aliases"] if alias.startswith(self._name + HOLDER))
        return Found(mark, holders, mappings, int(settings["number_of_shards"]))

    def create(self, documents, alias):
        """Write these (id, (text, terms)) through an alias; return (id, status, error) of each that is refused."""
        half = len(documents) // 2
        operations, size = [], 0
        for id, (text, terms) in documents:
            source = {"id": id, "text": text, "terms": " ".join(terms)}
            operations += {"create": {"_id": id}}, source
            size += len(text) + len(source["terms"])
        if not half or size <= CHUNK:
            try:
                answer = self._client.bulk(operations=operations, index=alias, require_alias=True)
                items = (item["create"] for item in answer["items"])
                return [(item["_id"], item["status"], item["error"]) for item in items if "error" in item]
            except ApiError as error:
                if error.meta.status != 413:
                    raise
                if not half:
                    raise UserError(
                        f"{self._where}: document {documents[0][0]!r} ({size} characters with its words) is larger "
                        "than the server accepts; raise its http.max_content_length, or shorten the text"
                    ) from None
        return self.create(documents[:half], alias) + self.create(documents[half:], alias)

    def texts(self, ids):
        """The texts of the documents with these ids, as a dict; without those that are not there."""
        texts = {}
        for start in range(0, len(ids), WRITE):
            some = ids[start : start + WRITE]
            with told(self._where):
                documents = self._items(
                    "docs", partial(self._client.mget, index=self._name, ids=some, source_includes="text")
                )
            texts |= {document["_id"]: document["_source"]["text"] for document in documents if document["found"]}
        return texts

    def search(self, bodies):
        """The answers to these searches, in order, each from all shards."""
        # dfs: all shards weigh terms by the whole index's frequencies
        head = {"search_type": "dfs_query_then_fetch", "allow_partial_search_results": False}
        answers = []
        for start in range(0, len(bodies), SEARCHES):
            searches = [line for body in bodies[start : start + SEARCHES] for line in (head, body)]
            with told(self._where):
                answers += self._items("responses", partial(self._client.msearch, index=self._name, searches=searches))
        return answers

    def _items(self, key, request):
        """The items of the answer to a request, asked again while shards are not available, as after a restart."""
        patience = Patience()
        while True:
            items = request()[key]
            failed = next((item for item in items if "error" in item), None)
            if not failed:
                return items
            status, error = failed.get("status", 503), failed["error"]
            if not passes(status, error) or not patience.wait(f"index {self._name} is not ready"):
                raise self.refused(status, error)

    def refused(self, status, error, what=""):
        """The UserError for an item that the server refuses. what: the item, for the message."""
        if error["type"] == "index_not_found_exception":
            return self._missing()
        return refusal(self._where + what, status, error)
