"""Data sets on disk as Hugging Face `datasets` saves and loads them, written and read in batches."""

import json
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from memorization.shell.cli import UserError

FORMAT = 5  # of the results of stage 1; raise it when a column or its meaning changes
BAR_DELAY = 3  # seconds that a step takes before it shows a bar
TOKENS = pa.list_(pa.int32())
SIDE = pa.schema(
    {
        "id": pa.int64(),
        "text": pa.string(),
        "input_ids": TOKENS,
        "attention_mask": pa.list_(pa.int8()),
        "labels": TOKENS,
        "target": pa.int32(),
    }
)
PROBES = pa.schema(
    {
        "id": pa.int64(),
        "member": pa.bool_(),
        "duplicates": pa.int64(),
        "cluster": pa.int64(),
        "text": pa.string(),
        "input_ids": TOKENS,
        "starts": TOKENS,
        "target": pa.int32(),
    }
)
PAIRS = pa.schema(  # probes for encoder-decoder models: input_ids and starts are of the source, as is its end
    [*PROBES, pa.field("target_ids", TOKENS), pa.field("target_starts", TOKENS), pa.field("source_end", pa.int32())]
)
SETS = {"training set": SIDE, "held-out set": SIDE, "probes": PROBES}
PROBE_KINDS = {
    False: ("text", "target"),
    True: ("source", "target"),
}  # by whether for encoder-decoder models
ROWS = "data-00000-of-00001.arrow"  # the one file of a saved data set that holds its rows: a stream of record batches


@contextmanager
def saved(path, schema, fingerprint):
    """Write a data set to the directory `path`: yields a function that adds a pyarrow.RecordBatch.

    fingerprint: under which `datasets` caches what it makes of the set; another one for other contents.
    """
    from datasets import Features  # slow to import, and those who only read do without

    path.mkdir()
    with pa.OSFile(str(path / ROWS), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        yield lambda batch: writer.write_batch(batch) if len(batch) else None
    state = {
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

    Only what is asked for is read into memory; a memory-mapped set counts as memory of the process once it is read.
    Raises UserError for a file that is damaged, of another schema, or that has a null.
    """

    def __init__(self, path, schema):
        self._path, self._schema = path, schema
        self._file = pa.OSFile(str(path / ROWS))
        self._at = []

    def __iter__(self):
        try:
            self._file.seek(0)
            reader = pa.ipc.open_stream(self._file)
            if reader.schema != self._schema:
                raise self._unfit(f"its columns are {reader.schema.names}, or of other types than those of stage 1")
            self._at = []
            while True:
                self._at.append(self._file.tell())
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

    def _unfit(self, said):
        return UserError(f"{self._path}: no rows of stage 1: {said}; run encode_<task>.py again")

    def __getitem__(self, n):
        self._file.seek(self._at[n])
        return pa.ipc.read_record_batch(pa.ipc.read_message(self._file), self._schema)


def flat(lists):
    """(values, bounds) of an Arrow array of lists of numbers, in numpy: list i is values[bounds[i] : bounds[i + 1]]."""
    bounds = lists.offsets.to_numpy()
    return lists.values.to_numpy()[bounds[0] : bounds[-1]], bounds - bounds[0]


def chosen_lists(rows, bounds, *arrays):
    """The Arrow array of lists, for each of the arrays of values, of those lists that `rows` (bool) chooses."""
    lengths = np.diff(bounds)
    values = np.repeat(rows, lengths)
    offsets = pa.array(np.cumsum([0, *lengths[rows]], dtype=np.int32))
    return [pa.ListArray.from_arrays(offsets, pa.array(array[values])) for array in arrays]
