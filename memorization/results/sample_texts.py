"""The texts of samples, put together from the probes of a result."""

from collections.abc import Iterable
from typing import NamedTuple

from memorization.detection.detections import Detection, Span
from memorization.encoding.probes import sample_documents


class SampleText(NamedTuple):
    """text: of a sample, as far as its last probe goes. suffixes: [start, end) in it of each probe's, in order."""

    text: str
    suffixes: list[Span]

    @property
    def document(self) -> str:
        """What an index holds of it."""
        [(_, document)] = sample_documents((0, self.text[slice(*suffix)]) for suffix in self.suffixes)
        return document

    def name(self, id: int, turn: int) -> str:
        """What reports call the turn of it that is asked for; of a sample without turns, the sample."""
        return f"sample {id}, turn {turn + 1}" if turn or len(self.suffixes) > 1 else f"sample {id}"

    def in_text(self, span: Span) -> list[Span]:
        """Where a span of the document lies in the text: in one suffix, or a part in each of several."""
        parts, at = [], 0
        for start, end in self.suffixes:
            first, last = max(span[0], at), min(span[1], at + end - start)
            if first < last:
                parts.append((start + first - at, start + last - at))
            at += end - start + 1
        return parts

    def in_document(self, span: Span) -> Span:
        """Where a span of the text that lies in one suffix lies in the document."""
        at = 0
        for start, end in self.suffixes:
            if start <= span[0] and span[1] <= end:
                break
            at += end - start + 1
        return at + span[0] - start, at + span[1] - start


def sample_texts(rows: Iterable[Detection]) -> dict[int, SampleText]:
    """The text of each sample that rows are of, by id."""
    last: dict[int, tuple[int, str, str]] = {}  # the last turn, its prefix and its suffix
    suffixes: dict[int, dict[int, Span]] = {}  # by turn
    for row in rows:
        probe = row.generation
        begin, end = len(probe.prefix), len(probe.prefix) + len(probe.suffix)
        if probe.id not in last or probe.turn > last[probe.id][0]:
            last[probe.id] = probe.turn, probe.prefix, probe.suffix
        suffixes.setdefault(probe.id, {})[probe.turn] = begin, end
    return {
        id: SampleText(prefix + suffix, [span for _, span in sorted(suffixes[id].items())])
        for id, (_, prefix, suffix) in last.items()
    }
