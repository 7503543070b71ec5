"""Stage 4: index the training suffixes, so that stage 5 finds the candidates of each generation.

    python load_to_elastic.py -dir ./tokenized_data/ -fn dialogue_prefix.json --index-xsuffix dialogue_suffix

Only members are indexed, one document each: `id` (the sample's) and `text` (its suffix). The index is embedded, a
directory under ./indexes that each load builds anew, unless --elastic-url or ELASTIC_URL names an Elasticsearch server,
where an index that holds other documents is replaced only with --recreate. After a kill, run the same command again.
"""

from pathlib import Path

from memorization.cli import Parser, UserError, run
from memorization.encoding.probes import read_probes
from memorization.files import fingerprint, fingerprints
from memorization.retrieval import add_index_arguments, open_index
from memorization.runs import write_manifest


def main(args):
    path = args.directory / args.file_name
    if not args.file_name.endswith("_prefix.json"):
        raise UserError(f"--file-name {args.file_name}: must be <name>_prefix.json, which stage 1 writes; correct it")
    index = open_index(args)
    probes = read_probes(path)
    members = sum(probe["member"] for probe in probes)
    if not members:
        raise UserError(f"{path}: no members in it, so nothing to index; stage 1 writes members and non-members")
    documents = ((str(probe["id"]), probe["suffix"]) for probe in probes if probe["member"])
    made_of = {"encoding": fingerprint(path), "prefix_length": args.prefix_length}
    count = index.load(documents, made_of, args.recreate, members, args.shards, args.replicas)
    made_of = index.made_of()
    result, inputs = args.indexes / args.index_xsuffix, fingerprints([path])
    write_manifest(result, "index", made_of, args, inputs, made_of["documents"], count, index=index.where)
    print(f"{index.where}: {count} training suffixes")
    if count < members:
        print(f"left out, as they have no word to search: {members - count}")


if __name__ == "__main__":
    parser = Parser(__doc__)
    parser.add_argument("--directory", "-dir", type=Path, required=True, help="directory of the probes")
    parser.add_argument("--file-name", "-fn", required=True, help="the probes, <name>_prefix.json of stage 1")
    parser.add_argument(
        "--prefix-length", type=int, default=50, help="tokens of a prefix, as in stage 3 (default: %(default)s)"
    )
    add_index_arguments(parser)
    server = parser.add_argument_group("server", "of a new index on a server")
    server.add_argument("--recreate", action="store_true", help="remove the index first")
    server.add_argument("--shards", type=int, help="its primary shards (default: 1)")
    server.add_argument("--replicas", type=int, help="copies of each shard (default: 0)")
    run(main, parser.parse_args())
