"""Many texts on disk, joined in UTF-8: read by number, and where they are distinct, numbered by what they are."""

import hashlib
import re
from pathlib import Path

import numpy as np

from memorization.store.arrays import mapped, save


def write_strings(path, strings):
    """Write a list of distinct strings to files that begin with `path`."""
    encoded = [string.encode() for string in strings]
    hashes = np.array([_hash(one) for one in encoded], np.uint64)
    order = hashes.argsort()
    arrays = {"ends": np.cumsum([*map(len, encoded)], dtype=np.int64), "hashes": hashes[order], "order": order}
    Path(f"{path}.utf8").write_bytes(b"".join(encoded))
    for name, array in arrays.items():
        save(f"{path}-{name}.npy", array)


class Texts:
    """Texts joined in the file utf8, each ending where the array in the file `ends` says, mapped into memory."""

    def __init__(self, utf8, ends):
        self._utf8, self._ends = mapped(utf8), mapped(ends)

    def __len__(self):
        return len(self._ends)

    def __getitem__(self, number):
        return self._bytes(number).decode()

    def holding(self, string):
        """The numbers, in order, of the texts in which a string stands, not empty: int64 array. All are read."""
        starts = [match.start() for match in re.finditer(re.escape(string.encode()), self._utf8)]
        numbers = np.searchsorted(self._ends, starts, "right")
        return np.unique(numbers[np.array(starts) + len(string.encode()) <= self._ends[numbers]])

    def _bytes(self, number):
        return bytes(self._utf8[self._ends[number - 1] if number else 0 : self._ends[number]])


class Strings(Texts):
    """Those of write_strings, mapped into memory."""

    def __init__(self, path):
        super().__init__(f"{path}.utf8", f"{path}-ends.npy")
        self._hashes, self._order = (mapped(f"{path}-{name}.npy") for name in ("hashes", "order"))

    def numbers(self, strings):
        """The number of each string, -1 for one that is not there: int64 array."""
        encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
        hashes = np.array([_hash(one) for one in encoded], np.uint64)
        places = np.searchsorted(self._hashes, hashes).tolist()
        return np.array([self._number(*each) for each in zip(encoded, hashes, places, strict=True)], np.int64)

    def _number(self, encoded, hash, place):
        while place < len(self) and self._hashes[place] == hash:
            if self._bytes(number := self._order[place]) == encoded:
                return number
            place += 1
        return -1


def _hash(encoded):
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest())
