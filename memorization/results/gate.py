"""Limits on what may come out, so that a release pipeline can stop (docs/release-gate.md)."""

import argparse
import sys
from collections.abc import Sequence
from math import ceil, inf
from typing import NamedTuple

import msgspec

from memorization.results.cases import CASES, MOST
from memorization.results.facts import Note, notes_of, suspicions
from memorization.results.result import Result
from memorization.results.statistics import LEVEL
from memorization.results.summary import HELD_OUT, MEMBERS, Estimate
from memorization.shell.cli import UserError
from memorization.shell.flags import whole

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
    """A limit applied to a result. run: its label. estimate: what the limit is on. held_out: their rate, if any.

    holds: whether the interval ends at the limit or below.
    """

    run: str
    limit: Limit
    estimate: Estimate
    holds: bool
    held_out: float | None
    notes: list[Note]


def add_gate_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of limits, and of what may be shown."""
    parser.add_argument(
        "--fail-above",
        metavar="[excess:]COLUMN=RATE",
        action="append",
        default=[],
        type=parse_limit,
        help="exit with status 1 if, in any run, the 95 %% interval of members, with excess: that of members less "
        "held-out texts, ends over this rate, a fraction (exact_match=0.01 is 1 %%); COLUMN is a share by its name in "
        "summary.csv; may be given several times",
    )
    parser.add_argument(
        "--cases",
        metavar="N",
        type=whole(1, MOST),
        default=CASES,
        help="how many cases the page and leaks.txt show, the most telling ones; figures are of all (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--redact",
        action="store_true",
        help="show of each word in the texts its first and last letters only, of personal data its kind",
    )


def parse_limit(text: str) -> Limit:
    """The Limit of a flag's value, COLUMN=RATE or excess:COLUMN=RATE. Raises argparse.ArgumentTypeError.

    A rate of 1 could never be exceeded: who writes it means 1 %.
    """
    name, equals, number = text.partition("=")
    excess, column = name.startswith(EXCESS), name.removeprefix(EXCESS)
    try:
        rate = float(number)
    except ValueError:
        rate = -1.0
    if not (column and equals and 0 <= rate < 1):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give COLUMN=RATE or {EXCESS}COLUMN=RATE, the rate a fraction from 0 to under 1 "
            "(exact_match=0.01 is 1 %)"
        )
    return Limit(column, rate, excess)


def apply_limits(limits: Sequence[Limit], results: Sequence[Result]) -> list[Outcome]:
    """The Outcome of every limit in every result. What was not measured does not pass.

    Raises UserError for a result that is unchecked, which may be of another model or other data than it says; for a
    column that is no share of the result, or has no value of any member, or where the limit is on the difference, of
    any held-out text; and for a limit that no model could exceed, over its column's ceiling.
    """
    return [_apply(limit, result) for limit in limits for result in results]


def _apply(limit: Limit, result: Result) -> Outcome:
    flag, figures = f"--fail-above {limit.name}", result.summary.counts.figures
    if result.summary.facts.unchecked:
        raise UserError(f"{result.label}: is UNCHECKED, so no limit holds of it; make it without --unchecked")
    if reasons := suspicions(result.summary):
        raise UserError(f"{result.label}: is SUSPECT, so no limit holds of it: {'; '.join(reasons)}")
    if limit.column == "recognizable":
        _check_recognition(flag, limit, result)
    shares = [name for name, figure in figures.items() if figure.kind == "share"]
    if limit.column not in shares:
        raise UserError(f"{flag}: no share that {result.label} has; give one of {', '.join(shares)}")
    figure = figures[limit.column]
    members, held_out = figure.groups[MEMBERS], figure.groups[HELD_OUT]
    for estimate, needed, what in ((members, True, "member"), (held_out, limit.excess, "held-out text")):
        if limit.excess and not result.summary.counts.samples[HELD_OUT]:
            raise UserError(
                f"{flag}: {result.label} has no held-out texts, so there is no difference to limit; limit the rate of "
                f"members ({limit.column}=RATE)"
            )
        if needed and not estimate.n:
            raise UserError(f"{flag}: no {what} of {result.label} has a value in this column; name another")
    if members.ceiling is not None and members.ceiling <= limit.rate and limit.column not in RARE:
        raise UserError(
            f"{flag}: a model that repeats every member of {result.label} has {100 * members.ceiling:.4g} %, so this "
            "limit always holds; name another column (exact_match)"
        )
    limited = members
    if limit.excess and figure.difference:
        limited = msgspec.structs.replace(figure.difference, n=members.n)
    return Outcome(
        result.label, limit, limited, _interval(limited)[1] <= limit.rate, held_out.value, notes_of(result.summary)
    )


def _check_recognition(flag: str, limit: Limit, result: Result) -> None:
    """Raise UserError where more members than the limit could be known and none be recognized, for want of held-out
    samples."""
    recognition = result.summary.records.recognition
    if recognition.reason:
        raise UserError(f"{flag}: no record of {result.label} can be recognized: {recognition.reason}")
    if not recognition.recognized and recognition.least > max(1, limit.rate * recognition.members):
        needed = ceil(1 / (LEVEL * max(limit.rate, 1 / recognition.members))) - 1
        raise UserError(
            f"{flag}: with {recognition.held_out:,} held-out samples of {result.label} none is found unless "
            f"{recognition.least:,} of {recognition.members:,} members are surer than all of them, which is over the "
            f"limit; give {needed:,} that are no near-duplicates, or a higher limit"
        )


def _interval(estimate: Estimate) -> tuple[float, float]:
    """The interval of a share."""
    low, high = estimate.interval or (None, inf)
    return low or 0.0, high


def status_and_message(outcomes: Sequence[Outcome]) -> tuple[int, str]:
    """The exit status and a line of outcomes, at least one: 1 and what is over its limit, or 0 and all that holds."""
    over = [outcome for outcome in outcomes if not outcome.holds]
    title = "over the limit" if over else "within all limits"
    return int(bool(over)), f"{title}: {'; '.join(map(_described, over or outcomes))}"


def print_outcomes(script: str, outcomes: Sequence[Outcome]) -> int:
    """Print what came of the limits, if there are any; the exit status of the script."""
    if not outcomes:
        return 0
    status, message = status_and_message(outcomes)
    print(f"{script}: {message}" if status else f"\n{message}", file=sys.stderr if status else sys.stdout)
    return status


def _described(outcome: Outcome) -> str:
    column, limit, excess = outcome.limit
    rate, *interval = (f"{100 * x:.4g}" for x in (outcome.estimate.value or 0.0, *_interval(outcome.estimate)))
    of = "members less held-out texts" if excess else "members"
    line = f"{outcome.run}: {column} of {of} {rate} [{', '.join(interval)}] %, limit {100 * limit:.6g} %"
    if not (outcome.holds or excess) and outcome.held_out is not None and outcome.held_out > limit:
        line += (
            f", which held-out texts are over too ({100 * outcome.held_out:.4g} %): "
            f"{EXCESS}{column}=RATE limits the difference"
        )
    if (ceiling := outcome.estimate.ceiling) is not None and ceiling <= limit:
        line += f", which no model could exceed: the samples' own texts have {100 * ceiling:.4g} %"
    though = ", and ".join(note.text for note in outcome.notes)
    return f"{line}, though {though}" if though else line
