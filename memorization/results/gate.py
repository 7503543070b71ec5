"""Limits on what may come out, so that a release pipeline can stop (README, A gate in a release pipeline)."""

import argparse
from typing import NamedTuple

from memorization.cli import UserError
from memorization.results.counts import MEMBERS
from memorization.results.notes import Note, notes


class Limit(NamedTuple):
    """The rate, a fraction, that the upper end of the interval of members may not be over. column: of a share."""

    column: str
    rate: float


class Outcome(NamedTuple):
    """What a run has beside a limit. cell: of members (counts.tally). holds: its interval ends at the limit or below.

    run: the label of the run. notes: of it, but for UNCHECKED, which has no outcome.
    """

    run: str
    limit: Limit
    cell: dict
    holds: bool
    notes: list[Note]


def limit(text):
    """The Limit of a flag's value, COLUMN=RATE. Raises argparse.ArgumentTypeError.

    A rate of 1 could not be passed: who writes it means 1 %.
    """
    column, equals, rate = text.partition("=")
    try:
        rate = float(rate)
    except ValueError:
        rate = -1.0
    if not (column and equals and 0 <= rate < 1):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give COLUMN=RATE, the rate a fraction from 0 to under 1 (exact_match=0.01 is 1 %)"
        )
    return Limit(column, rate)


def outcomes(limits, runs):
    """The Outcome of every limit in every run (reports.Run).

    Nothing measured is no pass. Raises UserError for a run that is unchecked, which may be of another model or other
    data than it says, for a column that is no share of it, and for one that says nothing of any member.
    """
    found = []
    for one in limits:
        for run in runs:
            if run.summary["facts"]["unchecked"]:
                raise UserError(f"{run.label}: is UNCHECKED, so no limit holds of it; make it without --unchecked")
            shares = [column["name"] for column in run.summary["columns"] if column["kind"] == "share"]
            if one.column not in shares:
                raise UserError(
                    f"--fail-above {one.column}: no share that {run.label} has; give one of {', '.join(shares)}"
                )
            cell = run.summary["groups"][MEMBERS][one.column]
            if not cell["n"]:
                raise UserError(f"--fail-above {one.column}: says nothing of any member in {run.label}; name another")
            holds = cell["interval"][1] <= one.rate
            found.append(Outcome(run.label, one, cell, holds, notes(run.summary["facts"])))
    return found


def said(outcomes):
    """(status, line) of outcomes, at least one: 1 and what is over its limit, or 0 and all that holds."""
    over = [one for one in outcomes if not one.holds]
    title = "over the limit" if over else "within all limits"
    return int(bool(over)), f"{title}: {'; '.join(map(_told, over or outcomes))}"


def _told(outcome):
    rate, *interval = (f"{100 * x:.4g}" for x in (outcome.cell["rate"], *outcome.cell["interval"]))
    limit = f"{100 * outcome.limit.rate:.6g}"
    told = f"{outcome.run}: {outcome.limit.column} of members {rate} [{', '.join(interval)}] %, limit {limit} %"
    though = ", and ".join(note.text for note in outcome.notes)
    return f"{told}, though {though}" if though else told
