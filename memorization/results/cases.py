"""The cases that a report shows: of many rows the most telling ones, with the texts that stand beside them."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from memorization.detection.detections import Detection
from memorization.results.sample_texts import SampleText, sample_texts
from memorization.results.statistics import Array
from memorization.results.summary import HELD_OUT, MEMBERS

CASES = 10_000  # of a report
MOST = 50_000  # what fits into the greatest height of a page that browsers have, 2^25 pixels
WEIGHTS = (3, 1)  # places of members, of held-out texts
KINDS = (  # of cases, the most telling first
    "exact matches",
    "personal data of their own sample",
    "runs that only their own sample holds",
    "runs or personal data of one other sample",
    "runs that several samples hold",
)
ORDER = (
    f"The most telling are, in this order: {'; '.join(KINDS)}; others, drawn at random. Of each kind but the last "
    "those with the longest run come first. A quarter of the places is for held-out texts, the control; what one "
    "side does not need, the other gets. Several runs have equally many places."
)
SEED = 0  # of the draw
LENGTHS = 1 << 32  # more than a run can have


class LeakingMembers(NamedTuple):
    """Ids of members, of which some come out. run: with a copied run of their own sample or cluster, `own` where no
    other sample holds it too. exact: with an exact match. personal: with personal data of their own.
    """

    every: set[int]
    run: set[int]
    own: set[int]
    exact: set[int]
    personal: set[int]

    def add(self, row: Detection) -> None:
        id = row.generation.id
        self.every.add(id)
        for run in row.copied:
            is_own = run.whose(row.generation.cluster) == "own"
            if is_own or run.sample == id:
                self.run.add(id)
            if is_own:
                self.own.add(id)
        if row.generation.exact_match:
            self.exact.add(id)
        if any(item.whose == "own" for item in row.personal):
            self.personal.add(id)


class CaseIndex:
    """How telling each row of a result is, as far as they have passed. leaking: of its members."""

    def __init__(self) -> None:
        self.leaking = LeakingMembers(set(), set(), set(), set(), set())
        self._ranks, self._member, self._keys = array("q"), array("b"), array("q")

    def watch(self, rows: Iterable[Detection]) -> Iterator[Detection]:
        """The same rows, which are looked at as they pass."""
        for row in rows:
            self._ranks.append(rank(row))
            self._member.append(row.generation.member)
            self._keys.extend(row.key)
            if row.generation.member:
                self.leaking.add(row)
            yield row

    def __len__(self) -> int:
        return len(self._ranks)

    def sides(self) -> list[Array]:
        """The places of the rows of members and of held-out texts, the most telling first."""
        ranks, member = np.asarray(self._ranks), np.asarray(self._member, bool)
        order = np.lexsort((np.random.default_rng(SEED).permutation(len(ranks)), -ranks))
        return [order[member[order] == side] for side in (True, False)]

    def of_samples(self, ids: Iterable[int]) -> list[int]:
        """The places of the first generation for each turn of samples."""
        keys = np.asarray(self._keys).reshape(-1, 3)
        here = np.flatnonzero(np.isin(keys[:, 0], [*ids]))
        _, first = np.unique(keys[here, :2], axis=0, return_index=True)
        return here[np.sort(first)].tolist()


class Cases(NamedTuple):
    """Rows that are shown, in their order, and the texts of their samples and of those that they copy.

    base: the same rows through the base model, or None.
    """

    rows: Sequence[Detection]
    samples: dict[int, SampleText]
    base: Sequence[Detection] | None = None


class Chosen(NamedTuple):
    """places: of the rows that are shown, ascending. sides: for members and for held-out texts (shown, of all)."""

    places: list[int]
    sides: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        shown, total = (sum(numbers) for numbers in zip(*self.sides.values(), strict=True))
        sides = [f"{side} {number:,} of {of:,}" for side, (number, of) in self.sides.items() if of]
        return f"{shown:,} of {total:,} cases, the most telling ({', '.join(sides)})"

    @property
    def hidden(self) -> int:
        """How many rows are not shown."""
        return sum(of - shown for shown, of in self.sides.values())


def hidden_lines(labels: Sequence[str], chosen: Sequence[Chosen]) -> list[str]:
    """How many rows of each result are shown, if any row is not."""
    lines = [f"{label}: {one}" if len(labels) > 1 else str(one) for label, one in zip(labels, chosen, strict=True)]
    return lines if any(one.hidden for one in chosen) else []


def rank(row: Detection) -> int:
    """How telling a row is, more the more: by the first of KINDS that it is of, then by its longest copied run."""
    whose = {run.whose(row.generation.cluster) for run in row.copied}
    personal = {item.whose for item in row.personal}
    others = {"another", "other"}
    kinds = (row.generation.exact_match, "own" in personal, "own" in whose, others & (whose | personal), whose)
    kind = next((number for number, holds in enumerate(kinds) if holds), len(kinds))
    return (len(kinds) - kind) * LENGTHS + max((run.length for run in row.copied), default=0)


def choose(indexes: Sequence[CaseIndex], number: int) -> list[Chosen]:
    """The most telling of the rows of several results, `number` in all, as ORDER says. The same for the same rows."""
    chosen = []
    for index, places in zip(indexes, _shares(number, [len(index) for index in indexes]), strict=True):
        sides = index.sides()
        shares = _shares(places, [len(side) for side in sides], WEIGHTS)
        numbers = {name: (n, len(side)) for name, n, side in zip((MEMBERS, HELD_OUT), shares, sides, strict=True)}
        together = np.concatenate([side[:n] for side, n in zip(sides, shares, strict=True)])
        chosen.append(Chosen(np.sort(together).tolist(), numbers))
    return chosen


def _shares(number: int, wanted: Sequence[int], weights: Sequence[int] = ()) -> list[int]:
    """So many places shared out by weight, to nobody more than wanted: what one does not want, the others get."""
    weights, shares = weights or [1] * len(wanted), [0] * len(wanted)
    left = sum(weights)
    for i in sorted(range(len(wanted)), key=lambda i: wanted[i] / weights[i]):
        shares[i] = min(wanted[i], (2 * number * weights[i] + left) // (2 * left))  # rounded
        number, left = number - shares[i], left - weights[i]
    return shares


def read_cases(
    rows: Sequence[Detection], index: CaseIndex, chosen: Chosen, base: Sequence[Detection] | None = None
) -> Cases:
    """The rows that were chosen. index: of the rows. base: the same rows through the base model, or None."""
    shown = [rows[place] for place in chosen.places]
    ids = {row.generation.id for row in shown} | {run.sample for row in shown for run in row.copied}
    of_base = None if base is None else [base[place] for place in chosen.places]
    return Cases(shown, sample_texts(rows[place] for place in index.of_samples(ids)), of_base)
