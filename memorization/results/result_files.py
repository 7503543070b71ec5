"""What stage 5 writes beside its detections: result.json, the summary, and result.txt, the published counters."""

from typing import Any

import msgspec

from memorization.detection.run_detection import DetectionRun
from memorization.results.canaries import summarize_canaries
from memorization.results.facts import facts_of
from memorization.results.summarize import PublishedCounters, summarize
from memorization.results.summary import Summary, result_json
from memorization.store.files import write_json, write_text
from memorization.store.manifests import identity


def write_result(run: DetectionRun, arguments: dict[str, Any]) -> Summary:
    """Write result.json and result.txt, finish the detections, and return the summary. arguments: the stage's flags."""
    exposures, published = run.exposures, PublishedCounters()
    canaries = summarize_canaries(exposures, exposures.manifest.made_of) if exposures else None
    facts = run.finish_base(arguments, msgspec.to_builtins(canaries))
    of_run = facts_of(run.rows.made_of, arguments, facts)
    summary = summarize(published.watch(run.rows), of_run, run.base, canaries)
    contents = {"identity": identity(run.rows.made_of)} | result_json(summary)
    write_json(run.rows.path.with_name("result.json"), contents)
    write_text(run.rows.path.with_name("result.txt"), published.line())
    run.finish(arguments, facts)
    return summary
