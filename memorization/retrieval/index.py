"""What both indexes have in common: names, documents, identity, query terms and the order of hits."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from itertools import chain
from typing import NamedTuple

import msgspec

from memorization.retrieval.analysis import tokenize
from memorization.retrieval.documents import FORMAT, Mark
from memorization.retrieval.stopwords import STOP_WORDS
from memorization.shell.cli import UserError
from memorization.store.files import NOT_OF_SHAPE
from memorization.store.manifests import Kind, difference

INDEX = Kind("index", "load_to_elastic.py")
MAX_TERMS = 1024  # distinct terms of a query: the least limit on clauses that an Elasticsearch server has


class Hit(NamedTuple):
    """A document found, with its BM25 score (a float32 in its shortest decimal form; k1 = 1.2, b = 0.75)."""

    id: str
    score: float


class Index(ABC):
    """Documents (an id and a text each), searched with BM25.

    An index carries a mark: its format, what it is made of (design: What makes a result), how many documents it holds
    and how many terms they have. name: valid for Elasticsearch, else UserError. where: a name of it for messages.
    """

    def __init__(self, name, where):
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,199}", name):
            raise UserError(
                f"index name {name!r}: must be lower-case letters, digits, '.', '_' or '-', begin with a letter or "
                "digit and have 200 characters at most; choose another with --index-xsuffix"
            )
        self.name = name
        self.where = where
        self._opened = None  # the mark it had when it was checked
        self._known = {}  # term -> in how many documents it is

    @abstractmethod
    def load(self, documents, made_of, recreate=False, total=None, shards=None, replicas=None):
        """Make the index hold exactly `documents`, an iterable of (id, text); return how many it holds.

        made_of: a dict of str and int, to which the index adds `documents`, the TextDigest of all pairs as given.
        Streams: only the ids stay in memory. Doing it twice changes nothing, and after a kill it is simply done again.
        Texts without a word are left out, as no query finds them; lone surrogates become U+FFFD. total: for the bar.
        One loader at a time: for a second one that is a UserError.
        recreate, shards, replicas: for a server, where other documents or another made_of than those that are there
        are a UserError without recreate (an embedded index is always built anew, in one piece).
        """

    @abstractmethod
    def _read_mark(self):
        """The mark as it is now, a dict, empty where somebody else made the index; None where there is no index."""

    @abstractmethod
    def _open(self, mark):
        """Make ready to search the index with this Mark, and return how many documents it really holds."""

    @abstractmethod
    def _best(self, queries, k):
        """All documents that may be among the k best for each query (dict term -> count, rarest first), as Hits."""

    @abstractmethod
    def _find(self, ids):
        """The texts of the documents with these ids, as a dict; without those that are not there."""

    @abstractmethod
    def _frequencies(self, terms):
        """In how many documents each term occurs, in order."""

    def check(self):
        """Raise UserError unless the index is there, whole, finished, and of this format."""
        if self._opened:
            return
        mark = self._mark()
        if mark is None:
            raise self._missing()
        if not mark.finished:
            raise UserError(f"{self.where}: its load has not finished; run that load_to_elastic.py again")
        held = self._open(mark)
        if held != mark.count:
            raise UserError(
                f"{self.where}: holds {held} documents, by its mark {mark.count}; {self._remedy()} --recreate"
            )
        self._opened, self._known = mark, {}

    def _mark(self):
        """The Mark of the index as it is now; None where there is no index. Raises UserError for one that is none."""
        mark = self._read_mark()
        return None if mark is None else self._as_mark(mark)

    def _as_mark(self, mark):
        """A raw mark as a Mark. Raises UserError if it is none, or of another format."""
        if not isinstance(mark, dict) or "format" not in mark:
            raise UserError(f"{self.where}: is no index of ours; {self._remedy()}")
        if mark["format"] != FORMAT:
            raise UserError(
                f"{self.where}: has format {mark['format']!r}, this version reads {FORMAT}; {self._remedy()}"
            )
        try:
            return msgspec.convert(mark, Mark)
        except NOT_OF_SHAPE as error:
            raise UserError(f"{self.where}: its mark is damaged ({error}); {self._remedy()}") from None

    def made_of(self):
        """What the index is made of, a dict, read from the index itself. Raises UserError as check does."""
        self.check()
        return self._opened.made_of

    def texts(self, ids):
        """The texts of the documents with these ids, as a dict. Raises KeyError for an id that is not there.

        Raises UserError if the index is no longer the one that was opened, as search does.
        """
        self.check()
        ids = list(ids)
        texts = self._find(ids)
        self._check_unchanged()
        return {id: texts[id] for id in ids}

    def search(self, queries, k=10):
        """The k best documents for each query text, a list of Hits each: best first, equal scores by id.

        A document scores the sum over the query's words, stop words removed. Of a query with more than MAX_TERMS
        distinct words the rarest count (ties by word). A query without words has no hits.
        """
        self.check()
        hits = self._best(self._terms(queries), k)
        self._check_unchanged()
        return [sorted(found, key=lambda hit: (-hit.score, hit.id))[:k] for found in hits]

    def _terms(self, queries):
        """The terms of each query that the index has, a dict term -> count; the rarest MAX_TERMS of them."""
        queries = [Counter(term for term in tokenize(query) if term not in STOP_WORDS) for query in queries]
        new = [term for term in dict.fromkeys(chain.from_iterable(queries)) if term not in self._known]
        self._known |= zip(new, self._frequencies(new), strict=True)
        having = self._known
        rarest = [sorted((t for t in counts if having[t]), key=lambda t: (having[t], t)) for counts in queries]
        return [{t: counts[t] for t in terms[:MAX_TERMS]} for counts, terms in zip(queries, rarest, strict=True)]

    def _check_unchanged(self):
        mark = self._mark()
        if mark is None:
            raise self._missing()
        if msgspec.structs.replace(mark, files=self._opened.files) != self._opened:  # the files opened first stay open
            other = difference(mark.made_of, self._opened.made_of) or "loaded again"
            raise UserError(f"{self.where}: is not the index that was opened: {other}; run this command again")

    def _missing(self):
        if not self._opened:
            return UserError(f"{self.where}: no such index; {self._remedy()}")
        held = self._opened.made_of["documents"][:12]
        return UserError(f"{self.where}: was removed while in use, with documents {held} in it; {self._remedy()}")

    def _remedy(self):
        return f"make it with: python load_to_elastic.py -dir DIR -fn PROBES --index-xsuffix {self.name}"
