"""Many texts on disk, joined in UTF-8: read by their number; distinct ones are found by their content too."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memorization.store.arrays import mapped, save


def write_strings(path: str | Path, strings: Sequence[str]) -> None:
    """Write distinct strings to files whose names begin with `path`."""
    encoded = [string.encode() for string in strings]
    hashes = np.array([_hash(one) for one in encoded], np.uint64)
    order = hashes.argsort()
    arrays = {"ends": np.cumsum([*map(len, encoded)], dtype=np.int64), "hashes": hashes[order], "order": order}
    Path(f"{path}.utf8").write_bytes(b"".join(encoded))
    for name, array in arrays.items():
        save(f"{path}-{name}.npy", array)


class Texts:
    """Texts joined in the file utf8, each ending where the array in the file `ends` says, mapped into memory."""

    def __init__(self, utf8: str | Path, ends: str | Path) -> None:
        self._utf8, self._ends = mapped(utf8), mapped(ends)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        return self.bytes(number).decode()

    def holding(self, string: str) -> np.ndarray:
        """The numbers, in order, of the texts that contain a string that is not empty: int64 array. All are read."""
        starts = [match.start() for match in re.finditer(re.escape(string.encode()), self._utf8.data)]
        numbers = np.searchsorted(self._ends, starts, "right")
        return np.unique(numbers[np.array(starts) + len(string.encode()) <= self._ends[numbers]])

    def bytes(self, number: int) -> bytes:
        return bytes(self._utf8[self._ends[number - 1] if number else 0 : self._ends[number]])


class Strings(Texts):
    """Those of write_strings, mapped into memory."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(f"{path}.utf8", f"{path}-ends.npy")
        self._hashes, self._order = (mapped(f"{path}-{name}.npy") for name in ("hashes", "order"))

    def numbers(self, strings: Sequence[str]) -> np.ndarray:
        """The number of each string, -1 for one that is missing: int64 array."""
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        hashes = np.array([_hash(one) for one in encoded], np.uint64)
        places = np.searchsorted(self._hashes, hashes).tolist()
        return np.array([self._number(*each) for each in zip(encoded, hashes, places, strict=True)], np.int64)

    def _number(self, encoded: bytes, hash: int, place: int) -> int:
        while place < len(self) and self._hashes[place] == hash:
            if self.bytes(number := self._order[place]) == encoded:
                return number
            place += 1
        return -1


def _hash(encoded: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())
