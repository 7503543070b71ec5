"""Personal data in copied runs, counted by kind."""

from collections import Counter

from memorization.detection.personal import KINDS, NAME
from memorization.results.counts import HELD_OUT, MEMBERS
from memorization.results.layout import grid, paragraph


class Personal:
    """Finds by kind. Rows are watched as they pass by."""

    def __init__(self):
        self._finds = Counter()

    def watch(self, rows):
        for row in rows:
            for found in row.personal:
                self._finds[found.kind, MEMBERS if row.member else HELD_OUT, found.distinctive] += 1
            yield row

    def counts(self):
        """dict kind -> side -> finds in copied runs: all, and distinctive, in those that one sample alone holds."""
        kinds = [kind for kind in (*KINDS, NAME) if any(kind == of_kind for of_kind, _, _ in self._finds)]
        return {
            kind: {
                side: {
                    "finds": self._finds[kind, side, True] + self._finds[kind, side, False],
                    "distinctive": self._finds[kind, side, True],
                }
                for side in (MEMBERS, HELD_OUT)
            }
            for kind in kinds
        }


def lines_of(counts):
    """The counts as lines; none where nothing was found."""
    if not counts:
        return []
    body = [["", *(f"{side}{of}" for side in (MEMBERS, HELD_OUT) for of in ("", ", distinctive"))]]
    for kind, sides in counts.items():
        body.append([kind, *(str(sides[side][of]) for side in (MEMBERS, HELD_OUT) for of in ("finds", "distinctive"))])
    return [
        *paragraph(
            "Personal data in copied runs, names by --ner-model only (distinctive: one sample alone holds the run):"
        ),
        *grid(body),
        "",
    ]
