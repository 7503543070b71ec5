"""A result of stage 5, as reports read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from memorization.detection.detections import REMEDY, Detection, checked_rows
from memorization.detection.kinds import DETECTIONS
from memorization.results import run_names
from memorization.results.cases import CaseIndex
from memorization.results.facts import facts_of
from memorization.results.formats import visible
from memorization.results.records import RecordTable
from memorization.results.summarize import Plotted, measure
from memorization.results.summary import CanarySummary, Summary
from memorization.shell.cli import UserError
from memorization.store.locations import base_path
from memorization.store.manifests import Manifest, converted, manifest_path, read_manifest
from memorization.store.rows import StoredRows, base_rows


class Result(NamedTuple):
    """name: what tells it from the others of the report. label: the same where it is short, else a shorter one.

    rows: may be of many gigabytes, and read from disk one by one. case_index: of the rows. base: the same rows through
    the base model, None without.
    """

    name: str
    label: str
    directory: str
    summary: Summary
    rows: Sequence[Detection]
    manifest: Manifest
    plotted: Plotted
    records: RecordTable
    case_index: CaseIndex
    base: Sequence[Detection] | None = None


def read_results(paths: Sequence[Path]) -> list[Result]:
    """The results in directories of stage 5. Raises UserError as StoredRows does, and for rows that contradict their
    manifest."""
    files = [path / "detections.jsonl" for path in paths]
    manifests = [read_manifest(file, DETECTIONS) for file in files]
    names = run_names.names_of(manifests, [visible(str(path)) for path in paths])
    labels = run_names.labels_of(manifests, names)
    results = []
    for file, name, label in zip(files, names, labels, strict=True):
        rows, index = StoredRows(file, DETECTIONS, Detection), CaseIndex()
        manifest = rows.manifest
        base = base_rows(file, DETECTIONS, manifest, Detection)
        if base is not None and not np.array_equal(_probes(rows), _probes(base)):
            raise UserError(f"{file}: the base model's rows beside it are of other probes; {REMEDY}")
        facts = facts_of(manifest.made_of, manifest.arguments, manifest.facts)
        canaries = converted(manifest.facts["canaries"], CanarySummary | None, manifest_path(file), DETECTIONS.stage)
        watched = tqdm(index.watch(checked_rows(file, rows, manifest)), "measure", len(rows), unit="row", disable=None)
        of_base = base and checked_rows(base_path(file), base, manifest)
        summary, plotted, records = measure(watched, facts, of_base, canaries)
        where = visible(str(file.parent))
        results.append(Result(name, label, where, summary, rows, manifest, plotted, records, index, base))
    return results


def _probes(rows: StoredRows) -> np.ndarray:
    return np.unique(rows.keys[:, :2], axis=0)
