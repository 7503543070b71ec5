"""Detections whose texts show no words of training texts, and whose spans lie in these texts as before.

A word keeps its length and its first and last letters, its digits and all else are masked; personal data becomes its
kind: "Write to Anna Petersen, 43: ap@example.org" is shown as "W•••e to A••a P••••••n, ••: [email]". Where a character
says as much as a word or a syllable (Chinese, Japanese, Thai, Korean ...), none is shown.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import regex
from tqdm import tqdm

from memorization.detection import personal_data
from memorization.detection.detections import CopiedRun, Detection, Labels, Passage, Span
from memorization.encoding.words import WITHOUT_BLANKS
from memorization.results.cases import Cases
from memorization.results.sample_texts import SampleText

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
    """A text, masked, in parts that are shown apart. cuts: the places between them, in order.

    A word across a cut is masked as one; personal data across it is named in both parts. named: (kind, start, end) of
    personal data that no form tells, as names; what has a form wins over one that overlaps it. regions: of
    personal_data.find.
    """

    def __init__(
        self,
        text: str,
        cuts: Sequence[int] = (),
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
            inner = cuts[bisect_right(cuts, start) : bisect_left(cuts, end)]
            for begin, stop in pairwise((start, *inner, end)):
                parts += [masked[at:begin], f"[{kind}]"]
                length += begin - at
                self._items.append((begin, stop, length, length + len(parts[-1])))
                length, at = length + len(parts[-1]), stop
        self.text = "".join([*parts, masked[at:]])

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

    def place(self, cut: int) -> int:
        """Where a cut, or an end of the text, lies now."""
        return self.span((0, cut))[1] if cut else 0

    def behind(self, cut: int, span: Span) -> Span:
        """As `span`, of the text behind a cut."""
        begin, end = self.span((span[0] + cut, span[1] + cut))
        return begin - self.place(cut), end - self.place(cut)


def redacted(cases: Cases, regions: tuple[str, ...] = personal_data.REGIONS) -> Cases:
    """The cases with masked texts; spans are of these, the lengths of runs stay those of the originals.

    regions: of personal_data.find. A sample_span in a text that the cases lack, which is shown nowhere, stays as it is.
    """
    samples = cases.samples

    @cache
    def sample(id: int) -> tuple[Masked, SampleText]:
        """A sample's text, masked, and where its suffixes lie in that."""
        text, suffixes = samples[id]
        masked = Masked(text, sorted({place for suffix in suffixes for place in suffix}), regions=regions)
        return masked, SampleText(masked.text, [(masked.place(begin), masked.place(end)) for begin, end in suffixes])

    @cache
    def candidate(id: int, text: str) -> tuple[str, Callable[[Span], Span]]:
        """A document of an index, masked, and what tells where a span of it lies now."""
        if id not in samples or samples[id].document != text:
            alone = Masked(text, regions=regions)
            return alone.text, alone.span
        masked, of_masked = sample(id)

        def span(span: Span) -> Span:
            parts = [of_masked.in_document(masked.span(part)) for part in samples[id].in_text(span)]
            return parts[0][0], parts[-1][1]

        return of_masked.document, span

    def masked(row: Detection) -> Detection:
        original = row.generation
        cut = len(original.prefix)
        named = [(item.kind, cut + item.generation_span[0], cut + item.generation_span[1]) for item in row.personal]
        generation, (own, _) = Masked(original.prefix + original.text, [cut], named, regions), sample(original.id)
        texts = {one.id: one.text for one in row.candidates if one.text}

        def moved(one: Any, **spans: Span) -> Any:
            """A copy of what has spans, with those in the masked texts; its length stays."""
            one = copy(one)
            for name, span in ({"generation_span": generation.behind(cut, one.generation_span)} | spans).items():
                setattr(one, name, span)
            return one

        def copied(run: CopiedRun) -> CopiedRun:
            span, has_sample = run.sample_span, run.sample in samples
            if has_sample and span[1] <= len(samples[run.sample].text):
                span = sample(run.sample)[0].span(span)
            return moved(run, sample_span=span)

        def own_span(span: Span) -> Span:
            return own.behind(cut, span)

        def passage(one: Passage, span: Callable[[Span], Span]) -> Passage:
            return moved(one, candidate_span=span(one.candidate_span))

        def labels(one: Labels) -> Labels:
            passages = [passage(each, candidate(each.candidate, texts[each.candidate])[1]) for each in one.passages]
            return msgspec.structs.replace(one, passages=passages)

        shown = copy(original)  # without what only fits or tells the original text
        begin, end = own.place(cut), own.place(cut + len(original.suffix))
        shown.prefix, shown.suffix = own.text[:begin], own.text[begin:end]
        shown.text, shown.generation_ids, shown.reach = generation.text[generation.place(cut) :], [], None
        run = row.own.run and moved(row.own.run, suffix_span=own_span(row.own.run.suffix_span))
        return msgspec.structs.replace(
            row,
            generation=shown,
            candidates=[
                msgspec.structs.replace(one, text=one.text and candidate(one.id, one.text)[0]) for one in row.candidates
            ],
            longest_common_run=row.longest_common_run and copied(row.longest_common_run),
            copied=[copied(run) for run in row.copied],
            personal=[moved(item) for item in row.personal],
            own=msgspec.structs.replace(
                row.own, run=run, passages=[passage(one, own_span) for one in row.own.passages]
            ),
            labels=labels(row.labels),
            paper=row.paper and labels(row.paper),
        )

    rows = [masked(row) for row in tqdm(cases.rows, "mask", unit="row", disable=None)]
    return Cases(rows, {id: sample(id)[1] for id in samples})
