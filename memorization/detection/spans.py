"""Every run of words that a generation copies from any sample, and who holds it (design.md, Terms)."""

import numpy as np

from memorization.cli import UserError
from memorization.detection.detections import Copied, Run
from memorization.detection.own import own_runs
from memorization.detection.span_index import Part, read_whole, span_index_path
from memorization.retrieval.directory import mapped
from memorization.retrieval.strings import Texts
from memorization.words import words


class SpanIndex:
    """All samples of an encoding. samples: how many are members, and how many held out. texts: whole, by number.

    mark: of the span index, where that has been looked through. Raises UserError if stage 4 has not written it, or if
    it has changed since.
    """

    def __init__(self, indexes, encoding, mark=None):
        path = span_index_path(indexes, encoding)
        self.mark = mark or read_whole(path, encoding)
        if self.mark is None:
            raise UserError(f"{path}: no span index of the encoding {encoding}; run load_to_elastic.py again")
        self.ids, self.members, self.clusters = (
            mapped(path / f"{name}.npy") for name in ("ids", "members", "clusters")
        )
        self.samples = list(self.mark.samples)
        self.texts = Texts(path / "texts.utf8", path / "ends.npy")
        self._parts = [Part(path / str(number), member) for number, member in enumerate(self.mark.parts)]

    def copied(self, generation, id, prefix, suffix, span_length):
        """(longest, runs, own) of words that a generation copies.

        generation: its text. id, prefix, suffix: of its own sample; what begins in the prefix is no copy of it.
        longest: the longest run that a training text holds, a Copied, or None without a word in common. runs: a list
        of Copied, every run of a length over span_length that is maximal among all texts, or in its own suffix. own:
        the longest run in its own suffix, a Run, or None without a word in common.
        """
        ours = words(generation)
        own, cut, first = self._own(id, prefix, suffix)
        queries = [part.query(ours.hashes) for part in self._parts]
        sides = np.zeros((2, len(ours.hashes)), np.int64)  # words that held-out, that training texts go along with
        for part, query in zip(self._parts, queries, strict=True):
            side = sides[int(part.member)]
            np.maximum(side, part.longest_matches(query, own, cut), out=side)
        begins, ends, lengths = _maximal(sides[1], ours, 0)
        k = lengths.argmax() if len(begins) else 0
        all_begins, all_ends, _ = _maximal(sides.max(0), ours, span_length)
        begins, ends = np.append(begins[k : k + 1], all_begins), np.append(ends[k : k + 1], all_ends)
        of_members = np.arange(len(begins)) < len(begins) - len(all_begins)
        found = self._copied(ours, queries, begins, ends, own, cut, of_members)
        longest, found = (found[0], found[1:]) if of_members.any() else (None, found)

        of_own = own_runs(generation, ours, suffix, first, span_length)
        if not of_own:
            return longest, found, None
        best = max(of_own, key=lambda run: run.length)
        if first is not None:
            most = (longest.length if longest else 0) if self.members[own] else span_length
            of_own = [run for run in of_own if run.length > min(most, span_length)]
            held = [self._held(run, generation, ours, queries, own, cut, len(prefix)) for run in of_own]
            if self.members[own]:
                longest = max([longest, *held] if longest else held, key=lambda run: run.length)
            held = [run for run in held if run.length > span_length]
            found = [run for run in found if not any(_within(run, other) for other in held)]
            found = sorted(found + held, key=lambda run: run.generation_span)
        return longest, found, Run(best.length, _span(ours.bounds, best.begin, best.end), best.span)

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
            whole = np.array([run.whole_begin]), np.array([run.whole_end])
            (found,) = self._copied(ours, queries, *whole, own, cut, np.zeros(1, bool))
            holders, members = found.holders, found.members
        else:  # pieces of words, by which the index finds nothing
            samples = np.union1d(self.texts.holding(generation[slice(*span)]), own)  # which may spell it otherwise
            holders, members = len(samples), int(self.members[samples].sum())
        return Copied(
            length=run.length,
            generation_span=span,
            holders=holders,
            members=members,
            sample=int(self.ids[own]),
            sample_span=(prefix + run.span[0], prefix + run.span[1]),
        )

    def _copied(self, ours, queries, begins, ends, own, cut, of_members):
        """The Copied of runs of words [begin, end) of a generation; of_members: of each, whether it names a member."""
        held = [part.holders(query, begins, ends) for part, query in zip(self._parts, queries, strict=True)]
        run, sample, word = np.concatenate(held).T
        member = self.members[sample]
        rank = np.where(sample == own, np.where(word < cut, 3, 0), np.where(member, 1, 2))
        rank[~member & of_members[run]] = 4
        order = np.lexsort((word, sample, rank, run))
        first = order[np.searchsorted(run[order], np.arange(len(begins)))]  # of each run the place that is shown
        of_run, holder = np.divmod(np.unique(run * len(self.ids) + sample), len(self.ids))
        holders = np.bincount(of_run, minlength=len(begins))
        members = np.bincount(of_run, self.members[holder], len(begins)).astype(int)
        found = []
        for k, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            at = first[k]
            part, (start, _) = self._of(sample[at])
            found.append(
                Copied(
                    length=int(ours.lengths(begin, end)),
                    generation_span=_span(ours.bounds, begin, end),
                    holders=int(holders[k]),
                    members=int(members[k]),
                    sample=int(self.ids[sample[at]]),
                    sample_span=_span(part.bounds, start + word[at], start + word[at] + end - begin),
                )
            )
        return found

    def _of(self, sample):
        """(part, place in it) of a sample, by its number."""
        return next((part, place) for part in self._parts if (place := part.place(sample)))


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
