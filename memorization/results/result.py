"""A result of stage 5, as reports read it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from memorization.detection.detections import Detection, check_rows
from memorization.detection.kinds import DETECTIONS
from memorization.results import run_names
from memorization.results.facts import facts_of
from memorization.results.formats import visible
from memorization.results.summarize import summarize
from memorization.results.summary import CanarySummary, Summary
from memorization.store.manifests import Manifest, converted, manifest_path, read_manifest
from memorization.store.rows import base_rows, read_rows


class Result(NamedTuple):
    """name: what tells it from the others of the report. label: the same where it is short, else a shorter one."""

    name: str
    label: str
    directory: str
    summary: Summary
    rows: Sequence[Detection]
    manifest: Manifest


def read_results(paths: Sequence[Path]) -> list[Result]:
    """The results in directories of stage 5. Raises UserError as read_rows does."""
    files = [path / "detections.jsonl" for path in paths]
    manifests = [read_manifest(file, DETECTIONS) for file in files]
    names = run_names.names_of(manifests, [visible(str(path)) for path in paths])
    labels = run_names.labels_of(manifests, names)
    results = []
    for file, name, label in zip(files, names, labels, strict=True):
        rows, manifest = read_rows(file, DETECTIONS, Detection)
        base = base_rows(file, DETECTIONS, manifest, Detection)
        check_rows(file, rows, base, manifest)
        facts = facts_of(manifest.made_of, manifest.arguments, manifest.facts)
        canaries = converted(manifest.facts["canaries"], CanarySummary | None, manifest_path(file), DETECTIONS.stage)
        summary = summarize(rows, facts, base, canaries)
        results.append(Result(name, label, visible(str(file.parent)), summary, rows, manifest))
    return results
