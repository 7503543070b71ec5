"""Whether what stage 5 is given is of one run, and what makes its result (design.md, What makes a result)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from memorization.detection.detections import FORMAT
from memorization.encoding.probe_file import KIND as PROBE_FILE
from memorization.extraction.generations import Generation
from memorization.store.manifests import Manifest, difference, identity


def index_mismatch(manifest: Manifest | None, index: dict[str, Any]) -> str:
    """How an index differs from the one that the generations need, in words; "" if it is the right one.

    manifest: of the generations, None for texts of which nothing is known. index: the made_of of a retrieval index.
    """
    made_of = manifest.made_of if manifest else {}
    if made_of.get("probe") == PROBE_FILE:  # its suffixes are not those of the index, which holds all members'
        return difference({"encoding": index.get("encoding")}, {"encoding": made_of["encoding"]})
    needed = {name: made_of.get(name) for name in ("encoding", "probe", "prefix_length")}
    if manifest:
        needed["documents"] = manifest.facts["documents"]  # of all members: the rows may be of a sample of them
    return difference({name: index.get(name) for name in needed}, needed)


def detections_made_of(
    rows: Sequence[Generation], manifest: Manifest | None, index: dict[str, Any], made_with: dict[str, Any]
) -> dict[str, Any]:
    """Everything that makes stage 5's result: rows, the generations, the arguments of index_mismatch, and what it is
    made with.

    made_with: of kinds.DetectionsMadeOf all but `generations` and `index`.
    """
    of_generations = [manifest.identity, manifest.contents] if manifest else msgspec.to_builtins(rows)
    return {"generations": identity(of_generations), "index": identity(index), **made_with, "format": FORMAT}
