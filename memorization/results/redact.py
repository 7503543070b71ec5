"""Detections whose texts show no words of training texts, and whose spans lie in these texts as before.

A word keeps its length and its first and last letters, its digits and all else are masked; personal data becomes its
kind: "Write to Anna Petersen, 43: ap@example.org" is shown as "W•••e to A••a P••••••n, ••: [email]". Where a character
says as much as a word or a syllable (Chinese, Japanese, Thai, Korean ...), none is shown.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from copy import copy
from functools import cache
from typing import Any

import msgspec
import regex
from tqdm import tqdm

from memorization.detection import personal_data
from memorization.detection.detections import CopiedRun, Detection, Labels, Passage, Span
from memorization.encoding.words import WITHOUT_BLANKS

MASK = "\u2022"
# of words: all between blanks and punctuation, as marks and invisible characters do not end one but would show letters
LETTER = r"[[^\s\p{P}]_]"
WHOLE = rf"[{WITHOUT_BLANKS}[\p{{L}}&&[\p{{EA=W}}\p{{EA=F}}]]]"
MARK = r"[\p{M}\p{WB=Extend}\p{WB=ZWJ}]"
HIDDEN = regex.compile(rf"\p{{N}}|{WHOLE}|(?<={WHOLE}{MARK}*){MARK}|(?<={LETTER}){LETTER}(?={LETTER})", regex.VERSION1)
NOTE = """\
Redacted: of each word the first and last letters are shown, of numbers and of
scripts such as Chinese or Korean nothing, of personal data its kind. Lengths
are those of the original text.
"""


class Masked:
    """A text, masked, in two parts that are shown apart: up to `cut` characters, and from there on.

    A word across the cut is masked as one; personal data across it is named in both parts. named: (kind, start, end) of
    personal data that no form tells, as names; what has a form wins over one that overlaps it. regions: of
    personal_data.find.
    """

    def __init__(
        self,
        text: str,
        cut: int = 0,
        named: Iterable[tuple[str, int, int]] = (),
        regions: tuple[str, ...] = personal_data.REGIONS,
    ) -> None:
        at, parts, length = 0, [], 0
        self._items: list[tuple[int, int, int, int]] = []  # start, end, and where they lie now
        masked = HIDDEN.sub(MASK, text)
        items: list[tuple[str, int, int]] = [
            (item.kind, item.start, item.end) for item in personal_data.find(text, regions)
        ]
        items += [one for one in named if not any(start < one[2] and one[1] < end for _, start, end in items)]
        for kind, start, end in sorted(items, key=lambda item: item[1]):
            for begin, stop in ((start, cut), (cut, end)) if start < cut < end else ((start, end),):
                parts += [masked[at:begin], f"[{kind}]"]
                length += begin - at
                self._items.append((begin, stop, length, length + len(parts[-1])))
                length, at = length + len(parts[-1]), stop
        self.text = "".join([*parts, masked[at:]])
        self.cut, self._old_cut = self.span((0, cut))[1] if cut else 0, cut

    def span(self, span: Span) -> Span:
        """Where a span of the text, not empty, lies now. One that cuts into personal data has all of it."""
        begin, end = span
        i = bisect_right(self._items, begin, key=lambda item: item[0]) - 1
        j = bisect_left(self._items, end, key=lambda item: item[0]) - 1
        if i >= 0:
            _, stop, new, new_stop = self._items[i]
            begin = new if begin < stop else begin - stop + new_stop
        if j >= 0:
            _, stop, _, new_stop = self._items[j]
            end = new_stop if end <= stop else end - stop + new_stop
        return begin, end

    @property
    def parts(self) -> tuple[str, str]:
        """The text before and behind the cut."""
        return self.text[: self.cut], self.text[self.cut :]

    def behind(self, span: Span) -> Span:
        """As `span`, of the part behind the cut."""
        begin, end = self.span((span[0] + self._old_cut, span[1] + self._old_cut))
        return begin - self.cut, end - self.cut


def redacted(rows: Sequence[Detection], regions: tuple[str, ...] = personal_data.REGIONS) -> list[Detection]:
    """The rows with masked texts; spans are of these, the lengths of runs stay those of the originals.

    regions: of personal_data.find. A sample_span of a sample that is none of the rows, whose text is shown nowhere,
    stays as it is.
    """
    samples = {row.generation.id: (row.generation.prefix, row.generation.suffix) for row in rows}

    @cache
    def sample(id: int) -> Masked:
        prefix, suffix = samples[id]
        return Masked(prefix + suffix, len(prefix), regions=regions)

    @cache
    def candidate(id: int, text: str) -> Masked:
        return sample(id) if samples.get(id, ("", ""))[1] == text else Masked(text, regions=regions)

    def masked(row: Detection) -> Detection:
        original = row.generation
        cut = len(original.prefix)
        named = [(item.kind, cut + item.generation_span[0], cut + item.generation_span[1]) for item in row.personal]
        generation, own = Masked(original.prefix + original.text, cut, named, regions), sample(original.id)
        texts = {one.id: one.text for one in row.candidates if one.text}

        def moved(one: Any, **spans: Span) -> Any:
            """A copy of what has spans, with those in the masked texts; its length stays."""
            one = copy(one)
            for name, span in ({"generation_span": generation.behind(one.generation_span)} | spans).items():
                setattr(one, name, span)
            return one

        def copied(run: CopiedRun) -> CopiedRun:
            span = run.sample_span
            return moved(run, sample_span=sample(run.sample).span(span) if run.sample in samples else span)

        def passage(one: Passage, text: Masked) -> Passage:
            return moved(one, candidate_span=text.behind(one.candidate_span))

        def labels(one: Labels) -> Labels:
            passages = [passage(each, candidate(each.candidate, texts[each.candidate])) for each in one.passages]
            return msgspec.structs.replace(one, passages=passages)

        shown = copy(original)  # without what only fits or tells the original text
        shown.prefix, shown.suffix = own.parts
        shown.text, shown.generation_ids, shown.reach = generation.parts[1], [], None
        run = row.own.run and moved(row.own.run, suffix_span=own.behind(row.own.run.suffix_span))
        return msgspec.structs.replace(
            row,
            generation=shown,
            candidates=[
                msgspec.structs.replace(one, text=one.text and candidate(one.id, one.text).parts[1])
                for one in row.candidates
            ],
            longest_common_run=row.longest_common_run and copied(row.longest_common_run),
            copied=[copied(run) for run in row.copied],
            personal=[moved(item) for item in row.personal],
            own=msgspec.structs.replace(row.own, run=run, passages=[passage(one, own) for one in row.own.passages]),
            labels=labels(row.labels),
            paper=row.paper and labels(row.paper),
        )

    return [masked(row) for row in tqdm(rows, "mask", unit="row", disable=None)]
