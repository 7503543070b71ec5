"""An index in a directory of this machine, without a server: tantivy, fed with our tokens."""

import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import tantivy
from tqdm import tqdm

from memorization.cli import UserError
from memorization.files import read_json, replacing, write_json
from memorization.retrieval.analysis import tokenize
from memorization.retrieval.index import FORMAT, Hit, Index, checked

MARK = "memorization-index.json"  # in every directory of ours, written last: format and number of documents
HEAP = 256 << 20  # bytes of documents gathered in memory before they are written out
SPARE = 8  # hits fetched beyond k, to see whether a tie crosses the end


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
        self.searcher = None

    def load(self, documents, recreate=False, total=None, shards=None, replicas=None):
        ids = set()
        with self._writing():
            if self.path.exists() and not (self.path / MARK).is_file():
                raise UserError(f"{self.where}: exists and is no index of ours; name another with --index-xsuffix")
            with replacing(self.path) as directory:
                directory.mkdir()
                try:
                    self._build(directory, tqdm(checked(documents, ids), total=total, desc=self.where, unit="doc"))
                except ValueError as error:  # tantivy's, for a full disk among others
                    raise UserError(f"{self.where}: cannot be written ({error}); free some space") from None
                write_json(directory / MARK, {"format": FORMAT, "documents": len(ids)})
        self.searcher = None
        return len(ids)

    def _build(self, directory, documents):
        with tantivy.Index(SCHEMA, str(directory)).writer(HEAP, num_threads=1) as writer:
            for id, text in documents:
                document = tantivy.Document()
                document.add_text("id", id)
                document.add_text("terms", " ".join(tokenize(text)))
                document.add_bytes("text", text.encode())
                writer.add_document(document)
            writer.commit()
            writer.wait_merging_threads()

    @contextmanager
    def _writing(self):
        """Hold the lock of the index, clear what killed builds left, and put back an index they moved away."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (self.path.parent / f".{self.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(f"{self.where}: another process is loading it; wait until it ends") from None
            for old in self._moved():
                if self.path.exists():
                    shutil.rmtree(old)
                else:
                    old.rename(self.path)
            for unfinished in self.path.parent.glob(f".{self.name}.*.tmp"):
                shutil.rmtree(unfinished)
            yield

    def _moved(self):
        """Indexes that a load moved away, and was killed before it put the new one in their place."""
        return list(self.path.parent.glob(f".{self.name}.*.old"))

    def check(self):
        if self.searcher:
            return
        if not self.path.exists() and self._moved():
            with self._writing():
                pass
        if not self.path.exists():
            raise self.missing()
        if not (self.path / MARK).is_file():
            raise UserError(f"{self.where}: is no index of ours; {self.remedy()}")
        mark = read_json(self.path / MARK)
        if mark["format"] != FORMAT:
            raise UserError(f"{self.where}: has format {mark['format']}, this version reads {FORMAT}; {self.remedy()}")
        try:
            self.searcher = tantivy.Index.open(self.where).searcher()
        except (ValueError, OSError) as error:
            raise UserError(f"{self.where}: cannot be opened ({error}); {self.remedy()}") from None

    def texts(self, ids):
        self.check()
        return {id: self._text(id) for id in ids}

    def _text(self, id):
        hits = self.searcher.search(tantivy.Query.term_query(SCHEMA, "id", id, "basic"), 1, count=False).hits
        if not hits:
            raise KeyError(id)
        return bytes(self.searcher.doc(hits[0][1])["text"][0]).decode()

    def _frequencies(self, terms):
        return [self.searcher.doc_freq("terms", term) for term in terms]

    def _search(self, queries, k):
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # tantivy searches outside the GIL
            return list(pool.map(lambda terms: self._hits(terms, k), queries))

    def _hits(self, terms, k):
        should = tantivy.Occur.Should
        query = tantivy.Query.boolean_query([(should, _clause(term, weight)) for term, weight in terms.items()])
        limit = k + SPARE
        while True:
            hits = self.searcher.search(query, limit, count=False).hits
            least = hits[k - 1][0] if len(hits) >= k else 0
            if len(hits) < limit or hits[-1][0] < least:
                break
            limit *= 2  # a tie may go on beyond these hits
        hits = [Hit(self._id(address), score) for score, address in hits if score >= least]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:k]

    def _id(self, address):
        return self.searcher.doc(address).get_first("id")


def _clause(term, weight):
    query = tantivy.Query.term_query(SCHEMA, "terms", term, "freq")
    return query if weight == 1 else tantivy.Query.boost_query(query, weight)
