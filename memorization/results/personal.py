"""Personal data that is said, counted by kind: own and another's, members beside held-out samples."""

from collections import Counter

from memorization.detection.detections import WHOSE
from memorization.detection.personal import KINDS, NAME
from memorization.results.counts import HELD_OUT, MEMBERS
from memorization.results.layout import grid, paragraph
from memorization.results.others import beside_chance

HEADINGS = {"own": "own", "another": "another's", "other": "by chance", "shared": "shared", "prompt": "in prompt"}
HEADINGS |= {"nobody": "nobody's"}


class Personal:
    """Items by kind. Rows are watched as they pass by."""

    def __init__(self):
        self._items = Counter()

    def watch(self, rows):
        for row in rows:
            for item in row.personal:
                self._items[item.kind, MEMBERS if row.generation.member else HELD_OUT, item.whose] += 1
            yield row

    def counts(self):
        """dict kind -> side -> whose (one of WHOSE) -> how many items generations of that side's probes say."""
        kinds = [kind for kind in (*KINDS, NAME) if any(kind == of_kind for of_kind, _, _ in self._items)]
        return {
            kind: {side: {whose: self._items[kind, side, whose] for whose in WHOSE} for side in (MEMBERS, HELD_OUT)}
            for kind in kinds
        }


def lines_of(counts, another, names):
    """The counts as lines; none where there are none.

    another: of others.Others.measure. names: whether they were looked for.
    """
    if not counts:
        return []
    body = [["", *(HEADINGS[whose] for whose in WHOSE)]]
    for kind, sides in counts.items():
        body += [[f"{kind}, {side}", *(str(count) for count in of_side.values())] for side, of_side in sides.items()]
    return [
        *paragraph(
            f"Personal data that is said, in items{'' if names else ' (names were not looked for: no --ner-model)'}. "
            "Own: in its own sample, behind the prompt. Another's: in exactly one other training cluster; by chance: "
            "in exactly one held-out one. Shared: in several others. Nobody's: in no sample."
        ),
        *grid(body),
        *(["Probes, in %, that say what exactly one other sample holds, as of runs above:"] if another else []),
        *(beside_chance(another) if another else []),
        "",
    ]
