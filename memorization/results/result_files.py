"""What stage 5 writes beside its detections: result.json, the summary, and result.txt, the published counters."""

from argparse import Namespace
from typing import Any

from memorization.detection.run_detection import DetectionRun
from memorization.results import canaries, tables
from memorization.results.facts import facts
from memorization.store.files import write_json, write_text
from memorization.store.manifests import identity


def write_result(run: DetectionRun, arguments: Namespace) -> dict[str, Any]:
    """Write result.json and result.txt, finish the detections, and return the summary. arguments: the stage's flags."""
    exposures, published = run.exposures, tables.Published()
    of_canaries = exposures and canaries.summarize(exposures, exposures.manifest.made_of)
    of_manifest = run.finish_base(arguments, of_canaries)
    of_run = facts(run.rows.made_of, vars(arguments), of_manifest)
    summary = tables.summarize(published.watch(run.rows), of_run, run.base, of_canaries)
    summary = {"identity": identity(run.rows.made_of), **summary}
    write_json(run.rows.path.with_name("result.json"), summary)
    write_text(run.rows.path.with_name("result.txt"), published.line())
    run.finish(arguments, of_manifest)
    return summary
