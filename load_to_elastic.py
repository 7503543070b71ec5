"""Stage 4: index the training suffixes, so that stage 5 finds the candidates of each generation.

    python load_to_elastic.py -dir ./tokenized_data/ -fn dialogue_prefix.json --index-xsuffix dialogue_suffix

Only members are indexed, one document each: `id` (the sample's) and `text` (its suffix). The index is embedded, a
directory under ./indexes that each load builds anew, unless --elastic-url or ELASTIC_URL names an Elasticsearch server,
where an index that holds other documents is replaced only with --recreate. After a kill, run the same command again.
"""

from pathlib import Path

from memorization.cli import Parser, UserError, run
from memorization.encoding.probes import read_probes
from memorization.files import fingerprints, write_manifest
from memorization.retrieval import add_index_arguments, open_index


def main(args):
    path = args.directory / args.file_name
    index = open_index(args)
    members = [probe for probe in read_probes(path) if probe["member"]]
    if not members:
        raise UserError(f"{path}: no members in it, so nothing to index; stage 1 writes members and non-members")
    documents = ((str(probe["id"]), probe["suffix"]) for probe in members)
    count = index.load(documents, args.recreate, len(members), args.shards, args.replicas)
    write_manifest(args.indexes / args.index_xsuffix, args, fingerprints([path]), index=index.where, documents=count)
    print(f"{index.where}: {count} training suffixes")
    if count < len(members):
        print(f"left out, as they have no word to search: {len(members) - count}")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("-dir", "--directory", type=Path, required=True, help="directory of the probes file")
    parser.add_argument("-fn", "--file-name", required=True, help="the probes file, <name>_prefix.json of stage 1")
    add_index_arguments(parser)
    server = parser.add_argument_group("server", "of a new index on a server")
    server.add_argument("--recreate", action="store_true", help="remove the index first")
    server.add_argument("--shards", type=int, help="its primary shards (default: 1)")
    server.add_argument("--replicas", type=int, help="copies of each shard (default: 0)")
    run(main, parser.parse_args())
