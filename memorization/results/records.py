"""What the attacks see of each record: a p-value against held-out records, a class of risk, and records.csv."""

import io
from collections.abc import Mapping
from math import ceil
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from scipy import stats

from memorization.results.columns import EZ, VERDICT
from memorization.results.counts import Groups, SampleValues
from memorization.results.statistics import LEVEL, Array
from memorization.results.summary import Recognition, RecordSummary

DECIDING = (EZ.name, "min_k_plus", "loss")  # scores: the first that there is decides, whatever its values are
SAID = ("exact_match", "near_copy", VERDICT, "personal")  # columns of what comes out by itself
EXTRACTABLE = "within_10000_50"
CLASSES = ("said", "extractable", "recognizable", "not seen by these attacks")
SHARES = (*SAID, "another", "another_personal", EXTRACTABLE)  # columns of records.csv
ROUNDING = 1e-12


class RecordTable(NamedTuple):
    """A value of each sample, in the order of the ids. clusters: ids. classes: places in CLASSES. p: NaN where there is
    none. kinds: of its own personal data that is said. scores, shares: columns by name, NaN where they have no value.
    """

    ids: Array
    member: Array
    duplicates: Array
    clusters: Array
    classes: Array
    p: Array
    kinds: list[str]
    scores: Mapping[str, Array]
    shares: Mapping[str, Array]


def conformal_p(scores: Array, member: Array, clusters: Array) -> Array:
    """The p of each sample, that it is no likelier a member than held-out samples are; NaN without a score.

    scores: higher for likelier members, NaN without one. member: bool. clusters: int. p = (1 + k) / (1 + n), where k of
    the n held-out clusters have a score as high (Vovk et al. 2005; Bates et al. 2023, Testing for outliers with
    conformal p-values). A cluster has the highest score of its samples and counts once. If it is chance which clusters
    are held out, the highest score of the cluster of a member that was not learned has any rank among them alike, and
    its own score is no higher: so p is at most a with a chance of at most a, at any number of samples. A held-out
    sample is compared with the other held-out clusters.
    """
    p = np.full(len(scores), np.nan)
    valid = ~np.isnan(scores)
    held_out = valid & ~member
    _, cluster = np.unique(clusters[held_out], return_inverse=True)
    greatest = np.full(int(cluster.max()) + 1 if len(cluster) else 0, -np.inf)
    np.maximum.at(greatest, cluster, scores[held_out])
    ordered, n = np.sort(greatest), len(greatest)
    if not n:
        return p
    p[valid] = (1 + n - np.searchsorted(ordered, scores[valid])) / (1 + n)
    p[held_out] = (n - np.searchsorted(ordered, scores[held_out])) / n  # its own cluster is as high
    return p


def recognize(scores: Mapping[str, Array], member: Array, clusters: Array) -> tuple[Recognition, Array]:
    """Which members can be told from held-out samples at 5 % false discoveries (Benjamini and Hochberg 1995), and the p
    of all samples by the score that decides. scores: columns of samples, by name; others as of conformal_p.
    """
    name = next((name for name in DECIDING if name in scores and not np.isnan(scores[name]).all()), None)
    values = scores[name] if name else np.full(len(member), np.nan)
    p, valid = conformal_p(values, member, clusters), ~np.isnan(values)
    members, held_out = int((valid & member).sum()), len(np.unique(clusters[valid & ~member]))
    least = ceil(members / (LEVEL * (1 + held_out)) - ROUNDING)
    reason = None
    if name is None:
        reason = "no scores of suffixes were computed"
    elif not held_out:
        reason = "there are no held-out samples to compare with"
    elif not members:
        reason = "no member has a score"
    elif least > members:
        needed = ceil(1 / LEVEL - ROUNDING) - 1
        reason = f"that takes {needed} held-out samples that are no near-duplicates, and there are {held_out}"
    result = Recognition(score=name, members=members, held_out=held_out, least=max(least, 1), reason=reason)
    if reason is None:
        of_members = p[valid & member]
        recognized = of_members[stats.false_discovery_control(of_members) <= LEVEL + ROUNDING]
        result.recognized, result.cut = len(recognized), float(recognized.max()) if len(recognized) else None
    return result, p


def classify_records(
    samples: SampleValues,
    groups: Groups,
    columns: Mapping[str, Array],
    scores: Mapping[str, Array],
    kinds: Mapping[int, set[str]],
    recognition: Recognition,
    p: Array,
) -> tuple[RecordSummary, RecordTable]:
    """The class of each sample, and how many of each group are of each. columns, scores: of samples, by name. kinds: id
    -> kinds of its own personal data that is said. p: of recognize."""
    shares = {name: columns[name] for name in SHARES if name in columns}
    said = np.any([shares[name] == 1 for name in SAID if name in shares], axis=0)
    extractable = shares[EXTRACTABLE] == 1 if EXTRACTABLE in shares else np.zeros(len(p), bool)
    recognizable = is_recognizable(p, recognition) == 1
    classes = np.select([said, extractable, recognizable], range(3), 3)
    counts = {group: np.bincount(classes[mask], minlength=len(CLASSES)).tolist() for group, mask in groups.items()}
    summary = RecordSummary(
        recognition, {group: dict(zip(CLASSES, of_group, strict=True)) for group, of_group in counts.items()}
    )
    names = [" ".join(sorted(kinds.get(id, ()))) for id in samples.ids.tolist()] if kinds else [""] * len(p)
    keys = samples.ids, samples.member, samples.duplicates, samples.clusters
    return summary, RecordTable(*keys, classes, p, names, scores, shares)


def is_recognizable(p: Array, recognition: Recognition) -> Array:
    """1.0 where a p is at most the cut, else 0.0; NaN without p."""
    return np.where(np.isnan(p), np.nan, p <= (-1 if recognition.cut is None else recognition.cut))


def records_csv(tables: Mapping[str, RecordTable]) -> bytes:
    """records.csv: a line for each sample of each run. tables: name of the run -> its records."""
    of_runs = []
    for run, table in tables.items():
        columns = {
            "run": pa.array([run]).take(pa.array(np.zeros(len(table.ids), np.int64))),
            "id": table.ids,
            "member": table.member,
            "copies": table.duplicates,
            "cluster": table.clusters,
            "class": pa.array(CLASSES).take(pa.array(table.classes)),
            "p": _column(table.p),
            "personal_kinds": pa.array(table.kinds, pa.string()),
            **{name: _column(values, pa.bool_()) for name, values in table.shares.items()},
            **{name: _column(values) for name, values in table.scores.items()},
        }
        of_runs.append(pa.table(columns))
    file = io.BytesIO()
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    pyarrow.csv.write_csv(pa.concat_tables(of_runs, promote_options="default"), file, options)
    return file.getvalue()


def _column(values: Array, kind: pa.DataType | None = None) -> pa.Array:
    """A column that is empty where values are NaN."""
    missing = np.isnan(values)
    return pa.array(np.where(missing, 0, values), mask=missing).cast(kind or pa.float64())
