"""The interface of an index: documents go in, and for each text the candidates most like it come out."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tqdm import tqdm

from memorization.retrieval.documents import DocumentStream, IndexDocument, IndexMetadata, parse_metadata
from memorization.shell.cli import UserError
from memorization.store.manifests import Kind

INDEX = Kind("index", "load_to_elastic.py")


class Hit(NamedTuple):
    """A document, by its id, and how well it matches: with BM25, Elasticsearch's score in 32 bits."""

    id: str
    score: float


class Index(ABC):
    """Documents (an id and a text each), searched by text.

    name: valid for Elasticsearch, else UserError. where: its name in messages.
    """

    def __init__(self, name: str, where: str) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,199}", name):
            raise UserError(
                f"index name {name!r}: must be lower-case letters, digits, '.', '_' or '-', begin with a letter or "
                "digit and have 200 characters at most; choose another with --index-xsuffix"
            )
        self.name, self.where = name, where
        self._metadata: IndexMetadata | None = None  # once it is open

    @abstractmethod
    def check_load(self, made_of: dict[str, str | int], recreate: bool = False) -> None:
        """Raise UserError for what `load` would refuse before it has read a document."""

    def load(
        self,
        documents: Iterable[tuple[str, str]],
        made_of: dict[str, str | int],
        recreate: bool = False,
        total: int | None = None,
    ) -> IndexMetadata:
        """Make the index hold exactly `documents`, pairs of id and text, and return its metadata.

        made_of: says where they are from; the index adds `documents`, their hash (TextDigest of all pairs as given).
        Texts without a word are left out. Documents stream. A load that fails or is killed leaves the index as it was.
        recreate: replace an index on a server that holds other documents, which is a UserError without it (an embedded
        index is always built anew). total: how many documents there are, for the progress bar.
        """
        stream, self._metadata = DocumentStream(documents), None
        with tqdm(stream, total=total, desc="indexing", unit="doc") as bar:
            return self._load(stream, bar, made_of, recreate)

    @abstractmethod
    def _load(
        self, stream: DocumentStream, documents: Iterable[IndexDocument], made_of: dict[str, str | int], recreate: bool
    ) -> IndexMetadata:
        """load, of documents that come out of `stream`, which has their metadata at the end."""

    @abstractmethod
    def search(self, texts: Sequence[str], k: int = 10) -> list[list[Hit]]:
        """The k best documents for each text, best first, equal scores in the order of loading; none that score 0.

        Opens the index first. Raises UserError if it was removed or replaced by another since it was opened.
        """

    @abstractmethod
    def texts(self, ids: Iterable[str]) -> dict[str, str]:
        """The texts of the documents with these ids. Raises KeyError for an id that is not there, and as search."""

    @abstractmethod
    def _read_metadata(self) -> Any:
        """The metadata as they are stored, a dict; None where there is no index."""

    @abstractmethod
    def _open(self, metadata: IndexMetadata) -> int:
        """Make the index ready to search; return how many documents it holds."""

    def open(self) -> IndexMetadata:
        """The metadata of the index, opened if it is not. Raises UserError unless it is there, whole and finished."""
        if self._metadata is None:
            raw = self._read_metadata()
            if raw is None:
                raise UserError(f"{self.where}: no such index; {self._remedy()}")
            metadata = parse_metadata(raw, self.where, f"{self._remedy()} --recreate")
            if metadata.count is None:
                raise UserError(f"{self.where}: its load has not finished; {self._remedy()}")
            count = self._open(metadata)
            if count != metadata.count:
                raise UserError(
                    f"{self.where}: holds {count} documents, by its metadata {metadata.count}; "
                    f"{self._remedy()} --recreate"
                )
            self._metadata = metadata
        return self._metadata

    def made_of(self) -> dict[str, str | int]:
        """What the index is made of, as it records it. Raises UserError as open does."""
        return self.open().made_of

    def _remedy(self) -> str:
        return f"make it with: python load_to_elastic.py -dir DIR -fn PROBES --index-xsuffix {self.name}"
