"""Candidate retrieval: the training suffixes that BM25 ranks highest for a generation.

One interface (Index), two implementations that agree: an Elasticsearch server, or an embedded index in a directory.
"""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Self

from memorization.retrieval.embedded import EmbeddedIndex
from memorization.retrieval.index import Hit, Index
from memorization.shell.cli import UserError

__all__ = ["Hit", "Index", "IndexSettings", "add_index_arguments", "open_index"]


@dataclasses.dataclass(frozen=True)
class IndexSettings:
    """Which index, as the flags of add_index_arguments describe it. shards, replicas: of a load on a server."""

    index_xsuffix: str | None
    indexes: Path = Path("indexes")
    elastic_url: tuple[str, ...] = ()
    ca_certs: Path | None = None
    ssl_fingerprint: str | None = None
    insecure: bool = False
    shards: int | None = None
    replicas: int | None = None

    @classmethod
    def of(cls, flags: argparse.Namespace) -> Self:
        values = {field.name: getattr(flags, field.name, field.default) for field in dataclasses.fields(cls)}
        return cls(**values | {"elastic_url": tuple(flags.elastic_url)})


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of IndexSettings: the index's name, and the server or directory it is in."""
    group = parser.add_argument_group("index", "an Elasticsearch server if one is named, else a directory")
    group.add_argument("--index-xsuffix", metavar="NAME", help="name of the index (required)")
    add_server_arguments(group)
    group.add_argument(
        "--indexes", type=Path, default=Path("indexes"), help="directory of embedded indexes (default: %(default)s)"
    )


def add_server_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the flags that say which server an index is on, if it is on one, and how it is known."""
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


def open_index(settings: IndexSettings) -> Index:
    """The Index of the settings; it need not exist yet."""
    if not settings.index_xsuffix:
        raise UserError("--index-xsuffix is needed: the name of the index")
    if not settings.elastic_url:
        return EmbeddedIndex(settings.indexes, settings.index_xsuffix)
    from memorization.retrieval.elastic import ElasticIndex  # half a second, for a server only

    return ElasticIndex(
        settings.elastic_url,
        settings.index_xsuffix,
        settings.shards,
        settings.replicas,
        settings.ca_certs,
        settings.ssl_fingerprint,
        settings.insecure,
    )
