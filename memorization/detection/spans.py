"""Every run of words that a generation copies from any sample, and who holds it (design.md, Terms)."""

import numpy as np

from memorization.alignment import prepare
from memorization.cli import UserError
from memorization.detection.detections import Copied
from memorization.detection.items import ItemIndex
from memorization.detection.span_index import Part, read_whole, span_index_path
from memorization.retrieval.directory import mapped
from memorization.retrieval.strings import Texts


class SpanIndex:
    """All samples of an encoding. samples: how many are members, and how many held out. texts: whole, by number. items,
    regions: an items.ItemIndex, and whose telephone numbers it knows.

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
        self.regions = tuple(self.mark.made_of["regions"].split())
        self.items = ItemIndex(path)
        self.texts = Texts(path / "texts.utf8", path / "ends.npy")
        self._parts = [Part(path / str(number), member) for number, member in enumerate(self.mark.parts)]

    def copied(self, document, id, prefix, span_length):
        """(longest, runs) of words that a generation copies.

        document: the prepared generation. id, prefix: of its own sample; what begins in the prefix is no copy of it.
        longest: that of most characters which a training text holds, a Copied, or None without a word in common. runs:
        every maximal one of over span_length characters that any text holds, a list of Copied.
        """
        own = int(np.searchsorted(self.ids, id))
        if own < len(self.ids) and self.ids[own] == id:
            part, (begin, end) = self._of(own)
            cut = int(np.searchsorted(part.bounds[begin:end, 0], len(prefix)))
        else:  # as with --unchecked
            own, cut = -1, 0
        queries = [part.query(document.words) for part in self._parts]
        sides = np.zeros((2, len(document.words)), np.int64)  # words that held-out, that training texts go along with
        for part, query in zip(self._parts, queries, strict=True):
            side = sides[int(part.member)]
            np.maximum(side, part.longest_matches(query, own, cut), out=side)
        begins, ends, characters = _maximal(sides[1], document.bounds, 0)
        k = characters.argmax() if len(begins) else 0
        all_begins, all_ends, _ = _maximal(sides.max(0), document.bounds, span_length)
        begins, ends = np.append(begins[k : k + 1], all_begins), np.append(ends[k : k + 1], all_ends)
        of_members = np.arange(len(begins)) < len(begins) - len(all_begins)
        found = self._copied(document, queries, begins, ends, own, cut, of_members)
        return (found[0], found[1:]) if of_members.any() else (None, found)

    def holding(self, text):
        """The numbers of the samples that hold the words of a text, one after the other, an array in order."""
        words = prepare(text).words
        if not len(words):
            return np.empty(0, np.int64)
        run = np.zeros(1, np.int64), np.full(1, len(words))
        queries = [part.query(words) for part in self._parts]
        held = [part.holders(query, *run) for part, query in zip(self._parts, queries, strict=True) if min(query) >= 0]
        return np.unique(np.concatenate([np.empty(0, np.int64), *(rows[:, 1] for rows in held)]))

    def _copied(self, document, queries, begins, ends, own, cut, of_members):
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
            span = _span(document.bounds, begin, end)
            at = first[k]
            part, (start, _) = self._of(sample[at])
            found.append(
                Copied(
                    characters=span[1] - span[0],
                    generation_span=span,
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
