"""Limits on what may come out, so that a release pipeline can stop (docs/release-gate.md)."""

import argparse
from typing import NamedTuple

from memorization.results.counts import HELD_OUT, MEMBERS
from memorization.results.notes import Note, notes
from memorization.shell.cli import UserError

RARE = ("personal",)  # columns of what few samples hold: a limit over such a ceiling is no mistake
EXCESS = "excess:"  # before a column: the limit is on members less held-out texts


class Limit(NamedTuple):
    """The rate, a fraction, that the upper end of an interval may not be over.

    column: of a share; the interval is that of members, or with `excess` that of members less held-out texts.
    """

    column: str
    rate: float
    excess: bool = False

    @property
    def name(self) -> str:
        return f"{EXCESS if self.excess else ''}{self.column}"


class Outcome(NamedTuple):
    """What a run has beside a limit. cell: of what the limit is on (counts.tally). holds: whether its interval ends at
    the limit or below. held_out: the rate of held-out texts, None without any.

    run: the label of the run. notes: of it, but for UNCHECKED, which has no outcome.
    """

    run: str
    limit: Limit
    cell: dict
    holds: bool
    held_out: float | None
    notes: list[Note]


def limit(text: str) -> Limit:
    """The Limit of a flag's value, COLUMN=RATE or excess:COLUMN=RATE. Raises argparse.ArgumentTypeError.

    A rate of 1 could not be passed: who writes it means 1 %.
    """
    column, equals, rate = text.partition("=")
    excess, column = column.startswith(EXCESS), column.removeprefix(EXCESS)
    try:
        rate = float(rate)
    except ValueError:
        rate = -1.0
    if not (column and equals and 0 <= rate < 1):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give COLUMN=RATE or {EXCESS}COLUMN=RATE, the rate a fraction from 0 to under 1 "
            "(exact_match=0.01 is 1 %)"
        )
    return Limit(column, rate, excess)


def outcomes(limits: list[Limit], runs: list) -> list[Outcome]:
    """The Outcome of every limit in every run (reports.Run).

    Nothing measured is no pass. Raises UserError for a run that is unchecked, which may be of another model or other
    data than it says; for a column that is no share of it, or says nothing of any member, or where the limit is on the
    difference, of any held-out text; and for a limit that no model could exceed, over its column's ceiling.
    """
    results = []
    for one in limits:
        flag = f"--fail-above {one.name}"
        for run in runs:
            if run.summary["facts"]["unchecked"]:
                raise UserError(f"{run.label}: is UNCHECKED, so no limit holds of it; make it without --unchecked")
            shares = [column["name"] for column in run.summary["columns"] if column["kind"] == "share"]
            if one.column not in shares:
                raise UserError(f"{flag}: no share that {run.label} has; give one of {', '.join(shares)}")
            members, held_out = (run.summary["groups"][side][one.column] for side in (MEMBERS, HELD_OUT))
            for cell, needed, what in ((members, True, "member"), (held_out, one.excess, "held-out text")):
                if needed and not cell["n"]:
                    raise UserError(f"{flag}: says nothing of any {what} in {run.label}; name another")
            if (ceiling := members.get("ceiling", 1.0)) <= one.rate and one.column not in RARE:
                raise UserError(
                    f"{flag}: a model that repeats every member of {run.label} has {100 * ceiling:.4g} %, so this "
                    "limit always holds; name another column (exact_match)"
                )
            cell = run.summary["difference"][one.column] | {"n": members["n"]} if one.excess else members
            holds = cell["interval"][1] <= one.rate
            results.append(Outcome(run.label, one, cell, holds, held_out["rate"], notes(run.summary["facts"])))
    return results


def said(outcomes: list[Outcome]) -> tuple[int, str]:
    """(status, line) of outcomes, at least one: 1 and what is over its limit, or 0 and all that holds."""
    over = [one for one in outcomes if not one.holds]
    title = "over the limit" if over else "within all limits"
    return int(bool(over)), f"{title}: {'; '.join(map(_told, over or outcomes))}"


def _told(outcome):
    rate, *interval = (f"{100 * x:.4g}" for x in (outcome.cell["rate"], *outcome.cell["interval"]))
    column, limit, excess = outcome.limit
    of = "members less held-out texts" if excess else "members"
    line = f"{outcome.run}: {column} of {of} {rate} [{', '.join(interval)}] %, limit {100 * limit:.6g} %"
    if not (outcome.holds or excess) and outcome.held_out is not None and outcome.held_out > limit:
        line += (
            f", which held-out texts are over too ({100 * outcome.held_out:.4g} %): "
            f"{EXCESS}{column}=RATE limits the difference"
        )
    if (ceiling := outcome.cell.get("ceiling", 1.0)) <= limit:
        line += f", which no model could exceed: the samples' own texts have {100 * ceiling:.4g} %"
    though = ", and ".join(note.text for note in outcome.notes)
    return f"{line}, though {though}" if though else line
