"""Every run of words that a generation copies from any sample, and who holds it (design.md, Terms)."""

import numpy as np

from memorization.alignment import Document, prepare
from memorization.alignment.verbatim import common_runs
from memorization.cli import UserError
from memorization.detection.detections import Copied
from memorization.detection.items import ItemIndex
from memorization.detection.span_index import Part, read_whole, span_index_path
from memorization.retrieval.directory import mapped
from memorization.retrieval.strings import Texts

OWN, ALIKE, MEMBER, HELD_OUT, PROMPT = range(5)  # whose a place is: the first one that holds a run is shown


class SpanIndex:
    """All samples of an encoding. samples, clusters: how many are members, and how many held out. texts: by number.

    items: an items.ItemIndex. regions: whose telephone numbers it knows.

    mark: of the span index, where that has been looked through. Raises UserError if stage 4 has not written it, or if
    it has changed since.
    """

    def __init__(self, indexes, encoding, mark=None):
        path = span_index_path(indexes, encoding)
        self.mark = mark or read_whole(path, encoding)
        if self.mark is None:
            raise UserError(f"{path}: no span index of the encoding {encoding}; run load_to_elastic.py again")
        self.ids, self.members, self._clusters = (
            mapped(path / f"{name}.npy") for name in ("ids", "members", "clusters")
        )
        self.samples = list(self.mark.samples)
        self.regions = tuple(self.mark.made_of["regions"].split())
        self.items = ItemIndex(path, self.ids, self.members, self._clusters)
        _, first, cluster, sizes = np.unique(self._clusters, return_index=True, return_inverse=True, return_counts=True)
        self.clusters = [int((self.members[first] == member).sum()) for member in (True, False)]
        self._alike = sizes[cluster] > 1  # whether a sample has near-duplicates
        self.texts = Texts(path / "texts.utf8", path / "ends.npy")
        self._parts = [Part(path / str(number), member) for number, member in enumerate(self.mark.parts)]

    def copied(self, document: Document, id: int, prefix: str, span_length: int) -> tuple[Copied | None, list[Copied]]:
        """(longest, runs) of words that a generation copies.

        document: the prepared generation. id, prefix: of its own sample; what begins in the prefix is no copy of it.
        longest: that of most characters which a training text holds, or None without a word in common. runs: those of
        over span_length characters, each the longest that any text holds, or that its own sample holds behind the
        prefix, even within a longer one of another's.
        """
        own = int(np.searchsorted(self.ids, id))
        if own < len(self.ids) and self.ids[own] == id:
            part, (begin, end) = self._of(own)
            cut = int(np.searchsorted(part.bounds[begin:end, 0], len(prefix)))
            words = part.text[begin:end]
        else:  # as with --unchecked
            own, cut, part, words = -1, 0, None, np.empty(0, np.int32)
        queries = [part.query(document.words) for part in self._parts]
        sides = np.zeros((2, len(document.words)), np.int64)  # words that held-out, that training texts go along with
        for each, query in zip(self._parts, queries, strict=True):
            side = sides[int(each.member)]
            np.maximum(side, each.longest_matches(query, own, cut), out=side)
        begins, ends, characters = _maximal(sides[1], document.bounds, 0)
        longest = [(int(begins[k := characters.argmax()]), int(ends[k]))] if len(begins) else []
        begins, ends, _ = _maximal(sides.max(0), document.bounds, span_length)
        runs = {*zip(begins.tolist(), ends.tolist(), strict=True)}
        if own >= 0:
            query = part.query(document.words)
            of_own = common_runs(words[cut:].astype(np.int64), query.astype(np.int64)).tolist()
            runs |= {
                (begin, begin + n) for _, begin, n in of_own if _characters(document, begin, begin + n) > span_length
            }
        while True:
            copied, ranks = self._copied(document, queries, longest + sorted(runs), own, cut, len(longest))
            prompted = {}  # run -> how many of its first words are the prompt's
            if own >= 0 and self._alike[own]:
                for run, one, rank in zip(sorted(runs), copied[len(longest) :], ranks[len(longest) :], strict=True):
                    if rank != OWN and one.holders == 1 and one.cluster == self._clusters[own]:
                        prompted[run] = _prompted(query[slice(*run)], words[:cut])
            if not any(prompted.values()):
                return copied[0] if longest else None, copied[len(longest) :]
            for (begin, end), skipped in prompted.items():
                runs.discard((begin, end))
                if skipped < end - begin and _characters(document, begin + skipped, end) > span_length:
                    runs.add((begin + skipped, end))

    def holding(self, text):
        """The numbers of the samples that hold the words of a text, one after the other, an array in order."""
        words = prepare(text).words
        if not len(words):
            return np.empty(0, np.int64)
        run = np.zeros(1, np.int64), np.full(1, len(words))
        queries = [part.query(words) for part in self._parts]
        held = [part.holders(query, *run) for part, query in zip(self._parts, queries, strict=True) if min(query) >= 0]
        return np.unique(np.concatenate([np.empty(0, np.int64), *(rows[:, 1] for rows in held)]))

    def _copied(self, document, queries, runs, own, cut, of_members):
        """(Copied, rank of the place that is shown) of each run of words [begin, end) of a generation, as two lists.

        of_members: so many of the first runs name a member.
        """
        begins, ends = np.array(runs, np.int64).reshape(-1, 2).T
        places = [part.holders(query, begins, ends) for part, query in zip(self._parts, queries, strict=True)]
        run, sample, word = np.concatenate(places).T
        member, cluster = self.members[sample], self._clusters[sample]
        alike = (cluster == self._clusters[own]) & (own >= 0)
        rank = np.where(sample == own, np.where(word < cut, PROMPT, OWN), np.where(alike, ALIKE, HELD_OUT - member))
        rank[~member & (run < of_members)] = PROMPT
        order = np.lexsort((word, sample, rank, run))
        first = order[np.searchsorted(run[order], np.arange(len(begins)))]  # of each run the place that is shown
        held = np.unique(np.stack([run, cluster, member]), axis=1)  # the samples of a cluster are on one side
        holders = np.bincount(held[0], minlength=len(begins)).tolist()
        members = np.bincount(held[0], held[2], len(begins)).astype(int).tolist()
        copied = []
        for k, (begin, end) in enumerate(runs):
            span = _span(document.bounds, begin, end)
            at = first[k]
            part, (start, _) = self._of(sample[at])
            copied.append(
                Copied(
                    characters=span[1] - span[0],
                    generation_span=span,
                    holders=holders[k],
                    members=members[k],
                    sample=int(self.ids[sample[at]]),
                    cluster=int(cluster[at]),
                    sample_span=_span(part.bounds, start + word[at], start + word[at] + end - begin),
                )
            )
        return copied, rank[first].tolist()

    def _of(self, sample):
        """(part, place in it) of a sample, by its number."""
        return next((part, place) for part in self._parts if (place := part.place(sample)))


def _prompted(run, prompt):
    """How many of a run's first words the prompt says: all of them, or as many as the prompt ends with."""
    most = 0
    for place in np.flatnonzero(prompt == run[0]).tolist():
        said = min(len(run), len(prompt) - place)
        if np.array_equal(run[:said], prompt[place : place + said]):
            most = max(most, said)
    return most


def _characters(document, begin, end):
    return document.bounds[end - 1, 1] - document.bounds[begin, 0]


def _span(bounds, begin, end):
    return int(bounds[begin, 0]), int(bounds[end - 1, 1])


def _maximal(lengths, bounds, least):
    """(begins, ends, characters) of the maximal runs of over `least` characters, begin and end in words.

    lengths: how many words from each on are a run.
    """
    ends = np.arange(len(lengths)) + lengths  # never fall: the rest of a run is one
    (begins,) = np.nonzero((lengths > 0) & (ends > np.append(-1, ends)[:-1]))
    ends = ends[begins]
    characters = bounds[ends - 1, 1] - bounds[begins, 0]
    long = characters > least
    return begins[long], ends[long], characters[long]
