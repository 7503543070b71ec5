"""Indexes of the tests' own: of suffixes, and of spans."""

from memorization.detection.copied_runs import SpanIndex
from memorization.detection.span_index import build
from memorization.retrieval import IndexSettings, add_index_arguments, open_index
from memorization.shell.cli import Parser
from memorization.store.locations import span_index_path

MADE_OF = {"encoding": "0123456789abcdef" * 4, "prefix_length": 50}  # of an index


def opened(flags):
    """The index that these flags of stages 4 and 5 name."""
    parser = Parser("")
    add_index_arguments(parser)
    return open_index(IndexSettings.of(parser.parse_args(flags)))


def remove_from_server(index):
    """Remove what has the name of an ElasticIndex, and what its loads left."""
    indexes = index.client.indices
    indexes.delete(index=[*indexes.get(index=f"{index.name}*"), "none"], ignore_unavailable=True)


ENCODING = "0123456789abcdef"


def open_spans(directory, samples, jobs=1, clusters=None):
    """The span index of samples, (id, member, text) each. clusters: dict id -> its cluster, else each its own."""
    clustered = [(id, member, (clusters or {}).get(id, id), text) for id, member, text in samples]
    build(span_index_path(directory, ENCODING), clustered, ENCODING, len(samples), jobs)
    return SpanIndex(directory, ENCODING)
