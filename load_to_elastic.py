"""Stage 4: index the training suffixes, so that stage 5 finds the candidates of each generation.

    python load_to_elastic.py -dir ./tokenized_data/ -fn dialogue_prefix.json --index-xsuffix dialogue_suffix

Only members are indexed, one document each: `id` (the sample's) and `text` (its suffix; of a chat those of its turns, a
line each). The index is embedded, a
directory under ./indexes that each load builds anew, unless --elastic-url or ELASTIC_URL names an Elasticsearch server,
where an index that holds other documents is replaced only with --recreate. After a kill, run the same command again.
"""

import argparse
from pathlib import Path

import numpy as np

from memorization.detection.personal_data import REGIONS, checked_regions
from memorization.detection.span_index import build
from memorization.encoding.kinds import HELD_OUT_SET, PROBE_TEXTS, PROBES, TRAINING_SET
from memorization.encoding.probes import Probes
from memorization.retrieval import IndexSettings, add_index_arguments, open_index
from memorization.retrieval.index import INDEX
from memorization.shell.cli import Parser, UserError, run
from memorization.shell.flags import PROCESSES, whole
from memorization.shell.parallel import cores
from memorization.store.files import locked
from memorization.store.locations import encoding_paths, span_index_path
from memorization.store.manifests import manifest_path, read_manifest, write_manifest

ENDING = "_prefix.json"


def main(args: argparse.Namespace) -> None:
    name = args.file_name.removesuffix(ENDING)
    if name == args.file_name:
        raise UserError(f"--file-name {args.file_name}: must be <name>{ENDING}, which stage 1 writes; correct it")
    regions = checked_regions(args.regions)
    index = open_index(IndexSettings.of(args))
    probes = Probes(args.directory, name, args.prefix_length, args.probe)
    members = len(np.unique(probes.ids[probes.members]))
    if not members:
        raise UserError(f"{args.directory / args.file_name}: no members in it, so nothing to index; encode more data")
    made_of = {"encoding": probes.encoding, "probe": probes.kind, "prefix_length": probes.prefix_length}
    path, spans = args.indexes / args.index_xsuffix, span_index_path(args.indexes, probes.encoding)
    with locked(manifest_path(path)):  # of the same load as the index
        index.check_load(made_of, args.recreate)
        samples = build(spans, probes.samples(), probes.encoding, probes.manifest.rows, args.jobs or cores(), regions)
        metadata = index.load(probes.documents(), made_of, args.recreate, members)
        paths = encoding_paths(args.directory, name)
        inputs = {  # hashed when the probes were opened
            str(paths[kind.name]): read_manifest(paths[kind.name], kind).contents
            for kind in (PROBES, PROBE_TEXTS, TRAINING_SET, HELD_OUT_SET)
        }
        made_of, count = metadata.made_of, metadata.count or 0
        write_manifest(path, INDEX, made_of, args, inputs, str(made_of["documents"]), count, index=index.where)
    print(f"{index.where}: {count} training suffixes")
    if count < members:
        print(f"left out, as they have no word to search: {members - count}")
    print(f"{spans}: {sum(samples)} samples, {samples[0]} of them members")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--directory", "-dir", type=Path, required=True, help="directory of the probes")
    parser.add_argument("--file-name", "-fn", required=True, help="the probes, <name>_prefix.json of stage 1")
    parser.add_argument("--prefix-length", type=whole(1), help="tokens of a prefix, as in stage 3 (default: stage 1's)")
    parser.add_argument(
        "--probe",
        "--field",
        choices=["text", "source", "target"],
        help="what the prefix is of, as in stage 3: what is left of it is indexed (default: stage 1's)",
    )
    parser.add_argument(
        "--regions",
        nargs="+",
        metavar="REGION",
        default=REGIONS,
        help="regions whose telephone numbers count as personal data as they are written at home, by their codes (US "
        f"CN ...); international ones always do (default: {' '.join(REGIONS)})",
    )
    parser.add_argument(
        "--jobs", type=whole(1, PROCESSES), help="processes that analyse (default: as many as there are cores)"
    )
    add_index_arguments(parser)
    server = parser.add_argument_group("server", "of a new index on a server")
    server.add_argument("--recreate", action="store_true", help="remove the index first")
    server.add_argument("--shards", type=whole(1), help="its primary shards (default: 1)")
    server.add_argument("--replicas", type=whole(0), help="copies of each shard (default: 0)")
    run(main, parser.parse_args())
