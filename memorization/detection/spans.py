"""Every run of words that a generation copies from any sample, and who holds it (design.md, Terms)."""

import numpy as np

from memorization.alignment.verbatim import common_runs
from memorization.detection.detections import Copied, Run
from memorization.detection.items import ItemIndex
from memorization.detection.own import own_runs
from memorization.detection.span_index import Part, read_whole, span_index_path
from memorization.encoding.words import words
from memorization.shell.cli import UserError
from memorization.store.arrays import mapped
from memorization.store.strings import Texts

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

    def copied(
        self, generation: str, id: int, prefix: str, suffix: str, span_length: int
    ) -> tuple[Copied | None, list[Copied], Run | None]:
        """(longest, runs, own) of words that a generation copies.

        generation: its text. id, prefix, suffix: of its own sample; what begins in the prefix is no copy of it.
        longest: the longest that a training text holds, or None without a word in common. runs: those of a length over
        span_length, each the longest that any text holds, or that its own sample holds behind the prefix, even within
        a longer one of another's. own: the longest in its own suffix, None without a word in common; over span_length
        it is one of the runs.
        """
        ours = words(generation)
        own, cut, first = self._own(id, prefix, suffix)
        queries = [part.query(ours.hashes) for part in self._parts]
        if own >= 0:
            part, (begin, end) = self._of(own)
            text, query = part.text[begin:end], queries[self._parts.index(part)]
        sides = np.zeros((2, len(ours.hashes)), np.int64)  # words that held-out, that training texts go along with
        for each, matches in zip(self._parts, queries, strict=True):
            side = sides[int(each.member)]
            np.maximum(side, each.longest_matches(matches, own, cut), out=side)
        begins, ends, lengths = _maximal(sides[1], ours, 0)
        longest = [(int(begins[k := lengths.argmax()]), int(ends[k]))] if len(begins) else []
        begins, ends, _ = _maximal(sides.max(0), ours, span_length)
        runs = {*zip(begins.tolist(), ends.tolist(), strict=True)}
        if own >= 0:
            of_own = common_runs(text[cut:].astype(np.int64), query.astype(np.int64)).tolist()
            runs |= {(begin, begin + n) for _, begin, n in of_own if ours.lengths(begin, begin + n) > span_length}
        while True:
            copied, ranks = self._copied(ours, queries, longest + sorted(runs), own, cut, len(longest))
            prompted = {}  # run -> how many of its first words are the prompt's
            if own >= 0 and self._alike[own]:
                for run, one, rank in zip(sorted(runs), copied[len(longest) :], ranks[len(longest) :], strict=True):
                    if rank != OWN and one.holders == 1 and one.cluster == self._clusters[own]:
                        prompted[run] = _prompted(query[slice(*run)], text[:cut])
            if not any(prompted.values()):
                break
            for (begin, end), skipped in prompted.items():
                runs.discard((begin, end))
                if skipped < end - begin and ours.lengths(begin + skipped, end) > span_length:
                    runs.add((begin + skipped, end))
        longest, copied = copied[0] if longest else None, copied[len(longest) :]

        of_own = own_runs(generation, ours, suffix, first, span_length)
        if not of_own:
            return longest, copied, None
        best = max(of_own, key=lambda run: run.length)
        pieces = [run for run in of_own if (run.begin, run.end) != (run.whole_begin, run.whole_end)]
        if first is not None and pieces:
            held = [self._held(run, generation, ours, queries, own, cut, len(prefix)) for run in pieces]
            if self.members[own]:
                longest = max([longest, *held] if longest else held, key=lambda run: run.length)
            held = [run for run in held if run.length > span_length]
            copied = [run for run in copied if not any(_within(run, other) for other in held)]
            copied = sorted(copied + held, key=lambda run: run.generation_span)
        return longest, copied, Run(best.length, _span(ours.bounds, best.begin, best.end), best.span)

    def _own(self, id, prefix, suffix):
        """(number, cut, first) of a generation's own sample; (-1, 0, None) if it is not here, as with --unchecked.

        cut: how many of its words begin in the prefix. first: the character of the suffix at which the next one begins,
        None if its text here is another.
        """
        own = int(np.searchsorted(self.ids, id))
        if own == len(self.ids) or self.ids[own] != id:
            return -1, 0, None
        part, (begin, end) = self._of(own)
        starts = part.bounds[begin:end, 0]
        cut = int(np.searchsorted(starts, len(prefix)))
        if not self.texts[own].startswith(prefix + suffix):
            return own, cut, None
        return own, cut, int(starts[cut]) - len(prefix) if cut < len(starts) else len(suffix)

    def _held(self, run, generation, ours, queries, own, cut, prefix):
        """The Copied of an OwnRun. prefix: characters of its sample before the suffix."""
        span = _span(ours.bounds, run.begin, run.end)
        if run.whole_begin < run.whole_end:
            [found], _ = self._copied(ours, queries, [(run.whole_begin, run.whole_end)], own, cut, 0)
            holders, members = found.holders, found.members
        else:  # pieces of words, by which the index finds nothing
            samples = np.union1d(self.texts.holding(generation[slice(*span)]), own)  # which may spell it otherwise
            of_members = samples[self.members[samples]]
            holders, members = (len(np.unique(self._clusters[each])) for each in (samples, of_members))
        return Copied(
            length=run.length,
            generation_span=span,
            holders=holders,
            members=members,
            sample=int(self.ids[own]),
            cluster=int(self._clusters[own]),
            sample_span=(prefix + run.span[0], prefix + run.span[1]),
        )

    def holding(self, text):
        """The numbers of the samples that hold the words of a text, one after the other, an array in order."""
        hashes = words(text).hashes
        if not len(hashes):
            return np.empty(0, np.int64)
        run = np.zeros(1, np.int64), np.full(1, len(hashes))
        queries = [part.query(hashes) for part in self._parts]
        held = [part.holders(query, *run) for part, query in zip(self._parts, queries, strict=True) if min(query) >= 0]
        return np.unique(np.concatenate([np.empty(0, np.int64), *(rows[:, 1] for rows in held)]))

    def _copied(self, ours, queries, runs, own, cut, of_members):
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
            at = first[k]
            part, (start, _) = self._of(sample[at])
            copied.append(
                Copied(
                    length=int(ours.lengths(begin, end)),
                    generation_span=_span(ours.bounds, begin, end),
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


def _span(bounds, begin, end):
    return int(bounds[begin, 0]), int(bounds[end - 1, 1])


def _within(run, other):
    """Whether a Copied is a part of another one of the same generation."""
    return other.generation_span[0] <= run.generation_span[0] and run.generation_span[1] <= other.generation_span[1]


def _maximal(matches, ours, least):
    """(begins, ends, lengths) of the maximal runs of a length over `least`, begin and end in words.

    matches: how many words from each on are a run. ours: the Words.
    """
    ends = np.arange(len(matches)) + matches  # never fall: the rest of a run is one
    (begins,) = np.nonzero((matches > 0) & (ends > np.append(-1, ends)[:-1]))
    ends = ends[begins]
    lengths = ours.lengths(begins, ends)
    long = lengths > least
    return begins[long], ends[long], lengths[long]
