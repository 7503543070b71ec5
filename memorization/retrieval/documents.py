"""What an index is given, checked and counted as it streams by, and the mark that says what the index holds then."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from memorization.retrieval.analysis import tokenize
from memorization.shell.cli import UserError
from memorization.store.manifests import TextDigest

FORMAT = 3  # of what an index holds; raise it when documents or their analysis change

LONE_SURROGATE = re.compile("[\ud800-\udfff]")

Count = Annotated[int, Meta(ge=0)]


class Loader(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who is loading into a server's index. token: of its alias. machine, started: what tells its process from others.

    since: when the load began, for a reader. beat: counts up while the loader lives.
    """

    token: str
    host: str
    machine: str
    process: Annotated[int, Meta(gt=0, lt=2**31)]
    started: str | None
    since: str
    beat: Count = 0


class Mark(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an index says of itself: its format, what it is made of (design: What makes a result), and how many
    documents it holds, of how many terms; the last two not before its load has finished.

    files: the SHA-256 of each file of an embedded index. loader: who is loading into a server's index. uuid: the
    server's own id of the index, which is not stored in the mark.
    """

    format: int
    made_of: dict[str, str | int]
    count: Count | None = None
    length: Count | None = None
    files: dict[str, str] | None = None
    loader: Loader | None = None
    uuid: str | None = None

    def __post_init__(self):
        if self.finished and (self.length is None or not isinstance(self.made_of.get("documents"), str)):
            raise ValueError("a count without a length or the hash of the documents")

    @property
    def finished(self):
        return self.count is not None


class Documents:
    """The documents of a load as they stream by, checked: iterate over (id, text, terms) of those that have terms.

    count, length: how many these are so far, and how many terms they have. Raises UserError for a bad or repeated id.
    """

    def __init__(self, documents):
        self._documents, self._ids, self._digest = documents, set(), TextDigest()
        self.count = self.length = 0

    def __iter__(self):
        for id, text in self._documents:
            if not 0 < len(id.encode("utf-8", "replace")) <= 512 or LONE_SURROGATE.search(id):
                raise UserError(f"document id {id[:50]!r}: must have 1 to 512 bytes of UTF-8; mend the probes file")
            if id in self._ids:
                raise UserError(f"document id {id!r}: occurs twice; each must be unique: mend the probes file")
            self._ids.add(id)
            self._digest.add(id, text)
            text = LONE_SURROGATE.sub("\ufffd", text)
            if terms := tokenize(text):
                self.count += 1
                self.length += len(terms)
                yield id, text, terms

    def mark(self, made_of):
        """The Mark of an index of what has streamed by."""
        made_of = made_of | {"documents": self._digest.hex()}
        return Mark(format=FORMAT, made_of=made_of, count=self.count, length=self.length)
