"""Probes: a sample's prefix, which the model is asked to continue, and its suffix, which it may have memorized.

Stage 1 stores all distinct samples whole, tokenized, in an Arrow file of batches. Probes cuts them. The probes as text
are for readers and other programs: pandas "split" orientation, one row a probe (design: Files between the stages).
"""

from pathlib import Path

import msgspec
import numpy as np

from memorization.cli import UserError
from memorization.encoding.arrow import Batches, flat
from memorization.encoding.tokens import cut
from memorization.files import read_json, replacing
from memorization.runs import checked, difference, encoding_paths

COLUMNS = ["id", "member", "prefix", "suffix", "duplicates"]  # of the probes as text
LISTING_BEGINS = msgspec.json.encode({"columns": COLUMNS})[:-1] + b",\n"


class Probes:
    """The probes of an encoding, cut at prefix_length; read from disk batch by batch.

    manifest, encoding (its identity), tokenizer (its fingerprint): where they are from. ids (int64: the row of the data
    in which the text stands first), members (bool), duplicates (int64: copies of the text): of each probe.
    longest_prefix: in tokens. too_short: samples that leave no suffix of the least length behind the cut.

    Raises UserError if the probes are not there, are unfinished, have changed or are of another split than their text
    file, or if no sample is long enough.
    """

    def __init__(self, directory, name, prefix_length=50):
        paths = encoding_paths(directory, name)
        path, text = paths["probes"], paths["probes as text"]
        self.manifest = checked(path, "probes")
        other = checked(text, "probes as text")
        if other.identity != self.manifest.identity:
            raise UserError(
                f"{text}: is the text file of the probes from another split than their ids in {path}: another "
                f"{difference(other.made_of, self.manifest.made_of)}; run encode_dialogue.py again"
            )
        self.encoding, self.tokenizer = self.manifest.identity, self.manifest.made_of["tokenizer"]
        self._batches = Batches(path)
        least, columns = self.manifest.made_of["min_suffix_length"], []
        for number, batch in enumerate(self._batches):
            starts, bounds = flat(batch["starts"])
            begin, end = cut(starts, bounds, prefix_length)
            sample = np.flatnonzero(end - begin >= least)
            begin, end = (place[sample] - bounds[sample] for place in (begin, end))
            known = (batch[column].to_numpy(zero_copy_only=False)[sample] for column in ("id", "member", "duplicates"))
            columns.append([np.full(len(sample), number), sample, begin, end, *known])
        together = map(np.concatenate, zip(*columns, strict=True))
        self._number, self._sample, self._begin, self._end, self.ids, self.members, self.duplicates = together
        self.too_short = self.manifest.rows - len(self)
        if not len(self):
            raise UserError(
                f"{path}: all {self.too_short} samples are shorter than {prefix_length} + {least} tokens; lower "
                "--prefix-length, or encode longer texts"
            )
        self.longest_prefix = int(self._begin.max())
        self._loaded = None, None

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, where):
        """The probes of a slice, as dicts: id, member, duplicates, prefix, suffix, prefix_ids, suffix_ids."""
        return [self._probe(i) for i in range(*where.indices(len(self)))]

    def _probe(self, i):
        text, ids, starts, bounds = self._batch(self._number[i])
        sample = self._sample[i]
        text, bound = text[sample].as_py(), bounds[sample]
        begin, end = self._begin[i] + bound, self._end[i] + bound
        return {
            "id": int(self.ids[i]),
            "member": bool(self.members[i]),
            "duplicates": int(self.duplicates[i]),
            "prefix": text[: starts[begin]],
            "suffix": text[starts[begin] :],
            "prefix_ids": ids[bound:begin].tolist(),
            "suffix_ids": ids[begin:end].tolist(),
        }

    def _batch(self, number):
        if self._loaded[0] != number:
            batch = self._batches[number]
            self._loaded = number, (batch["text"], flat(batch["input_ids"])[0], *flat(batch["starts"]))
        return self._loaded[1]


def write_probes(path, probes):
    """Write an iterable of dicts with the keys COLUMNS as text, one at a time."""
    count = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(LISTING_BEGINS + b'"data": [')
        for count, probe in enumerate(probes, 1):
            file.write(b",\n" if count > 1 else b"\n")
            file.write(msgspec.json.encode([probe[column] for column in COLUMNS]))
        file.write(b'\n],\n"index": ' + msgspec.json.encode(list(range(count))) + b"}\n")


def read_probes(path):
    """The probes of a text file, as a list of dicts with the keys COLUMNS. Raises UserError if it is none."""
    table = read_json(Path(path))
    if not isinstance(table, dict) or "columns" not in table or "data" not in table:
        raise UserError(f'{path}: not in pandas "split" orientation (columns, index, data); write it with stage 1')
    missing = [column for column in COLUMNS if column not in table["columns"]]
    if missing:
        raise UserError(f"{path}: no column {', '.join(missing)}; it has {', '.join(map(str, table['columns']))}")
    if not table["data"]:
        raise UserError(f"{path}: no probes in it; encode data with samples longer than the prefix")
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
