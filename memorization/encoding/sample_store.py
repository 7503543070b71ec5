"""The samples on their way through stage 1: in a temporary file, batch by batch, read by any process."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

ROWS, CHARACTERS = 1000, 4 << 20  # of a batch, at the most (one longer text is a batch of its own)
SCHEMA = pa.schema({"text": pa.string(), "target": pa.int64()})


def store_samples(samples: Iterable[tuple[str, int]], path: Path) -> tuple[np.ndarray, str]:
    """Write samples, (text, character at which its target begins) each. Returns (hashes, data).

    hashes: uint64 of shape (samples, 2), equal for equal texts (128 bits: for 10^9 samples, the chance that two others
    have the same is 10^-21). data: SHA-256 over all of them in order, hexadecimal.
    """
    hashes, data = bytearray(), hashlib.sha256()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        batch: list[tuple[str, int]] = []
        characters = 0
        for text, target in samples:
            if batch and (len(batch) == ROWS or characters + len(text) > CHARACTERS):
                writer.write_batch(pa.record_batch([*zip(*batch, strict=True)], SCHEMA))
                batch, characters = [], 0
            batch.append((text, target))
            characters += len(text)
            content = text.encode()
            hashes += hashlib.sha256(content).digest()[:16]
            data.update(len(content).to_bytes(8, "little"))
            data.update(target.to_bytes(8, "little"))
            data.update(content)
        if batch:
            writer.write_batch(pa.record_batch([*zip(*batch, strict=True)], SCHEMA))
    return np.frombuffer(hashes, np.uint64).reshape(-1, 2), data.hexdigest()


class SampleStore:
    """The batches of a file that store_samples wrote; batch n is a record batch of `text` and `target`."""

    def __init__(self, path: Path):
        self._reader = pa.ipc.open_file(pa.OSFile(str(path)))

    def __len__(self) -> int:
        return self._reader.num_record_batches

    def __getitem__(self, n: int) -> pa.RecordBatch:
        return self._reader.get_batch(n)
