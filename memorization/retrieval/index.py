"""What both indexes have in common: names, documents, query terms and the order of hits."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from typing import NamedTuple

import numpy as np

from memorization.cli import UserError
from memorization.retrieval.analysis import has_words, tokenize
from memorization.retrieval.stopwords import STOP_WORDS

FORMAT = 1  # of what an index holds; raise it when documents or their analysis change
MAX_TERMS = 1024  # distinct terms of a query: the least limit on clauses that an Elasticsearch server has

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Hit(NamedTuple):
    """A document found, with its BM25 score (float32, k1 = 1.2, b = 0.75)."""

    id: str
    score: float


class Index(ABC):
    """Documents (an id and a text each), searched with BM25.

    name: valid for Elasticsearch, else UserError. where: a name of the index for messages.
    """

    def __init__(self, name, where):
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,199}", name):
            raise UserError(
                f"index name {name!r}: must be lower-case letters, digits, '.', '_' or '-', begin with a letter or "
                "digit and have 200 characters at most; choose another with --index-xsuffix"
            )
        self.name = name
        self.where = where

    @abstractmethod
    def load(self, documents, recreate=False, total=None, shards=None, replicas=None):
        """Make the index hold exactly `documents`, an iterable of (id, text); return how many it holds.

        Streams: only the ids stay in memory. Doing it twice changes nothing, and after a kill it is simply done
        again. Texts without a word are left out, as no query finds them; lone surrogates become U+FFFD. total: for the
        bar. recreate, shards, replicas: for a server (an embedded index is always built anew, in one piece).
        """

    @abstractmethod
    def check(self):
        """Raise UserError unless the index is there, whole, and of this format."""

    @abstractmethod
    def texts(self, ids):
        """The texts of the documents with these ids, as a dict. Raises KeyError for an id that is not there."""

    @abstractmethod
    def _search(self, queries, k):
        """search() on prepared queries, each a dict of term -> weight with 1 to MAX_TERMS terms."""

    @abstractmethod
    def _frequencies(self, terms):
        """In how many documents each term occurs, in order."""

    def search(self, queries, k=10):
        """The k best documents for each query text, a list of Hits each: best first, equal scores by id.

        A document scores the sum over the query's words, stop words removed. Of a query with more than MAX_TERMS
        distinct words the rarest count (ties by word). A query without words has no hits.
        """
        self.check()
        prepared = [self._terms(query) for query in queries]
        found = iter(self._search([terms for terms in prepared if terms], k))
        return [next(found) if terms else [] for terms in prepared]

    def _terms(self, query):
        terms = Counter(token for token in tokenize(query) if token not in STOP_WORDS)
        if len(terms) <= MAX_TERMS:
            return terms
        words = sorted(terms)
        frequencies = np.array(self._frequencies(words))
        present = np.flatnonzero(frequencies)
        rarest = present[np.argsort(frequencies[present], kind="stable")[:MAX_TERMS]]
        return {words[i]: terms[words[i]] for i in rarest}

    def missing(self):
        return UserError(f"{self.where}: no such index; {self.remedy()}")

    def remedy(self):
        return f"make it with: python load_to_elastic.py -dir DIR -fn PROBES --index-xsuffix {self.name}"


def checked(documents, seen):
    """Pass on the documents that have words, their ids noted in `seen`. Raises UserError for a bad or repeated id."""
    for id, text in documents:
        if not 0 < len(id.encode()) <= 512:
            raise UserError(f"document id {id[:50]!r}: must have 1 to 512 bytes; mend the probes file")
        if id in seen:
            raise UserError(f"document id {id!r}: occurs twice; each must be unique: mend the probes file")
        if has_words(text):
            seen.add(id)
            yield id, LONE_SURROGATE.sub("\ufffd", text)
