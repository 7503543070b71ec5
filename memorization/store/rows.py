"""Results of long work: rows are appended in batches, and a killed run goes on by id (design.md, Files between the
stages)."""

import glob
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Self, overload

import msgspec
import numpy as np
from msgspec import Meta
from tqdm import tqdm

from memorization.shell.cli import UserError
from memorization.store.files import lock_path, locked, naming, replacing
from memorization.store.locations import base_path
from memorization.store.manifests import (
    Kind,
    Link,
    Manifest,
    checked,
    difference,
    identity,
    manifest_path,
    read_manifest,
    write_manifest,
)

Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]  # of a sample, or a generation's number among those of its probe
Key = tuple[int, int, int]  # id, turn, sample
BAR_DELAY = 3  # seconds that reading takes before it shows a bar
NOT_A_ROW = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # raised for a line that is not of a type


class Keyed(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A row about a sample. turn: which of its turns it is about, 0 where it has none. sample: which of the
    generations for it, 0 where there is one alone.
    """

    id: Id
    turn: Id
    sample: Id

    @property
    def key(self) -> Key:
        return self.id, self.turn, self.sample


class Rows:
    """A JSON-lines result that is written batch by batch; a killed run goes on where it was.

    row_type: the msgspec.Struct of the rows, with a `key` as Keyed has. made_of: everything that makes the result
    (manifests); rows that were made of the same are used again. keys: of every row, in order.
    companions: other files that are written with the result.

    Until `finish`, rows are in <path>.<identity>.<rank>.partial, a file a rank. `mine` lists this rank's open batches
    as (number, range of positions in keys). Batches do not depend on what is done or how many ranks there are, because
    numbers of a model can depend on the shape of the batch. No rank may append before every rank has its Rows.

    A context manager: each rank holds the lock of what it writes. Raises UserError if another process holds it, or if
    another result, one that has changed, or a file that is not ours may not be overwritten.
    """

    def __init__(
        self,
        path: str | Path,
        kind: Kind,
        row_type: type,
        made_of: dict[str, Any],
        keys: Sequence[Key],
        batch_size: int,
        rank: int = 0,
        ranks: int = 1,
        overwrite: bool = False,
        companions: Iterable[Path] = (),
    ) -> None:
        self.path, self.kind, self.made_of, self.keys = Path(path), kind, made_of, keys
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(row_type).decode
        self._position = {key: i for i, key in enumerate(keys)}
        self._overwrite, self._rank = overwrite, rank
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._name = f"{self.path.name}.{identity(made_of)}"
        self._partial = self.path.with_name(f"{self._name}.{rank}.partial")
        self._done = np.zeros(len(keys), bool)
        with ExitStack() as stack:
            stack.enter_context(locked(self._partial if rank else self.path))
            self.finished = self._is_finished(companions)
            if self.finished:
                self._done[:] = True
                self._forget_partials()
            else:
                self._cut_unfinished_line()
                for _, position, _, _ in self._lines(self._partials()):
                    self._done[position] = True
            self._stack = stack.pop_all()
        todo = [
            (n, range(start, min(start + batch_size, len(keys))))
            for n, start in enumerate(range(0, len(keys), batch_size))
            if not self._done[start : start + batch_size].all()
        ]
        self.mine = todo[rank::ranks]
        before = f", {self._done.sum()} of them done before" if self._done.any() else ""
        self.progress = f"{len(keys)} rows{before}; writing to {self.path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock."""
        self._stack.close()

    def append(self, rows: Iterable[Any]) -> None:
        """Write the rows of a batch that are missing; a later kill does not lose them."""
        new = (row for row in rows if not self._done[self._position[row.key]])
        lines = b"".join(msgspec.json.encode(row) + b"\n" for row in new)
        with naming(self.path), self._partial.open("ab") as file:
            file.write(lines)

    def __iter__(self) -> Iterator[Any]:
        """The rows of all ranks in the order of the keys, finished or not. Raises UserError if one is missing."""
        return map(self._decode, self._merged())

    def finish(self, arguments: Any, inputs: Mapping[str, str | None], **facts: Any) -> None:
        """Write the rows of all ranks, in the order of the keys, to `path`, and its manifest.

        If the rows are finished, only the manifest is written, where its facts have changed. Raises UserError if rows
        are missing, as where ranks have no disk in common.
        """
        if self.finished and identity(read_manifest(self.path, self.kind).facts) == identity(facts):
            return
        if not self.finished:
            with replacing(self.path) as temporary:
                with temporary.open("wb") as result:
                    result.writelines(self._merged())
                manifest_path(self.path).unlink(missing_ok=True)
        write_manifest(self.path, self.kind, self.made_of, arguments, inputs, rows=len(self.keys), **facts)
        self.finished = True
        self._forget_partials()

    def _merged(self) -> Iterator[bytes]:
        """The lines of the result, one at a time: only their places are held in memory."""
        if self.finished:
            with self.path.open("rb") as file:
                yield from file
            return
        files = self._partials()
        place = np.full((len(self.keys), 3), -1, np.int64)  # file, where the row begins, its length
        for number, position, begin, length in self._lines(files):
            place[position] = number, begin, length
        if missing := int((place[:, 0] < 0).sum()):
            raise UserError(
                f"{self.path}: only {len(place) - missing} of its {len(place)} rows are here; give all processes a "
                "disk in common and run the same command again"
            )
        with ExitStack() as stack:
            opened = [stack.enter_context(file.open("rb")) for file in files]
            for number, begin, length in place.tolist():
                opened[number].seek(begin)
                yield opened[number].read(length)

    def _is_finished(self, companions: Iterable[Path]) -> bool:
        """Whether the result exists. Raises UserError for another one that may not be overwritten."""
        if not self.path.exists():
            ours = manifest_path(self.path).is_file() or self._partials()
            if (others := [path for path in companions if path.is_file()]) and not (self._overwrite or ours):
                raise UserError(
                    f"{others[0]}: is there without {self.path.name}, so it is not ours; replace it with --overwrite, "
                    "or write elsewhere"
                )
            return False
        if not manifest_path(self.path).is_file():
            if self._overwrite or self._partials():  # killed while it was finished
                return False
            raise UserError(
                f"{self.path}: is there without a manifest; replace it with --overwrite, or write elsewhere"
            )
        try:
            manifest = checked(self.path, self.kind)
        except UserError as error:
            if self._overwrite:
                return False
            raise UserError(f"{error}, with --overwrite") from None
        if manifest.identity == identity(self.made_of):
            return True
        if self._overwrite:
            return False
        raise UserError(
            f"{self.path}: is the result of another run, of other {difference(manifest.made_of, self.made_of)}; "
            "replace it with --overwrite, or write elsewhere"
        )

    def _partials(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{glob.escape(self._name)}.*.partial"))

    def _forget_partials(self) -> None:
        for file in self._partials() if self._rank == 0 else ():
            file.unlink()
            lock_path(file).unlink(missing_ok=True)  # of a killed rank

    def _cut_unfinished_line(self) -> None:
        """Cut off the last line of this rank's rows if a kill has left it unfinished."""
        if self._partial.exists():
            with self._partial.open("r+b") as file:
                whole = sum(len(line) for line in file if line.endswith(b"\n"))
                file.truncate(whole)

    def _lines(self, files: Sequence[Path]) -> Iterator[tuple[int, int, int, int]]:
        """(number of the file, position of the row, its first byte, its length) of every whole row in the files."""
        for number, path in enumerate(files):
            begin = 0
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    try:
                        row: Any = self._decode(line)
                        yield number, self._position[row.key], begin, len(line)
                    except (*NOT_A_ROW, KeyError):
                        raise UserError(f"{path}: is damaged at byte {begin}; remove it and start again") from None
                    begin += len(line)


class StoredRows(Sequence):
    """The rows of a finished result, each read from disk when it is needed; only their places are in memory.

    manifest: of the result. keys: int64 of shape (rows, 3), the Key of each. These stay its rows even if the file is
    replaced later. Raises UserError for a result that is not as its manifest says: edited rows, too few, one twice.
    """

    def __init__(self, path: str | Path, kind: Kind, row_type: type) -> None:
        self.manifest = checked(path, kind)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(row_type).decode
        self._file = Path(path).open("rb")  # noqa: SIM115
        ends, keys = array("q", [0]), array("q")
        for line in tqdm(self._file, f"read {path}", self.manifest.rows, unit="row", delay=BAR_DELAY, disable=None):
            try:
                row: Any = self._decode(line)
            except NOT_A_ROW as error:
                raise UserError(f"{path}: row {len(ends)}: {error}; make it anew with --overwrite") from None
            keys.extend(row.key)
            ends.append(ends[-1] + len(line))
        self._ends, self.keys = ends, np.asarray(keys).reshape(-1, 3)
        distinct = len(np.unique(self.keys, axis=0))
        if not len(self) == distinct == self.manifest.rows:
            raise UserError(
                f"{path}: has {len(self)} rows of {distinct} ids, by its manifest {self.manifest.rows}; "
                "make it anew with --overwrite"
            )

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, where: int) -> Any: ...
    @overload
    def __getitem__(self, where: slice) -> list[Any]: ...
    def __getitem__(self, where: int | slice) -> Any:
        if isinstance(where, slice):
            return [self[i] for i in range(*where.indices(len(self)))]
        number = range(len(self))[where]
        begin, end = self._ends[number : number + 2]
        return self._decode(os.pread(self._file.fileno(), end - begin, begin))


def base_rows(path: str | Path, kind: Kind, manifest: Manifest, row_type: type) -> StoredRows | None:
    """The StoredRows of the base model beside a result, which its manifest names as `base`; None where it has none.

    Raises UserError as StoredRows does, and for those of another run: of other probes, decoding or settings.
    """
    link: Link | None = manifest.facts["base"]
    if link is None:
        return None
    base = base_path(Path(path))
    rows = StoredRows(base, kind, row_type)
    if (rows.manifest.identity, rows.manifest.contents) != (link["identity"], link["contents"]):
        raise UserError(
            f"{base}: is the base model's result of another run than {path} beside it; run {kind.stage} again"
        )
    return rows


def read_rows(path: str | Path, kind: Kind, row_type: type) -> tuple[list[Any], Manifest]:
    """The rows of a finished result, as a list, and its manifest. Raises UserError as StoredRows does."""
    rows = StoredRows(path, kind, row_type)
    return list(rows), rows.manifest
