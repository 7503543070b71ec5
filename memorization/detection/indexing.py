"""Stage 4's work: the index of the training suffixes, and beside it the span index of all samples."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memorization.detection.personal_data import REGIONS, checked_regions
from memorization.detection.span_index import build
from memorization.encoding.kinds import HELD_OUT_SET, PROBE_TEXTS, PROBES, TRAINING_SET
from memorization.encoding.probes import Probes
from memorization.retrieval import IndexSettings, open_index
from memorization.retrieval.index import INDEX
from memorization.shell.cli import UserError
from memorization.shell.parallel import cores
from memorization.store.files import locked
from memorization.store.locations import encoding_paths, span_index_path
from memorization.store.manifests import manifest_path, read_manifest, write_manifest


@dataclass(frozen=True, kw_only=True)
class IndexingSettings:
    """Stage 4's flags (load_to_elastic.py --help). name: of the encoding in the directory. flags: all, as given."""

    directory: Path
    name: str
    index: IndexSettings
    prefix_length: int | None
    probe: str | None
    regions: list[str]
    jobs: int | None
    recreate: bool
    flags: dict[str, Any]


def add_region_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says whose telephone numbers are known."""
    parser.add_argument(
        "--regions",
        nargs="+",
        metavar="REGION",
        default=REGIONS,
        help="regions whose telephone numbers count as personal data as they are written at home, by their codes (US "
        f"CN ...); international ones always do (default: {' '.join(REGIONS)})",
    )


def check_index(settings: IndexingSettings) -> None:
    """Raise UserError if index_training_set may not replace what the index holds."""
    probes = Probes(settings.directory, settings.name, settings.prefix_length, settings.probe)
    open_index(settings.index).check_load(_made_of(probes), settings.recreate)


def _made_of(probes: Probes) -> dict[str, str | int]:
    return {"encoding": probes.encoding, "probe": probes.kind, "prefix_length": probes.prefix_length}


def index_training_set(settings: IndexingSettings) -> None:
    """Load the index, and build the span index where it is not there. Raises UserError where there are no members."""
    regions = checked_regions(settings.regions)
    index = open_index(settings.index)
    probes = Probes(settings.directory, settings.name, settings.prefix_length, settings.probe)
    members = len(np.unique(probes.ids[probes.members]))
    paths = encoding_paths(settings.directory, settings.name)
    if not members:
        raise UserError(f"{paths['probes as text']}: no members in it, so nothing to index; encode more data")
    made_of = _made_of(probes)
    directory, jobs = settings.index.indexes, settings.jobs or cores()
    path, spans = directory / index.name, span_index_path(directory, probes.encoding)
    with locked(manifest_path(path)):  # of the same load as the index
        index.check_load(made_of, settings.recreate)
        samples = build(spans, probes.samples(), probes.encoding, probes.manifest.rows, jobs, regions)
        metadata = index.load(probes.documents(), made_of, settings.recreate, members)
        inputs = {  # hashed when the probes were opened
            str(paths[kind.name]): read_manifest(paths[kind.name], kind).contents
            for kind in (PROBES, PROBE_TEXTS, TRAINING_SET, HELD_OUT_SET)
        }
        made_of, count = metadata.made_of, metadata.count or 0
        write_manifest(
            path, INDEX, made_of, settings.flags, inputs, str(made_of["documents"]), count, index=index.where
        )
    print(f"{index.where}: {count} training suffixes")
    if count < members:
        print(f"left out, as they have no word to search: {members - count}")
    print(f"{spans}: {sum(samples)} samples, {samples[0]} of them members")
