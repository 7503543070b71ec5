"""An index in a directory of this machine, without a server: tantivy, fed with our terms."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import tantivy
from tqdm import tqdm

from memorization.cli import UserError
from memorization.retrieval.directory import building, changed, read_mark
from memorization.retrieval.documents import Documents
from memorization.retrieval.index import Index

HEAP = 256 << 20  # bytes of documents gathered in memory before they are written out


def _schema():
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    schema.add_text_field("terms", tokenizer_name="whitespace", index_option="freq")
    schema.add_bytes_field("text", stored=True)
    return schema.build()


SCHEMA = _schema()


class EmbeddedIndex(Index):
    """The index in the directory <directory>/<name>."""

    def __init__(self, directory, name):
        super().__init__(name, where=str(Path(directory) / name))
        self.path = Path(self.where)

    def load(self, documents, made_of, recreate=False, total=None, shards=None, replicas=None):
        documents = Documents(documents)
        with building(self.path) as (directory, mark):
            try:
                with tqdm(documents, total=total, desc="indexing", unit="doc") as bar:
                    self._build(directory, bar)
            except ValueError as error:  # tantivy's, for a full disk among others
                raise UserError(f"{self.where}: cannot be written ({error}); free some space") from None
            mark |= msgspec.to_builtins(documents.mark(made_of))
        self._opened = None
        return documents.count

    def _build(self, directory, documents):
        with tantivy.Index(SCHEMA, str(directory)).writer(HEAP, num_threads=1) as writer:
            for id, text, terms in documents:
                document = tantivy.Document()
                document.add_text("id", id)
                document.add_text("terms", " ".join(terms))
                document.add_bytes("text", text.encode())
                writer.add_document(document)
            writer.commit()
            writer.wait_merging_threads()

    def _read_mark(self):
        return read_mark(self.path)

    def _open(self, mark):
        if mark.files is None:
            raise UserError(f"{self.where}: has no checksums, as an earlier version made it; {self._remedy()}")
        if name := changed(self.path, mark.files):
            raise UserError(f"{self.path / name}: is missing or damaged; {self._remedy()}")
        try:
            self.searcher = tantivy.Index.open(self.where).searcher()
        except (ValueError, OSError) as error:
            raise UserError(f"{self.where}: cannot be opened ({error}); {self._remedy()}") from None
        return self.searcher.num_docs

    def _frequencies(self, terms):
        return [self.searcher.doc_freq("terms", term) for term in terms]

    def _search(self, queries, limit):
        def search(query):
            hits = self.searcher.search(_any_of(query), limit, count=False).hits
            return [(score, (address.segment_ord, address.doc)) for score, address in hits]

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # tantivy searches outside the GIL
            return list(pool.map(search, queries))

    def _read(self, keys):
        return {key: self._document(tantivy.DocAddress(*key)) for key in keys}

    def _find(self, ids):
        hits = (self.searcher.search(_term("id", id), 1, count=False).hits for id in ids)
        return dict(self._document(found[0][1]) for found in hits if found)

    def _document(self, address):
        document = self.searcher.doc(address)
        return document["id"][0], bytes(document["text"][0]).decode()


def _any_of(query):
    should = tantivy.Occur.Should
    clauses = ((_term("terms", term), count) for term, count in query.items())
    return tantivy.Query.boolean_query(
        [(should, clause if count == 1 else tantivy.Query.boost_query(clause, count)) for clause, count in clauses]
    )


def _term(field, term):
    return tantivy.Query.term_query(SCHEMA, field, term, "freq" if field == "terms" else "basic")
