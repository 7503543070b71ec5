"""The data sets of an encoding on disk: directories that Hugging Face `datasets` loads, written and read in batches.

A batch of samples is a record batch of each set: the n-th of the probes has the samples that the n-th of the training
and of the held-out set have (empty ones are written too). A text and its tokens stand in those two alone.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from memorization.shell.cli import UserError

FORMAT = 8  # of the results of stage 1; raise it when a column or its meaning changes
BAR_DELAY = 3  # seconds that a step takes before it shows a bar
TOKENS = pa.list_(pa.int32())
SIDE = pa.schema(
    {
        "id": pa.int64(),
        "text": pa.string(),
        "input_ids": TOKENS,
        "attention_mask": pa.list_(pa.int8()),
        "labels": TOKENS,
        "targets": TOKENS,
    }
)
PROBES = pa.schema(
    {
        "id": pa.int64(),
        "member": pa.bool_(),
        "duplicates": pa.int64(),
        "cluster": pa.int64(),
        "starts": TOKENS,
    }
)
# of probes for encoder-decoder models: `starts` are of the source
PAIRS = pa.schema([*PROBES, pa.field("target_starts", TOKENS), pa.field("source_end", pa.int32())])
PROBE_KINDS = {False: ("text", "target"), True: ("source", "target")}  # by whether for encoder-decoder models
ROWS = "data-00000-of-00001.arrow"  # the one file of a saved data set that holds its rows: a stream of record batches


@contextmanager
def saved(path: Path, schema: pa.Schema, fingerprint: str) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """Write a data set to the directory `path`: yields a function that adds a batch.

    fingerprint: under which `datasets` caches what it computes of the set; another one for other contents.
    """
    from datasets import Features  # slow to import, and those who only read do without

    path.mkdir()
    with pa.OSFile(str(path / ROWS), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        yield writer.write_batch
    state: dict[str, Any] = {
        "_data_files": [{"filename": ROWS}],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    info = {"features": Features.from_arrow_schema(schema).to_dict()}
    for name, value in {"state.json": state, "dataset_info.json": info}.items():
        (path / name).write_text(json.dumps(value, indent=2, sort_keys=True), encoding="utf-8")


class StoredBatches:
    """The record batches of a saved data set: iterating reads them in order, `self[n]` reads the n-th again.

    Only one batch is in memory. The file is not mapped: mapped pages count as memory of the process once they are read.
    Raises UserError for a file that is damaged, of another schema, or that has a null.
    """

    def __init__(self, path: Path, schema: pa.Schema):
        self._path, self._schema = path, schema
        self._file = pa.OSFile(str(path / ROWS))
        self._places: list[int] = []  # where in the file the batches begin that were read so far

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            self._file.seek(0)
            reader = pa.ipc.open_stream(self._file)
            if reader.schema != self._schema:
                raise self._unfit(f"its columns are {reader.schema.names}, or of other types than those of stage 1")
            self._places = []
            while True:
                self._places.append(self._file.tell())
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    return
                batch.validate(full=True)
                if any(column.null_count for column in batch.columns):
                    raise self._unfit("it has a null")
                yield batch
        except (pa.ArrowException, OSError) as error:
            raise self._unfit(str(error)) from None

    def _unfit(self, reason: str) -> UserError:
        return UserError(f"{self._path}: no rows of stage 1: {reason}; run encode_<task>.py again")

    def __getitem__(self, n: int) -> pa.RecordBatch:
        self._file.seek(self._places[n])
        return pa.ipc.read_record_batch(pa.ipc.read_message(self._file), self._schema)


def flat(lists: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """(values, bounds) of an Arrow array of lists of numbers: list i is values[bounds[i] : bounds[i + 1]]."""
    bounds = lists.offsets.to_numpy()
    return lists.values.to_numpy()[bounds[0] : bounds[-1]], bounds - bounds[0]


def chosen_lists(rows: np.ndarray, bounds: np.ndarray, *arrays: np.ndarray) -> list[pa.ListArray]:
    """The Arrow array of lists, for each of the arrays of values, of those lists that `rows` (bool) chooses."""
    lengths = np.diff(bounds)
    values = np.repeat(rows, lengths)
    offsets = pa.array(np.cumsum([0, *lengths[rows]], dtype=np.int32))
    return [pa.ListArray.from_arrays(offsets, pa.array(array[values])) for array in arrays]
