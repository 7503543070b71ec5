"""Candidate retrieval: the training suffixes that BM25 ranks highest for a generation.

One interface (Index), two implementations that agree: an Elasticsearch server, or an embedded index in a directory.
"""

import os
from pathlib import Path

from memorization.retrieval.embedded import EmbeddedIndex
from memorization.retrieval.index import Hit, Index
from memorization.shell.cli import UserError

__all__ = ["Hit", "Index", "add_index_arguments", "open_index"]


def add_index_arguments(parser):
    """Add the flags that say which index: its name, and the server or directory it is in."""
    group = parser.add_argument_group("index", "an Elasticsearch server if one is named, else a directory")
    group.add_argument("--index-xsuffix", metavar="NAME", help="name of the index (required)")
    group.add_argument(
        "--elastic-url",
        nargs="+",
        metavar="URL",
        default=os.environ.get("ELASTIC_URL", "").split(),
        help="nodes of the server (default: $ELASTIC_URL); credentials come from the environment only: "
        "ELASTIC_API_KEY, or ELASTIC_USER and ELASTIC_PASSWORD",
    )
    group.add_argument(
        "--ca-certs",
        type=Path,
        default=os.environ.get("ELASTIC_CA_CERTS") or None,
        help="certificate authority of the server, a PEM file (default: $ELASTIC_CA_CERTS)",
    )
    group.add_argument("--ssl-fingerprint", metavar="SHA256", help="or the fingerprint of its certificate")
    group.add_argument("--insecure", action="store_true", help="do NOT check the server's certificate")
    group.add_argument(
        "--indexes", type=Path, default=Path("indexes"), help="directory of embedded indexes (default: %(default)s)"
    )


def open_index(args):
    """The Index that the flags of add_index_arguments name; it need not exist yet."""
    if not args.index_xsuffix:
        raise UserError("--index-xsuffix is needed: the name of the index")
    if args.elastic_url:
        from memorization.retrieval.elastic import ElasticIndex  # half a second, for a server only

        return ElasticIndex(
            args.elastic_url,
            args.index_xsuffix,
            ca_certs=args.ca_certs,
            ssl_fingerprint=args.ssl_fingerprint,
            insecure=args.insecure,
        )
    return EmbeddedIndex(args.indexes, args.index_xsuffix)
