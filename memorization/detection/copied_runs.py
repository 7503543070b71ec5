"""Every run of words that a generation copies from any sample, and which clusters contain it (design.md, Terms)."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from memorization.alignment.verbatim import common_runs
from memorization.detection.detections import CopiedRun, SuffixRun
from memorization.detection.personal_items import ItemIndex
from memorization.detection.span_index import IndexPart, SpanIndexMetadata, read_whole
from memorization.detection.suffix_runs import SuffixMatch, suffix_matches
from memorization.encoding.words import Words, words
from memorization.shell.cli import UserError
from memorization.store.arrays import mapped
from memorization.store.locations import span_index_path
from memorization.store.strings import Texts

# Whose sample a place is in. Of the places that contain a run, the one of the lowest rank is stored.
OWN, ALIKE, MEMBER, HELD_OUT, PROMPT = range(5)
WordRun = tuple[int, int]  # [begin, end) in words of a generation

words_of = lru_cache(256)(words)  # a generation and a suffix are asked for several times


class SpanIndex:
    """All samples of an encoding, searched for the runs that a text copies.

    samples, clusters: how many are members, and how many held out. texts: by number. items: the personal data of the
    samples. regions: whose telephone numbers it knows. metadata: of the span index, where that has been checked.

    Raises UserError if stage 4 has not written the span index, or if it has changed since.
    """

    def __init__(self, indexes: Path, encoding: str, metadata: SpanIndexMetadata | None = None) -> None:
        path = span_index_path(indexes, encoding)
        metadata = metadata or read_whole(path, encoding)
        if metadata is None:
            raise UserError(f"{path}: no span index of the encoding {encoding}; run load_to_elastic.py again")
        self.metadata = metadata
        self.ids, self.members, self._clusters = (
            mapped(path / f"{name}.npy") for name in ("ids", "members", "clusters")
        )
        self.samples = list(metadata.samples)
        self.regions = tuple(metadata.made_of["regions"].split())
        self.items = ItemIndex(path, self.ids, self.members, self._clusters)
        _, first, cluster, sizes = np.unique(self._clusters, return_index=True, return_inverse=True, return_counts=True)
        self.clusters = [int((self.members[first] == member).sum()) for member in (True, False)]
        self._alike = sizes[cluster] > 1  # whether a sample has near-duplicates
        self.texts = Texts(path / "texts.utf8", path / "ends.npy")
        self._parts = [IndexPart(path / str(number), member) for number, member in enumerate(metadata.parts)]

    def copied(
        self, generation: str, id: int, prefix: str, suffix: str, span_length: int
    ) -> tuple[CopiedRun | None, list[CopiedRun], SuffixRun | None]:
        """(longest, runs, own): the runs of words that a generation copies.

        generation: its text. id, prefix, suffix: of its own sample. A run that begins in the prefix is no copy of it.
        longest: the longest run that a training text contains, None without a common word. runs: the maximal ones over
        span_length, of any text; those of its own sample behind the prefix even within a longer one of another's. own:
        the longest in its own suffix, None without a common word; over span_length it is one of the runs.
        """
        ours = words_of(generation)
        own, cut, first = self._own_sample(id, prefix, suffix)
        queries = [part.query(ours.hashes) for part in self._parts]
        if own >= 0:
            part, (begin, end) = self._place(own)
            text, query = part.text[begin:end], queries[self._parts.index(part)]
        sides = np.zeros((2, len(ours.hashes)), np.int64)  # at each word the longest match, held-out and training texts
        for each, query_of_part in zip(self._parts, queries, strict=True):
            side = sides[int(each.member)]
            np.maximum(side, each.longest_matches(query_of_part, own, cut), out=side)
        begins, ends, lengths = _maximal(sides[1], ours, 0)
        longest_run = [(int(begins[k := lengths.argmax()]), int(ends[k]))] if len(begins) else []
        begins, ends, _ = _maximal(sides.max(0), ours, span_length)
        runs = {*zip(begins.tolist(), ends.tolist(), strict=True)}
        if own >= 0:
            common = common_runs(text[cut:].astype(np.int64), query.astype(np.int64)).tolist()
            runs |= {(begin, begin + n) for _, begin, n in common if ours.lengths(begin, begin + n) > span_length}
        while True:
            copied_runs, ranks = self._copied(ours, queries, longest_run + sorted(runs), own, cut, len(longest_run))
            longest, copied = (copied_runs[0], copied_runs[1:]) if longest_run else (None, copied_runs)
            prompted = {}  # run -> how many of its first words are the prompt's
            if own >= 0 and self._alike[own]:
                for run, of_run, rank in zip(sorted(runs), copied, ranks[len(longest_run) :], strict=True):
                    if rank != OWN and of_run.holders == 1 and of_run.cluster == self._clusters[own]:
                        prompted[run] = _prompted(query[slice(*run)], text[:cut])
            if not any(prompted.values()):
                break
            for (begin, end), skipped in prompted.items():
                runs.discard((begin, end))
                if skipped < end - begin and ours.lengths(begin + skipped, end) > span_length:
                    runs.add((begin + skipped, end))

        matches = suffix_matches(generation, ours, suffix, words_of(suffix), first, span_length)
        if not matches:
            return longest, copied, None
        best = max(matches, key=lambda match: match.length)
        partial = [match for match in matches if (match.begin, match.end) != (match.whole_begin, match.whole_end)]
        if first is not None and partial:
            of_own = [self._copied_partly(match, generation, ours, queries, own, cut, len(prefix)) for match in partial]
            if self.members[own]:
                longest = max([longest, *of_own] if longest else of_own, key=lambda run: run.length)
            of_own = [run for run in of_own if run.length > span_length]
            copied = [run for run in copied if not any(_within(run, other) for other in of_own)]
            copied = sorted(copied + of_own, key=lambda run: run.generation_span)
        return longest, copied, SuffixRun(best.length, _span(ours.bounds, best.begin, best.end), best.span)

    def _own_sample(self, id: int, prefix: str, suffix: str) -> tuple[int, int, int | None]:
        """(number, cut, first) of a generation's own sample; (-1, 0, None) if it is not indexed, as with --unchecked.

        cut: how many of its words begin in the prefix. first: the character of the suffix at which the next one begins,
        None if the indexed text is another.
        """
        own = int(np.searchsorted(self.ids, id))
        if own == len(self.ids) or self.ids[own] != id:
            return -1, 0, None
        part, (begin, end) = self._place(own)
        starts = part.bounds[begin:end, 0]
        cut = int(np.searchsorted(starts, len(prefix)))
        if not self.texts[own].startswith(prefix + suffix):
            return own, cut, None
        return own, cut, int(starts[cut]) - len(prefix) if cut < len(starts) else len(suffix)

    def _copied_partly(
        self,
        match: SuffixMatch,
        generation: str,
        ours: Words,
        queries: list[np.ndarray],
        own: int,
        cut: int,
        prefix: int,
    ) -> CopiedRun:
        """The CopiedRun of a match with parts of words. prefix: characters of its sample before the suffix."""
        span = _span(ours.bounds, match.begin, match.end)
        if match.whole_begin < match.whole_end:
            [whole], _ = self._copied(ours, queries, [(match.whole_begin, match.whole_end)], own, cut, 0)
            holders, members = whole.holders, whole.members
        else:  # parts of words, which the index does not know
            samples = np.union1d(self.texts.holding(generation[slice(*span)]), own)  # its spelling may differ
            of_members = samples[self.members[samples]]
            holders, members = (len(np.unique(self._clusters[each])) for each in (samples, of_members))
        return CopiedRun(
            length=match.length,
            generation_span=span,
            holders=holders,
            members=members,
            sample=int(self.ids[own]),
            cluster=int(self._clusters[own]),
            sample_span=(prefix + match.span[0], prefix + match.span[1]),
        )

    def holding(self, text: str) -> np.ndarray:
        """The numbers, in order, of the samples that contain the words of a text as a run."""
        hashes = words(text).hashes
        if not len(hashes):
            return np.empty(0, np.int64)
        run = np.zeros(1, np.int64), np.full(1, len(hashes))
        queries = [part.query(hashes) for part in self._parts]
        parts = [each for each in zip(self._parts, queries, strict=True) if min(each[1]) >= 0]
        samples = [part.occurrences(query, *run)[:, 1] for part, query in parts]
        return np.unique(np.concatenate([np.empty(0, np.int64), *samples]))

    def _copied(
        self, ours: Words, queries: list[np.ndarray], runs: list[WordRun], own: int, cut: int, of_members: int
    ) -> tuple[list[CopiedRun], list[int]]:
        """The CopiedRun of each run, and the rank of the place that it stores.

        queries: the generation's words as numbers of each part. of_members: so many of the first runs name a member.
        """
        begins, ends = np.array(runs, np.int64).reshape(-1, 2).T
        places = [part.occurrences(query, begins, ends) for part, query in zip(self._parts, queries, strict=True)]
        run, sample, word = np.concatenate(places).T
        member, cluster = self.members[sample], self._clusters[sample]
        alike = (cluster == self._clusters[own]) & (own >= 0)
        rank = np.where(sample == own, np.where(word < cut, PROMPT, OWN), np.where(alike, ALIKE, HELD_OUT - member))
        rank[~member & (run < of_members)] = PROMPT
        order = np.lexsort((word, sample, rank, run))
        first = order[np.searchsorted(run[order], np.arange(len(begins)))]  # of each run the place to store
        distinct = np.unique(np.stack([run, cluster, member]), axis=1)  # the samples of a cluster are on one side
        holders = np.bincount(distinct[0], minlength=len(begins)).tolist()
        members = np.bincount(distinct[0], distinct[2], len(begins)).astype(int).tolist()
        copied, lengths = [], ours.lengths(begins, ends)
        for k, (begin, end) in enumerate(runs):
            at = first[k]
            part, (start, _) = self._place(sample[at])
            copied.append(
                CopiedRun(
                    length=int(lengths[k]),
                    generation_span=_span(ours.bounds, begin, end),
                    holders=holders[k],
                    members=members[k],
                    sample=int(self.ids[sample[at]]),
                    cluster=int(cluster[at]),
                    sample_span=_span(part.bounds, start + word[at], start + word[at] + end - begin),
                )
            )
        return copied, rank[first].tolist()

    def _place(self, sample: int) -> tuple[IndexPart, tuple[int, int]]:
        """The part that holds a sample, by its number, and the [begin, end) of its words there."""
        return next((part, place) for part in self._parts if (place := part.place(sample)))


def _prompted(run: np.ndarray, prompt: np.ndarray) -> int:
    """How many of a run's first words the prompt contains: all of them, or as many as it ends with."""
    most = 0
    for place in np.flatnonzero(prompt == run[0]).tolist():
        count = min(len(run), len(prompt) - place)
        if np.array_equal(run[:count], prompt[place : place + count]):
            most = max(most, count)
    return most


def _span(bounds: np.ndarray, begin: int, end: int) -> tuple[int, int]:
    return int(bounds[begin, 0]), int(bounds[end - 1, 1])


def _within(run: CopiedRun, other: CopiedRun) -> bool:
    return other.generation_span[0] <= run.generation_span[0] and run.generation_span[1] <= other.generation_span[1]


def _maximal(matches: np.ndarray, ours: Words, least: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(begins, ends, lengths) of the maximal runs of a length over `least`, begin and end in words.

    matches: of each word, how many words from it on are a run.
    """
    ends = np.arange(len(matches)) + matches  # never fall: the rest of a run is one
    (begins,) = np.nonzero((matches > 0) & (ends > np.append(-1, ends)[:-1]))
    ends = ends[begins]
    lengths = ours.lengths(begins, ends)
    long = lengths > least
    return begins[long], ends[long], lengths[long]
