"""Results of long work: appended row by row, gone on with by id after a kill."""

import glob
import hashlib
import json
from pathlib import Path

from memorization.files import manifest_path, naming, read_manifest, write_manifest, write_text


def run_key(arguments, inputs):
    """A short name of a run: these arguments on these inputs (fingerprints). Rows of the same run are used again."""
    return hashlib.sha256(json.dumps([arguments, inputs], sort_keys=True, default=str).encode()).hexdigest()[:12]


class Rows:
    """A JSON-lines result written as it grows, one row an id, batch by batch; after a kill it goes on where it was.

    path: the result; key: run_key of what it is made with. Until `finish`, rows stand in <path>.<key>.<rank>.partial:
    each of several ranks writes a file of its own. `mine` lists this rank's open batches as (number, range of
    positions in ids). A batch is the same whatever is done already and however many ranks there are, because numbers
    out of a model can depend on the shape of the batch.
    """

    def __init__(self, path, key, ids, batch_size, rank=0, ranks=1):
        self.path, self.key, self.ids = Path(path), key, ids
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial = self.path.with_name(f"{self.path.name}.{key}.{rank}.partial")
        if self._partial.exists():  # a kill may have cut the last line
            whole = self._partial.read_bytes()
            self._partial.write_bytes(whole[: whole.rfind(b"\n") + 1])
        self._done = self._collect().keys()
        batches = [range(i, min(i + batch_size, len(ids))) for i in range(0, len(ids), batch_size)]
        todo = [(n, batch) for n, batch in enumerate(batches) if any(ids[i] not in self._done for i in batch)]
        self.mine = todo[rank::ranks]
        before = f", {len(self._done)} of them done before" if self._done else ""
        self.progress = f"{len(ids)} rows{before}; writing to {self.path}"

    def append(self, rows):
        """Add the rows of a batch that are not there yet; they are on disk when this returns."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows if row["id"] not in self._done)
        with naming(self.path), self._partial.open("ab") as file:
            file.write(lines.encode())

    def finish(self, arguments, inputs, **facts):
        """Write the rows of all ranks, in the order of the ids, to `path`, and its manifest; returns the rows."""
        ordered = list(self._collect().values())
        manifest_path(self.path).unlink(missing_ok=True)
        write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ordered))
        write_manifest(self.path, arguments, inputs, key=self.key, rows=len(ordered), **facts)
        for partial in self.path.parent.glob(f"{glob.escape(self.path.name)}.*.partial"):
            partial.unlink()
        return ordered

    def _collect(self):
        files = list(self.path.parent.glob(f"{glob.escape(self.path.name)}.{self.key}.*.partial"))
        if self.path.is_file() and manifest_path(self.path).is_file() and read_manifest(self.path)["key"] == self.key:
            files.append(self.path)  # a finished result of the same run
        rows = {}
        for file in files:
            for line in file.read_bytes().decode().split("\n")[:-1]:
                row = json.loads(line)
                rows[row["id"]] = row
        return {i: rows[i] for i in self.ids if i in rows}
