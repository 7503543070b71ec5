"""Personal data that a generation says, and whose it is (design.md, Terms: Personal data).

Stage 4 finds the items of all samples and writes, beside the span index, which samples hold each; stage 5 looks there
whatever the length of the run around an item.
"""

import hashlib
import re
from array import array

import numpy as np

from memorization.detection.detections import Personal
from memorization.detection.personal import NAME, find
from memorization.detection.scripts import JOINED
from memorization.store.arrays import mapped, save

NUMBERS = ("telephone", "card", "ssn", "digits")  # one kind: what is around a number may tell which it is
BEFORE = 256  # characters of the prompt in which an item may begin, or be told by ("my number is")


def keys(items):
    """The values of some Items as an array of distinct hashes, uint64."""
    values = {("number" if item.kind in NUMBERS else item.kind, value) for item in items for value in item.values}
    hashes = (
        hashlib.blake2b(f"{kind} {value}".encode(errors="surrogatepass"), digest_size=8) for kind, value in values
    )
    return np.unique(np.frombuffer(b"".join(one.digest() for one in hashes), np.uint64))


class Writer:
    """Items of samples on their way to the disk. Samples are added in order."""

    def __init__(self):
        self._keys, self._counts = [np.empty(0, np.uint64)], array("q")

    def add(self, of_samples):
        """of_samples: of each next sample its `keys`."""
        self._keys.append(np.concatenate(of_samples))
        self._counts.extend(map(len, of_samples))

    def write(self, directory):
        every = np.concatenate(self._keys)
        order = every.argsort(kind="stable")
        save(directory / "item-keys.npy", every[order])
        save(directory / "item-samples.npy", np.repeat(np.arange(len(self._counts)), self._counts)[order])


class ItemIndex:
    """The items of all samples, in the directory of a span index, mapped into memory.

    ids, members, clusters: of the samples, as arrays.
    """

    def __init__(self, directory, ids, members, clusters):
        self.ids, self.members, self.clusters = ids, members, clusters
        self._keys, self._samples = (mapped(directory / f"item-{name}.npy") for name in ("keys", "samples"))

    def holders(self, keys):
        """The numbers of the samples that hold one of the keys, an array in order."""
        begins, ends = (self._keys.searchsorted(keys, side) for side in ("left", "right"))
        held = [self._samples[begin:end] for begin, end in zip(begins, ends, strict=True)]
        return np.unique(np.concatenate([np.empty(0, np.int64), *held]))


def said(row, spans):
    """The items that a generation says, a list of Personal in order: those that lie in it for the most part, where the
    prompt ends in the midst of one.

    row: a Generation. spans: a SpanIndex of all samples.
    """
    prompt, personal = row.prefix[-BEFORE:], []
    cut = len(prompt)
    for item in find(prompt + row.text, spans.regions):
        if item.start + item.end >= 2 * cut and item.end > cut:
            if not personal:
                in_prompt = keys(find(row.prefix, spans.regions))
                of_sample = find(row.prefix + row.suffix, spans.regions)
                in_suffix = keys(own for own in of_sample if own.end > len(row.prefix))
            values = keys([item])
            prompted, own = (bool(np.isin(values, there).any()) for there in (in_prompt, in_suffix))
            span = (max(item.start - cut, 0), item.end - cut)
            personal.append(_personal(row, spans.items, item.kind, span, prompted, own, spans.items.holders(values)))
    return personal


def named(row, spans, names, others):
    """The names that a generation says, a list of Personal. names: [start, end) of those in it.

    others: the items that have a form; a name within one of them (an e-mail address, say) is none.
    """
    taken, personal = [item.generation_span for item in others], []
    for start, end in names:
        name = row.text[start:end]
        if not any(start < last and first < end for first, last in taken):
            prompted, own = (_says(text, name) for text in (row.prefix, row.suffix))
            personal.append(_personal(row, spans.items, NAME, (start, end), prompted, own, spans.holding(name)))
    return personal


def _says(text, name):
    """Whether a text has a name, in any case, as whole words."""
    name = r"\s+".join(map(re.escape, name.casefold().split()))
    return bool(re.search(rf"(?<!{JOINED}){name}(?!{JOINED})", text.casefold()))


def _personal(row, index, kind, span, prompted, own, samples):
    """The Personal of an item. own: whether it stands in the suffix. samples: numbers of those that hold it."""
    clusters, first = np.unique(index.clusters[samples], return_index=True)
    others = samples[first[clusters != row.cluster]]  # a sample of each
    shown = others[np.argmax(index.members[others])] if len(others) else None
    return Personal(
        kind=kind,
        generation_span=span,
        prompted=prompted,
        own=not prompted and (own or len(others) < len(clusters)),
        holders=len(others),
        members=int(index.members[others].sum()),
        sample=None if shown is None else int(index.ids[shown]),
        cluster=None if shown is None else int(index.clusters[shown]),
    )
