"""An index in an engine that adds up float32 numbers in an order of its own, which shows in the last digits.

It is asked for a few more documents than are wanted, and scores from their texts decide among them.
"""

from abc import abstractmethod
from collections import defaultdict

from memorization.retrieval import bm25
from memorization.retrieval.index import Hit, Index
from memorization.shell.cli import UserError
from memorization.shell.parallel import batches

SPARE = 8  # documents asked for beyond k, to see whether near ties cross the end
READ = 1000  # documents in memory together


class RescoredIndex(Index):
    """An Index whose engine ranks."""

    @abstractmethod
    def _search(self, queries, limit):
        """The `limit` best documents for each query (dict term -> count), a list of (score, id) each, best first."""

    def _best(self, queries, k):
        return self._scored(self._candidates(queries, k), queries)

    def _candidates(self, queries, k):
        """For each query the (score, id) of every document that may be among its k best."""
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

    def _scored(self, candidates, queries):
        """The candidates of each query as Hits, scored from their texts."""
        wanted = defaultdict(list)  # each text is read once: id -> number of a query, the engine's score for it
        for number, found in enumerate(candidates):
            for estimate, id in found:
                wanted[id].append((number, estimate))
        weights = [bm25.term_weights(counts, self._known, self._opened.count) for counts in queries]
        mean_length = self._opened.length / self._opened.count if wanted else None
        hits = [[] for _ in queries]
        for ids in batches(wanted, READ):
            texts = self._find(ids)
            for id in ids:
                scores = bm25.score(texts.get(id, ""), [weights[number] for number, _ in wanted[id]], mean_length)
                for (number, estimate), score in zip(wanted[id], scores, strict=True):
                    if id not in texts or abs(score - estimate) > bm25.tolerance(score, queries[number]):
                        self._check_unchanged()
                        raise UserError(
                            f"{self.where}: damaged, its words are not those of its texts; {self._remedy()} --recreate"
                        )
                    hits[number].append(Hit(id, score))
        return hits
