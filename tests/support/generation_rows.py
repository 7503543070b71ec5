"""Stage 3's results, made by hand."""

import msgspec

from memorization.detection.copied_runs import SpanIndex
from memorization.detection.span_index import build
from memorization.encoding.probes import sample_documents
from memorization.extraction.generations import Generation, write_listing
from memorization.extraction.kinds import GENERATIONS
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.store.files import fingerprint
from memorization.store.locations import span_index_path
from memorization.store.manifests import TextDigest, write_manifest

ENCODING, PREFIX_LENGTH = "0123456789abcdef", 50


def generation(id, text, suffix="held out", **fields):
    """A Generation; a member where the id is under 100."""
    fields = {
        "turn": 0,
        "sample": 0,
        "member": id < 100,
        "duplicates": 1,
        "cluster": id,
        "prefix": f"prefix {id} ",
    } | fields
    fields = {"matched_tokens": 0, "exact_match": False, "near": None, "scores": None, "reach": None} | fields
    fields = {"generation_ids": [0] * fields["matched_tokens"]} | fields
    return Generation(id=id, suffix=suffix, text=text, **fields)


def write_generations(path, rows, base=None, **made_of):
    """Write rows, the listing beside them and their manifest, as stage 3 does; return the path. base: a Link."""
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    defaults = {"model": "m", "encoding": ENCODING, "trained_on": ENCODING, "prefix_length": PREFIX_LENGTH}
    made_of = defaults | {"unchecked": False, "temperature": 0.0, "top_k": 0, "top_p": 1.0} | made_of
    write_listing(path.with_suffix(".txt"), rows, num_samples=1 + max(row.sample for row in rows))
    digest = TextDigest()
    for document in documents_of(rows):
        digest.add(*document)
    facts = {"listing": fingerprint(path.with_suffix(".txt")), "documents": digest.hex()}
    write_manifest(path, GENERATIONS, made_of, {}, rows=len(rows), training=None, base=base, canaries=None, **facts)
    return path


def documents_of(rows):
    """The documents of an index of the members among rows."""
    suffixes = {row.key[:2]: row.suffix for row in rows if row.member}
    return list(sample_documents((id, suffix) for (id, _), suffix in suffixes.items()))


def load_index(index, rows, encoding=ENCODING, prefix_length=PREFIX_LENGTH):
    """Load the suffixes of the members among rows into an index, as stage 4 does; beside it the spans of all."""
    documents = documents_of(rows)
    made_of = {"encoding": encoding, "prefix_length": prefix_length}
    index.load(documents, made_of, recreate=True, total=len(documents))
    if isinstance(index, EmbeddedIndex):
        load_spans(index.path.parent, rows, encoding)


def load_spans(indexes, rows, encoding=ENCODING):
    """Write the span index of the samples of rows, as far as the last turn of each id, as stage 4 does, and open it."""
    samples = {}
    for row in sorted(rows, key=lambda row: (row.id, -row.turn)):
        samples.setdefault(row.id, (row.id, row.member, row.cluster, row.prefix + row.suffix))
    build(span_index_path(indexes, encoding), [samples[id] for id in sorted(samples)], encoding, len(samples), jobs=1)
    return SpanIndex(indexes, encoding)
