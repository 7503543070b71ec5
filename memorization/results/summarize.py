"""From detections to a Summary, and to the published counters."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

from memorization.detection.detections import WHOSE, Detection
from memorization.detection.personal_data import KINDS, NAME
from memorization.extraction.reference_scores import reference_scores
from memorization.results.another import AnotherCounter
from memorization.results.columns import (
    EZ,
    FALSE_ALARMS,
    RATIO,
    VERDICT,
    WBC,
    Column,
    calibrated_paraphrases,
    columns_of,
    curve_columns,
    label_columns,
    pass_columns,
    recognizable_members,
    sampled_columns,
    score_columns,
    without_loops,
)
from memorization.results.counts import BATCH, Collector, Groups, compare_base, count_columns, group_samples
from memorization.results.records import RecordTable, classify_records, is_recognizable, recognize
from memorization.results.roc import measure_scores
from memorization.results.sampled_hits import HitCounter, discovered
from memorization.results.statistics import Array
from memorization.results.summary import HELD_OUT, MEMBERS, CanarySummary, Counts, Facts, Summary, Verdict
from memorization.results.verdict import compare_groups, verdict_column
from memorization.shell.parallel import batches

COUNTERS = ("verbatim", "paraphrase", "paraphrase_low", "idea", "none")


class PublishedCounters:
    """The published counters: first labels of members, in direction paper if both were asked for.

    Repeated prefixes are counted once.
    """

    def __init__(self) -> None:
        self._first: dict[bytes, str] = {}  # by the hash of the prefix

    def watch(self, rows: Iterable[Detection]) -> Iterator[Detection]:
        """The same rows, which are counted as they pass."""
        for row in rows:
            if row.generation.member:
                prefix = row.generation.prefix.encode("utf-8", "surrogatepass")
                hashed = blake2b(prefix, digest_size=16).digest()
                self._first.setdefault(hashed, (row.paper or row.labels).first_label)
            yield row

    def line(self) -> str:
        """The five counters in a line; without a classifier the unverified ones are a sixth."""
        counts = Counter(self._first.values())
        names = COUNTERS + (("unverified",) if counts["unverified"] else ())
        return " ".join(f"{name}: {counts[name]}" for name in names) + "\n"


class Plotted(NamedTuple):
    """What plots are drawn of, of each sample. clusters: int from 0. values: of score_columns and curve_columns, by
    name."""

    member: Array
    clusters: Array
    values: dict[str, Array]


class Measured(NamedTuple):
    summary: Summary
    plotted: Plotted
    records: RecordTable


def summarize(
    rows: Iterable[Detection],
    facts: Facts,
    base: Iterable[Detection] | None = None,
    canaries: CanarySummary | None = None,
) -> Summary:
    """The Summary of detections, as `measure` has it."""
    return measure(rows, facts, base, canaries).summary


def measure(
    rows: Iterable[Detection],
    facts: Facts,
    base: Iterable[Detection] | None = None,
    canaries: CanarySummary | None = None,
) -> Measured:
    """Detections in figures. They may be any iterable, and are read once; none is kept.

    base: detections of the same probes through the base model, or None.
    """
    classifier, direction = facts.classifier, "paper" if facts.direction == "paper" else "pan"
    columns = columns_of(facts.span_length, facts.loop_repeats, classifier, direction, bool(facts.ner_model))
    tables = {
        "counts": columns + pass_columns(),
        "without_loops": [without_loops(column, facts.loop_repeats) for column in columns if column.name != "loop"],
        "without_scan": label_columns(lambda row: row.labels.label_without_scan, classifier, direction),
        "first_label": label_columns(lambda row: row.labels.first_label, classifier, direction),
    }
    if facts.direction == "both":
        tables["paper"] = label_columns(lambda row: row.paper.label, classifier, "paper")
    every = [column for table in tables.values() for column in table]
    scores = score_columns(classifier)
    bounded = [column._replace(value=column.ceiling) for column in columns if column.ceiling]
    empty = 0
    runs_of_others, items_of_others, items = AnotherCounter(), AnotherCounter(), Counter[tuple[str, str, str]]()
    kinds_said: dict[int, set[str]] = {}  # of its own personal data, by sample
    hits = HitCounter() if facts.not_computed.keys() & {"scores", "scores.log_p_z"} else None

    def watched() -> Iterator[Detection]:
        nonlocal empty
        for row in rows:
            empty += not row.generation.text.strip()
            if hits:
                hits.add(row)
            runs_of_others.add(
                row.generation.id,
                (run for run in row.copied if run.whose(row.generation.cluster) in ("another", "other")),
            )
            items_of_others.add(
                row.generation.id, (item for item in row.personal if item.whose in ("another", "other"))
            )
            items.update(
                (item.kind, MEMBERS if row.generation.member else HELD_OUT, item.whose) for item in row.personal
            )
            for item in row.personal:
                if item.whose == "own":
                    kinds_said.setdefault(row.generation.id, set()).add(item.kind)
            yield row

    curves, paired = curve_columns(), [] if base is None else [EZ, WBC]
    tuned_values = Collector([*every, *scores, *paired, *curves, *bounded])
    of_base = None
    if base is None:
        for batch in batches(watched(), BATCH):
            tuned_values.add(batch)
    else:
        base_values = Collector([*tables["counts"], *(score for score in scores if score.name == "loss")])
        nothing: list[Detection] = []
        for batch, of_batch in zip_longest(batches(watched(), BATCH), batches(base, BATCH), fillvalue=nothing):
            if [row.key for row in batch] != [row.key for row in of_batch]:
                raise ValueError("the base model's detections are of other probes")
            base_values.add(of_batch)
            tuned_values.add(batch, _beside_base(batch, of_batch))
        of_base = base_values.samples()
    scores += paired
    samples = tuned_values.samples()
    groups, values = group_samples(samples), iter(samples.values)
    _, clusters = np.unique(samples.clusters, return_inverse=True)
    measured = {name: [(column, next(values)) for column in table] for name, table in tables.items()}
    of_scores = {column.name: next(values) for column in scores}
    plotted = Plotted(samples.member, clusters, of_scores | {column.name: next(values) for column in curves})
    tuned = [of_column for _, of_column in measured["counts"]]
    if classifier and groups[HELD_OUT].any():  # they choose the threshold
        measured["counts"].append(_calibrated(of_scores["paraphrase"], groups[HELD_OUT]))

    if of_base is not None:
        with np.errstate(invalid="ignore"):  # of two infinities
            of_scores[RATIO.name] = of_scores["loss"] - of_base.values[-1]
        scores.append(RATIO)

    by_hits = sampled_columns() if hits and samples.generations_a_probe > 1 else {}
    if hits and by_hits:
        bounds = hits.bounds(samples.ids)
        measured["counts"] = [
            (by_hits[column.name][0], discovered(bounds, *by_hits[column.name][1:]))
            if column.name in by_hits
            else (column, of_column)
            for column, of_column in measured["counts"]
        ]

    recognition, p = recognize(of_scores, samples.member, samples.clusters)
    if recognition.reason is None:
        heading = next(column.heading for column in scores if column.name == recognition.score)
        measured["counts"].append((recognizable_members(heading), is_recognizable(p, recognition)))
    by_name = {column.name: of_column for column, of_column in measured["counts"]}
    records, table = classify_records(samples, groups, by_name, of_scores, kinds_said, recognition, p)
    counts = {name: count_columns(groups, of_table, clusters) for name, of_table in measured.items()}
    _add_ceilings(counts["counts"], groups, zip(bounded, values, strict=True))

    own = counts["counts"].figures.get(VERDICT)
    decides = verdict_column(own.groups[MEMBERS].ceiling if own else None)
    number = [column.name for column in columns].index(decides)
    members, held_out = ((groups[side] & ~np.isnan(tuned[number])).any() for side in (MEMBERS, HELD_OUT))
    verdict = None
    if members and (held_out or of_base):
        before = of_base.values[number] if of_base else None
        verdict = Verdict(decides, compare_groups(groups, samples, tuned[number], before))
    another, another_personal = (
        counter.measure(samples.ids, samples.member, clusters, facts.clusters)
        for counter in (runs_of_others, items_of_others)
    )
    headings: dict[str, dict[str, None]] = {}  # of the columns without values, by reason, each once
    if reason := facts.not_computed.get("canaries"):
        headings[reason] = {"exposures of canaries": None}
    for column in (*(by_hits.get(one.name, (one,))[0] for one in tables["counts"]), *scores):
        for field, reason in facts.not_computed.items():
            if column.needs == field or column.needs.startswith(f"{field}."):
                headings.setdefault(reason, {})[column.heading] = None
    kinds = [kind for kind in (*KINDS, NAME) if any(kind == of_item for of_item, _, _ in items)]
    summary = Summary(
        facts=facts,
        not_computed={reason: [*of_reason] for reason, of_reason in headings.items()},
        generations=samples.generations,
        generations_a_probe=samples.generations_a_probe,
        empty=empty,
        probes={name: int(samples.probes[mask].sum()) for name, mask in groups.items()},
        **counts,
        base=compare_base(groups, tables["counts"], tuned, of_base.values[:-1], clusters) if of_base else None,
        scores=measure_scores(scores, of_scores.values(), samples.member, clusters),
        verdict=verdict,
        another=another,
        personal={
            kind: {side: {whose: items[kind, side, whose] for whose in WHOSE} for side in (MEMBERS, HELD_OUT)}
            for kind in kinds
        },
        another_personal=another_personal,
        canaries=canaries,
        records=records,
    )
    return Measured(summary, plotted, table)


def _beside_base(rows: Sequence[Detection], base: Sequence[Detection]) -> dict[str, tuple[Array, Array]]:
    """The values and weights of the columns EZ and WBC of rows, beside the same ones of the base model."""
    scores = reference_scores(*([row.generation.scores for row in of_model] for of_model in (rows, base)))
    # a turn without tokens in error counts where no turn has any
    weight = np.maximum(scores.weight, np.finfo(float).tiny)
    return {
        EZ.name: (scores.error_zone, np.where(np.isnan(weight), 0, weight)),
        WBC.name: (scores.windows, np.where(np.isnan(scores.windows), 0.0, 1.0)),
    }


def _add_ceilings(counts: Counts, groups: Groups, ceilings: Iterable[tuple[Column, Array]]) -> None:
    """Add to each figure its ceiling in each group: the mean of its values, which are those of samples."""
    for column, values in ceilings:
        for name, mask in groups.items():
            here = values[mask & ~np.isnan(values)]
            if column.name in counts.figures and len(here):
                counts.figures[column.name].groups[name].ceiling = float(here.mean())


def _calibrated(scores: Array, held_out: Array) -> tuple[Column, Array]:
    """The column of paraphrases surer than held-out ones, and its values. scores: of samples; held_out: their mask."""
    descending = np.sort(scores[held_out])[::-1]
    threshold = max(0.5, descending[int(FALSE_ALARMS * len(descending))]) if len(descending) else 0.5
    return calibrated_paraphrases(threshold), np.where(scores > threshold, 1.0, 0.0)
