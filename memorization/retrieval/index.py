"""What both indexes have in common: names, documents, identity, query terms and the order of hits."""

import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from itertools import chain
from typing import NamedTuple

from memorization.cli import UserError
from memorization.retrieval import bm25
from memorization.retrieval.analysis import tokenize
from memorization.retrieval.stopwords import STOP_WORDS
from memorization.runs import TextDigest, difference

FORMAT = 2  # of what an index holds; raise it when documents or their analysis change
MAX_TERMS = 1024  # distinct terms of a query: the least limit on clauses that an Elasticsearch server has
SPARE = 8  # documents asked for beyond k, to see whether near ties cross the end
READ = 1000  # documents in memory together

LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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
        recreate, shards, replicas: for a server, where other documents or another made_of than those that are there
        are a UserError without recreate (an embedded index is always built anew, in one piece).
        """

    @abstractmethod
    def _mark(self):
        """The mark as it is now, a dict, empty where somebody else made the index; None where there is no index."""

    @abstractmethod
    def _open(self):
        """Make ready to search, and return how many documents the index really holds."""

    @abstractmethod
    def _search(self, queries, limit):
        """The `limit` best documents for each query (dict term -> count), a list of (score, key) each, best first."""

    @abstractmethod
    def _read(self, keys):
        """The (id, text) of the documents with these keys of _search, as a dict; without those that are not there."""

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
        if "format" not in mark:
            raise UserError(f"{self.where}: is no index of ours; {self._remedy()}")
        if mark["format"] != FORMAT:
            raise UserError(f"{self.where}: has format {mark['format']}, this version reads {FORMAT}; {self._remedy()}")
        if not mark.keys() >= {"made_of", "count", "length"}:
            raise UserError(f"{self.where}: its load has not finished; run that load_to_elastic.py again")
        held = self._open()
        if held != mark["count"]:
            raise UserError(
                f"{self.where}: holds {held} documents, by its mark {mark['count']}; {self._remedy()} --recreate"
            )
        self._opened, self._known = mark, {}

    def made_of(self):
        """What the index is made of, a dict, read from the index itself. Raises UserError as check does."""
        self.check()
        return self._opened["made_of"]

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
        queries = self._terms(queries)
        wanted = defaultdict(list)  # key -> of the queries that may have it among their best, number and engine's score
        for number, found in enumerate(self._candidates(queries, k)):
            for score, key in found:
                wanted[key].append((number, score))
        frequencies, documents = self._known, self._opened["count"]
        weights = [bm25.term_weights(counts, frequencies, documents) for counts in queries]
        hits = [[] for _ in queries]
        keys = list(wanted)
        for start in range(0, len(keys), READ):
            texts = self._read(keys[start : start + READ])
            for key in keys[start : start + READ]:
                numbers, estimates = zip(*wanted[key], strict=True)
                id, text = texts.get(key, ("", ""))
                scores = bm25.score(text, [weights[n] for n in numbers], self._opened["length"] / documents)
                for number, estimate, score in zip(numbers, estimates, scores, strict=True):
                    if abs(score - estimate) > bm25.tolerance(score, queries[number]):
                        self._check_unchanged()
                        raise UserError(
                            f"{self.where}: damaged, its words are not those of its texts; {self._remedy()} --recreate"
                        )
                    hits[number].append(Hit(id, score))
        self._check_unchanged()
        return [sorted(found, key=lambda hit: (-hit.score, hit.id))[:k] for found in hits]

    def _terms(self, queries):
        """The terms of each query that the index has, a dict term -> count."""
        queries = [Counter(term for term in tokenize(query) if term not in STOP_WORDS) for query in queries]
        new = [term for term in dict.fromkeys(chain.from_iterable(queries)) if term not in self._known]
        frequencies = self._known | dict(zip(new, self._frequencies(new), strict=True))
        self._known = frequencies
        present = [{term: n for term, n in counts.items() if frequencies[term]} for counts in queries]
        return [
            {term: counts[term] for term in sorted(counts, key=lambda term: (frequencies[term], term))[:MAX_TERMS]}
            for counts in present
        ]

    def _candidates(self, queries, k):
        """For each query the (score, key) of every document that may be among its k best."""
        found, open, limit = [[] for _ in queries], [n for n, counts in enumerate(queries) if counts], k + SPARE
        while open:
            for number, best in zip(open, self._search([queries[n] for n in open], limit), strict=True):
                if len(best) >= k:
                    least = best[k - 1][0]
                    least -= 2 * bm25.tolerance(least, queries[number])
                    found[number] = [hit for hit in best if hit[0] >= least]
                else:
                    found[number] = best
            open = [n for n in open if len(found[n]) == limit]  # ties may go on beyond these
            limit *= 8
        return found

    def _check_unchanged(self):
        mark = self._mark()
        if mark is None:
            raise self._missing()
        if mark != self._opened:
            other = difference(mark.get("made_of", {}), self._opened["made_of"]) or "loaded again"
            raise UserError(f"{self.where}: is not the index that was opened: {other}; run this command again")

    def _missing(self):
        if not self._opened:
            return UserError(f"{self.where}: no such index; {self._remedy()}")
        held = self._opened["made_of"]["documents"][:12]
        return UserError(f"{self.where}: was removed while in use, with documents {held} in it; {self._remedy()}")

    def _remedy(self):
        return f"make it with: python load_to_elastic.py -dir DIR -fn PROBES --index-xsuffix {self.name}"


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
        """The mark of an index of what has streamed by."""
        made_of = made_of | {"documents": self._digest.hex()}
        return {"format": FORMAT, "made_of": made_of, "count": self.count, "length": self.length}
