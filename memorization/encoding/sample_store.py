"""The samples on their way through stage 1: in a temporary file, batch by batch, read by any process."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

ROWS, CHARACTERS = 1000, 4 << 20  # of a batch, at the most (one longer text is a batch of its own)
SCHEMA = pa.schema({"text": pa.string(), "targets": pa.list_(pa.int64()), "body": pa.int64()})


class Sample(NamedTuple):
    """A sample on its way through stage 1.

    targets: where what the model is to write begins and ends in the text, flat pairs of characters; a chat has one for
    each turn of the assistant. body: the character behind what every sample says, such as a chat's system prompt: where
    near-duplicates are compared from.
    """

    text: str
    targets: tuple[int, ...]
    body: int = 0


def store_samples(samples: Iterable[Sample], path: Path) -> tuple[np.ndarray, str]:
    """Write samples. Returns (hashes, data).

    hashes: uint64 of shape (samples, 2), equal for equal texts (128 bits: for 10^9 samples, the chance that two others
    have the same is 10^-21). data: SHA-256 over all of them in order, hexadecimal.
    """
    hashes, data = bytearray(), hashlib.sha256()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        batch: list[Sample] = []
        characters = 0
        for sample in samples:
            if batch and (len(batch) == ROWS or characters + len(sample.text) > CHARACTERS):
                writer.write_batch(pa.record_batch([*zip(*batch, strict=True)], SCHEMA))
                batch, characters = [], 0
            batch.append(sample)
            characters += len(sample.text)
            content = sample.text.encode()
            hashes += hashlib.sha256(content).digest()[:16]
            for number in (len(content), sample.body, len(sample.targets), *sample.targets):
                data.update(number.to_bytes(8, "little"))
            data.update(content)
        if batch:
            writer.write_batch(pa.record_batch([*zip(*batch, strict=True)], SCHEMA))
    return np.frombuffer(hashes, np.uint64).reshape(-1, 2), data.hexdigest()


class SampleStore:
    """The batches of a file that store_samples wrote; batch n is a record batch of SCHEMA."""

    def __init__(self, path: Path):
        self._reader = pa.ipc.open_file(pa.OSFile(str(path)))

    def __len__(self) -> int:
        return self._reader.num_record_batches

    def __getitem__(self, n: int) -> pa.RecordBatch:
        return self._reader.get_batch(n)
