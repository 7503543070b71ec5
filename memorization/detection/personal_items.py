"""Items of personal data in a generation, and who else holds them (design.md, Terms: Personal data).

Stage 4 finds the items of all samples and writes, beside the span index, which samples hold each. Stage 5 looks each
item of a generation up there, whatever the length of the copied run around it.
"""

import hashlib
import re
from array import array
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from memorization.detection.detections import PersonalItem
from memorization.detection.personal_data import NAME, Item, PersonalKind, find
from memorization.detection.writing_systems import JOINED
from memorization.extraction.generations import Generation
from memorization.store.arrays import mapped, save

if TYPE_CHECKING:  # which opens an ItemIndex
    from memorization.detection.copied_runs import SpanIndex

NUMBERS = ("telephone", "card", "ssn", "digits")  # compared as one kind: only the context tells them apart
BEFORE = 256  # characters of the prompt in which an item may begin, or that tell its kind ("my number is")


def item_keys(items: Iterable[Item]) -> np.ndarray:
    """The distinct hashes of the values of some Items, uint64."""
    values = {("number" if item.kind in NUMBERS else item.kind, value) for item in items for value in item.values}
    hashes = (
        hashlib.blake2b(f"{kind} {value}".encode(errors="surrogatepass"), digest_size=8) for kind, value in values
    )
    return np.unique(np.frombuffer(b"".join(one.digest() for one in hashes), np.uint64))


class ItemIndexWriter:
    """The items of samples, which are added in order, on their way to the disk."""

    def __init__(self) -> None:
        self._keys, self._counts = [np.empty(0, np.uint64)], array("q")

    def add(self, keys_of_samples: list[np.ndarray]) -> None:
        """keys_of_samples: the `item_keys` of each next sample."""
        self._keys.append(np.concatenate(keys_of_samples))
        self._counts.extend(map(len, keys_of_samples))

    def write(self, directory: Path) -> None:
        every = np.concatenate(self._keys)
        order = every.argsort(kind="stable")
        save(directory / "item-keys.npy", every[order])
        save(directory / "item-samples.npy", np.repeat(np.arange(len(self._counts)), self._counts)[order])


class ItemIndex:
    """The items of all samples, in the directory of a span index, mapped into memory.

    ids, members, clusters: of the samples, as arrays.
    """

    def __init__(self, directory: Path, ids: np.ndarray, members: np.ndarray, clusters: np.ndarray) -> None:
        self.ids, self.members, self.clusters = ids, members, clusters
        self._keys, self._samples = (mapped(directory / f"item-{name}.npy") for name in ("keys", "samples"))

    def holders(self, keys: np.ndarray) -> np.ndarray:
        """The numbers, in order, of the samples that hold one of the keys."""
        begins, ends = (self._keys.searchsorted(keys, side) for side in ("left", "right"))
        samples = [self._samples[begin:end] for begin, end in zip(begins, ends, strict=True)]
        return np.unique(np.concatenate([np.empty(0, np.int64), *samples]))


def find_items(row: Generation, spans: "SpanIndex") -> list[PersonalItem]:
    """The items in a generation, in order. One that begins in the prompt counts if most of it is in the generation."""
    prompt, personal = row.prefix[-BEFORE:], []
    cut = len(prompt)
    for item in find(prompt + row.text, spans.regions):
        if item.start + item.end >= 2 * cut and item.end > cut:
            keys = item_keys([item])
            prompted, own = (
                bool(np.isin(keys, part).any()) for part in _keys_of_sample(row.prefix, row.suffix, spans.regions)
            )
            span = (max(item.start - cut, 0), item.end - cut)
            personal.append(_item(row, spans.items, item.kind, span, prompted, own, spans.items.holders(keys)))
    return personal


def find_names(
    row: Generation, spans: "SpanIndex", names: list[tuple[int, int]], items: list[PersonalItem]
) -> list[PersonalItem]:
    """The names in a generation. names: [start, end) of each. A name within one of the items, such as an e-mail
    address, is left out.
    """
    personal = []
    for start, end in names:
        name = row.text[start:end]
        if not any(start < item.generation_span[1] and item.generation_span[0] < end for item in items):
            prompted, own = (_contains(text, name) for text in (row.prefix, row.suffix))
            personal.append(_item(row, spans.items, NAME, (start, end), prompted, own, spans.holding(name)))
    return personal


@lru_cache(128)  # asked for the generations of a probe and for its ceiling
def _keys_of_sample(prefix: str, suffix: str, regions: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The item_keys of a sample's prompt, and of what does not end within it."""
    of_suffix = (item for item in find(prefix + suffix, regions) if item.end > len(prefix))
    return item_keys(find(prefix, regions)), item_keys(of_suffix)


def _contains(text: str, name: str) -> bool:
    """Whether a text has a name, in any case, as whole words."""
    name = r"\s+".join(map(re.escape, name.casefold().split()))
    return bool(re.search(rf"(?<!{JOINED}){name}(?!{JOINED})", text.casefold()))


def _item(
    row: Generation,
    index: ItemIndex,
    kind: PersonalKind,
    span: tuple[int, int],
    prompted: bool,
    own: bool,
    samples: np.ndarray,
) -> PersonalItem:
    """own: whether the item occurs in the suffix. samples: numbers of those that hold it."""
    clusters, first = np.unique(index.clusters[samples], return_index=True)
    others = samples[first[clusters != row.cluster]]  # a sample of each
    example = others[np.argmax(index.members[others])] if len(others) else None
    return PersonalItem(
        kind=kind,
        generation_span=span,
        prompted=prompted,
        own=not prompted and (own or len(others) < len(clusters)),
        holders=len(others),
        members=int(index.members[others].sum()),
        sample=None if example is None else int(index.ids[example]),
        cluster=None if example is None else int(index.clusters[example]),
    )
