"""Whether what stage 5 is given is of one run, and what makes its result (design.md, What makes a result)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from memorization.detection.detections import FORMAT
from memorization.encoding.probe_file import KIND as PROBE_FILE
from memorization.extraction.generations import Generation
from memorization.retrieval.documents import sample_documents
from memorization.store.manifests import Manifest, TextDigest, difference, identity


def index_mismatch(rows: Sequence[Generation], manifest: Manifest | None, index: dict[str, Any]) -> str:
    """How an index differs from the one that the generations need, in words; "" if it is the right one.

    rows: the generations. manifest: theirs, None for texts of which nothing is known. index: the made_of of a
    retrieval index.
    """
    made_of = manifest.made_of if manifest else {}
    if made_of.get("probe") == PROBE_FILE:  # its suffixes are not those of the index, which holds all members'
        return difference({"encoding": index.get("encoding")}, {"encoding": made_of["encoding"]})
    digest = TextDigest()
    for document in sample_documents(_member_suffixes(rows)):
        digest.add(*document)
    needed = {name: made_of.get(name) for name in ("encoding", "probe", "prefix_length")}
    if not (manifest and manifest.facts.get("too_long")):  # otherwise the index has members that the rows lack
        needed["documents"] = digest.hex()
    return difference({name: index.get(name) for name in needed}, needed)


def _member_suffixes(rows: Iterable[Generation]) -> Iterator[tuple[int, str]]:
    """(id, suffix) of each probe of a member, which may have several generations."""
    probes = set()
    for row in rows:
        if row.member and (probe := row.key[:2]) not in probes:
            probes.add(probe)
            yield row.id, row.suffix


def detections_made_of(
    rows: Sequence[Generation], manifest: Manifest | None, index: dict[str, Any], made_with: dict[str, Any]
) -> dict[str, Any]:
    """Everything that makes stage 5's result: the arguments of index_mismatch, and what it is made with.

    made_with: of kinds.DetectionsMadeOf all but `generations` and `index`.
    """
    of_generations = [manifest.identity, manifest.contents] if manifest else msgspec.to_builtins(rows)
    return {"generations": identity(of_generations), "index": identity(index), **made_with, "format": FORMAT}
