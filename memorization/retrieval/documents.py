"""The documents that an index is given, checked and hashed as they stream by, and the metadata that describes them."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import msgspec

from memorization.retrieval.analysis import tokenize
from memorization.shell.cli import UserError
from memorization.store.files import NOT_OF_SHAPE
from memorization.store.manifests import TextDigest

FORMAT = 5  # of what an index holds; raise it when documents, their analysis or the files change

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class IndexDocument(NamedTuple):
    """A text to index, with its terms in order (analysis.tokenize). number: its place in the index, from 0."""

    number: int
    id: str
    text: str
    terms: list[str]


class Loader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The process that loads, or loaded, a server's index."""

    host: str
    process: Annotated[int, msgspec.Meta(gt=0, lt=2**31)]


class IndexMetadata(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an index records of itself.

    made_of: what it is made of (design: What makes a result), the hash of its documents included. count: how many
    documents it holds; None while it is being loaded. files: the SHA-256 of each file of an index in a directory.
    loader: of an index on a server.
    """

    format: int
    made_of: dict[str, str | int]
    count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    files: dict[str, str] | None = None
    loader: Loader | None = None

    def __post_init__(self) -> None:
        if self.count is not None and not isinstance(self.made_of.get("documents"), str):
            raise ValueError("a count without the hash of the documents")


def parse_metadata(raw: object, where: str, remedy: str) -> IndexMetadata:
    """Metadata as it was read from the index `where`. Raises UserError if it is none, or of another format."""
    if not isinstance(raw, dict) or "format" not in raw:
        raise UserError(f"{where}: is no index of ours; {remedy}")
    if raw["format"] != FORMAT:
        raise UserError(f"{where}: has format {raw['format']!r}, this version reads {FORMAT}; {remedy}")
    try:
        return msgspec.convert(raw, IndexMetadata)
    except NOT_OF_SHAPE as error:
        raise UserError(f"{where}: its metadata is damaged ({error}); {remedy}") from None


class DocumentStream:
    """The documents of a load, given as (id, text): iterate over those that have terms. The ids stay in memory.

    count: how many these are so far. Lone surrogates become U+FFFD. Raises UserError for a bad or repeated id.
    """

    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        self._documents, self._ids, self._digest = documents, set[str](), TextDigest()
        self.count = 0

    def __iter__(self) -> Iterator[IndexDocument]:
        for id, text in self._documents:
            if not 0 < len(id.encode("utf-8", "replace")) <= 512 or LONE_SURROGATE.search(id):
                raise UserError(f"document id {id[:50]!r}: must have 1 to 512 bytes of UTF-8; fix the probes file")
            if id in self._ids:
                raise UserError(f"document id {id!r}: occurs twice; each must be unique: fix the probes file")
            self._ids.add(id)
            self._digest.add(id, text)
            text = LONE_SURROGATE.sub("\ufffd", text)
            if terms := tokenize(text):
                self.count += 1
                yield IndexDocument(self.count - 1, id, text, terms)

    def metadata(self, made_of: dict[str, str | int]) -> IndexMetadata:
        """The metadata of an index of all that has streamed by."""
        return IndexMetadata(format=FORMAT, made_of=made_of | {"documents": self._digest.hex()}, count=self.count)
