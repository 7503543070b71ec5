"""Stage 4: index the training suffixes, so that stage 5 finds the candidates of each generation.

    python load_to_elastic.py -dir ./tokenized_data/ -fn dialogue_prefix.json --index-xsuffix dialogue_suffix

Only members are indexed, one document each: `id` (the sample's) and `text` (its suffix; of a chat those of its turns, a
line each). The index is embedded, a directory under ./indexes that each load builds anew, unless --elastic-url or
ELASTIC_URL names an Elasticsearch server, where an index that holds other documents is replaced only with --recreate.
After a kill, run the same command again.
"""

import argparse
from pathlib import Path

from memorization.detection.indexing import IndexingSettings, add_region_argument, index_training_set
from memorization.retrieval import IndexSettings, add_index_arguments
from memorization.shell.cli import Parser, UserError, run
from memorization.shell.flags import PROCESSES, whole

ENDING = "_prefix.json"


def main(args: argparse.Namespace) -> None:
    name = args.file_name.removesuffix(ENDING)
    if name == args.file_name:
        raise UserError(f"--file-name {args.file_name}: must be <name>{ENDING}, which stage 1 writes; correct it")
    settings = IndexingSettings(
        directory=args.directory,
        name=name,
        index=IndexSettings.of(args),
        prefix_length=args.prefix_length,
        probe=args.probe,
        regions=args.regions,
        jobs=args.jobs,
        recreate=args.recreate,
        flags=vars(args),
    )
    index_training_set(settings)


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--directory", "-dir", type=Path, required=True, help="directory of the probes")
    parser.add_argument("--file-name", "-fn", required=True, help="the probes, <name>_prefix.json of stage 1")
    parser.add_argument("--prefix-length", type=whole(0), help="tokens of a prefix, as in stage 3 (default: stage 1's)")
    parser.add_argument(
        "--probe",
        "--field",
        choices=["text", "source", "target"],
        help="what the prefix is of, as in stage 3: what is left of it is indexed (default: stage 1's)",
    )
    parser.add_argument(
        "--jobs", type=whole(1, PROCESSES), help="processes that analyse (default: as many as there are cores)"
    )
    add_index_arguments(parser)
    add_region_argument(parser)
    server = parser.add_argument_group("server", "of a new index on a server")
    server.add_argument("--recreate", action="store_true", help="remove the index first")
    server.add_argument("--shards", type=whole(1), help="its primary shards (default: 1)")
    server.add_argument("--replicas", type=whole(0), help="copies of each shard (default: 0)")
    run(main, parser.parse_args())
