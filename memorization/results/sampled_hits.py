"""(n, p)-discoverable extraction from generations alone, where an engine gives no probabilities of suffixes."""

from array import array

import numpy as np
from scipy import stats

from memorization.detection.detections import Detection
from memorization.extraction.scores import discoverable
from memorization.results.statistics import Array

TAIL = 0.05  # of the one-sided interval


class HitCounter:
    """Counts, of each probe, its sampled generations and those that are exactly the suffix."""

    def __init__(self) -> None:
        self._keys, self._hits = (array("q"), array("q")), array("b")

    def add(self, row: Detection) -> None:
        generation = row.generation
        if generation.exact_match is not None:
            for key, value in zip(self._keys, (generation.id, generation.turn), strict=True):
                key.append(value)
            self._hits.append(bool(generation.exact_match))

    def bounds(self, ids: Array) -> Array:
        """Of each of these samples (distinct ids in order) the logarithm of a lower bound of p_z, the probability of
        the suffix as sampled, of its likeliest probe; NaN without one.

        The bound is the lower end of the one-sided 95 % interval of Clopper and Pearson (1934).
        """
        probes, probe = np.unique(np.stack([np.asarray(key) for key in self._keys]), axis=1, return_inverse=True)
        hits, number = np.bincount(probe, np.asarray(self._hits), probes.shape[1]), np.bincount(probe)
        with np.errstate(divide="ignore"):
            low = np.log(np.where(hits > 0, stats.beta.ppf(TAIL, np.maximum(hits, 1), number - hits + 1), 0))
        bounds = np.full(len(ids), np.nan)
        np.fmax.at(bounds, np.searchsorted(ids, probes[0]), low)
        return bounds


def discovered(bounds: Array, queries: int, chance: float) -> Array:
    """Whether each sample is (n, p)-discoverable, as 0 or 1, by HitCounter.bounds; NaN where there is none."""
    return np.where(np.isnan(bounds), np.nan, discoverable(bounds, queries, chance))
