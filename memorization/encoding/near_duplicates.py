"""Near-duplicates: texts that share most of their word 5-grams, found by MinHash (Broder 1997; Lee et al. 2022).

Words are those of `words`, of any script. Two texts are near-duplicates if the Jaccard similarity of their sets of
5-grams, the shared ones over all, is the threshold or more; a text of fewer than five words is one gram. A cluster is
what such pairs connect. MinHash only proposes pairs: those whose signatures agree in one band. Bands are so narrow that
a pair at the threshold is missed with a probability of at most MISSED. Each proposed pair is then compared by the
5-grams themselves (their 64-bit hashes), so no cluster rests on an estimate.
"""

import shutil
from contextlib import ExitStack
from math import ceil, log, log1p
from pathlib import Path

import numpy as np
import pyarrow as pa
from rensa import RMinHash
from tqdm import tqdm

from memorization.encoding.sample_store import SampleStore
from memorization.encoding.words import words
from memorization.shell.parallel import in_order
from memorization.store.compiled import compiled

WORDS, VALUES, SEED = 5, 512, 1  # words of a gram; most values of a signature, and their seed
MISSED = 1e-3
MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying by it is reversible


def clusters(path: Path, first: np.ndarray, threshold: float, num_proc: int, bars: float) -> np.ndarray:
    """Where the cluster of each sample begins, int64: the first sample of it, or of its copies if it is alone.

    path: of store_samples. first: of find_copies. bars: seconds until a bar is shown. What would not fit in memory, 8
    bytes a gram and a band, is in a temporary directory beside the path.
    """
    number, width = band_shape(threshold)
    work = path.with_name("near-duplicates")
    work.mkdir()
    bands, grams, counts = [work / f"band-{i}" for i in range(number)], work / "grams", []
    with ExitStack() as stack:
        files = [stack.enter_context(file.open("wb")) for file in (grams, *bands)]
        bar = stack.enter_context(tqdm(total=len(first), desc="near-duplicates", unit=" samples", delay=bars))
        analysed = in_order(_analyse, _distinct(path, first), num_proc, _start, (path, number, width), "--num-proc")
        for (_, distinct), (count, *columns) in analysed:
            for file, column in zip(files, columns, strict=True):
                file.write(column.tobytes())
            counts.append(count)
            bar.update(len(distinct))
    bounds = np.concatenate([[0], *counts]).cumsum()
    values = np.memmap(grams, np.uint64, "r") if bounds[-1] else np.empty(0, np.uint64)
    begins = np.arange(len(bounds) - 1)
    for band in tqdm(bands, desc="comparing", unit=" bands", delay=bars):
        keys = np.fromfile(band, np.uint64)
        _join(begins, np.argsort(keys, kind="stable"), keys, values, bounds, threshold)
    while (begins != (further := begins[begins])).any():
        begins = further
    shutil.rmtree(work)
    ids = np.flatnonzero(first == np.arange(len(first)))
    return ids[begins][np.searchsorted(ids, first)]


def band_shape(threshold: float) -> tuple[int, int]:
    """(number of bands, values of each): as wide as VALUES allow, since wider ones propose fewer pairs needlessly."""
    fine = [width for width in range(1, VALUES + 1) if (1 - threshold**width) ** (VALUES // width) <= MISSED]
    agreeing = threshold ** max(fine)  # the chance that a pair at the threshold agrees in a band
    return ceil(log(MISSED) / log1p(-agreeing)) if agreeing < 1 else 1, max(fine)


def _distinct(path, first):
    """(n, which of its samples are no copies of earlier ones) of each batch."""
    samples, at = SampleStore(path), 0
    for n in range(len(samples)):
        ids = np.arange(at, at := at + len(samples[n]))
        yield n, first[ids] == ids


def _start(path, number, width):
    global _settings  # of this process
    _settings = SampleStore(path), number, width


def _analyse(item):
    """Of the distinct texts of a batch: the number of grams of each, int64; all grams, sorted text by text, and of each
    band the texts' keys, uint64."""
    (n, distinct), (samples, number, width) = item, _settings
    batch = samples[n].filter(pa.array(distinct))
    compared = zip(batch["text"].to_pylist(), batch["body"].to_pylist(), strict=True)
    texts = [words(text[body:]).hashes for text, body in compared]
    texts = [np.pad(own, (0, WORDS - len(own))) if 0 < len(own) < WORDS else own for own in texts]
    text = np.repeat(np.arange(len(texts)), [len(own) for own in texts])
    hashes = np.concatenate([np.empty(0, np.int64), *texts]).view(np.uint64)
    grams = _mixed(hashes[i : i - WORDS + 1 or None] for i in range(WORDS))
    begins, ends = text[: len(grams)], text[WORDS - 1 :]
    text, grams = begins[begins == ends], grams[begins == ends]
    order = np.lexsort((grams, text))
    text, grams = text[order], grams[order]
    new = np.ones(len(grams), bool)
    new[1:] = (text[1:] != text[:-1]) | (grams[1:] != grams[:-1])
    grams, counts = grams[new], np.bincount(text[new], minlength=len(texts))
    bounds = np.concatenate([[0], counts]).cumsum().astype(np.uint64)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(grams, bounds, number * width, SEED).to_rows()
    signatures = np.array(rows, np.uint64).reshape(len(texts), number, width)
    return counts, grams, *(_mixed(band.T) for band in signatures.swapaxes(0, 1))


def _mixed(hashes):
    """One hash, uint64, of several arrays of them, in their order."""
    mixed = np.uint64(0)
    for each in hashes:
        mixed = mixed * MIX + each
    return mixed


@compiled
def _join(begins, order, keys, grams, bounds, threshold):
    """Join, in `begins`, the clusters of all near-duplicates with equal keys. order: sorts the keys."""
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and keys[order[end]] == keys[order[start]]:
            end += 1
        for i in range(start, end - 1):
            apart = False
            for j in range(i + 1, end):
                a, b = _begin(begins, order[i]), _begin(begins, order[j])
                if a != b:
                    if _alike(grams, bounds, order[i], order[j], threshold):
                        begins[max(a, b)] = min(a, b)
                    else:
                        apart = True
            if not apart:  # all others are of one cluster
                break
        start = end


@compiled
def _begin(begins, i):
    while begins[i] != i:
        begins[i] = begins[begins[i]]
        i = begins[i]
    return i


@compiled
def _alike(grams, bounds, one, other, threshold):
    """Whether the Jaccard similarity of the grams of two texts is the threshold or more; of none it is 0."""
    i, j, shared, apart = bounds[one], bounds[other], 0, 0
    total = bounds[one + 1] - i + bounds[other + 1] - j
    most = total * (1 - threshold) / (1 + threshold) + 1  # most grams that only one of near-duplicates has
    while i < bounds[one + 1] and j < bounds[other + 1] and apart < most:
        a, b = grams[i], grams[j]
        shared += a == b
        apart += a != b
        i += a <= b
        j += b <= a
    return shared > 0 and shared / (total - shared) >= threshold
