"""How well a classifier that knows no model tells held-out samples from members, by their words alone.

Where it can, a difference between the two sides may come from the texts, not from training. The sides of a random split
cannot be told apart: the area under the ROC curve is 0.5.
"""

from collections.abc import Iterable

import numpy as np
from scipy import sparse

from memorization.encoding.kinds import Comparability
from memorization.encoding.words import words

MOST, LEAST = 2000, 20  # samples of a side: more are a sample of them, with fewer there is no telling
FOLDS, SEED = 5, 0
DIFFERENT = 0.6  # sides whose whole interval is over this are told apart
Z = 1.959963984540054  # of a 95 % interval


def draw_to_compare(member: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The samples to compare, int64 in order: of `stored`, at most MOST of either side. member, stored: bool."""
    rng = np.random.default_rng(SEED)
    of_sides = (np.flatnonzero(stored & side) for side in (member, ~member))
    return np.sort(np.concatenate([rng.permutation(ids)[:MOST] for ids in of_sides]))


def compare_sides(texts: Iterable[str], member: np.ndarray, clusters: np.ndarray) -> Comparability:
    """How well members are told from held-out samples. texts, member (bool), clusters: of samples of both sides.

    The classifier is a logistic regression on how often each word and each single character occurs (tf-idf), so it
    sees script, case and marks too. It judges each sample without having seen its cluster of near-duplicates. The area
    is the mean over the folds. The variance is twice that of DeLong (1988), by clusters (Obuchowski 1997): of two
    samples in different folds, what one says of the other is what the other says of the one, and counts twice.
    Simulated: the interval then contains 0.5 for 95 % of random splits.
    """
    members, held_out = int(member.sum()), int((~member).sum())
    units = [len(np.unique(clusters[side])) for side in (member, ~member)]
    if min(units) < LEAST:
        return Comparability(members=members, held_out=held_out, auc=None, interval=None)
    from sklearn.feature_extraction.text import TfidfTransformer  # slow to import, and a drawn split needs none
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    counts = TfidfTransformer(sublinear_tf=True).fit_transform(_counts(texts))
    share = np.empty(len(member))  # of the other side in its fold that a sample is placed right of
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=SEED).split(counts, member, clusters)
    for training, judged in folds:
        model = LogisticRegression(C=10, class_weight="balanced", solver="liblinear", random_state=SEED)
        scores = model.fit(counts[training], member[training]).decision_function(counts[judged])
        for side, sign in ((member, 1), (~member, -1)):
            here, others = judged[side[judged]], np.sort(sign * scores[~side[judged]])
            own = sign * scores[side[judged]]
            below = np.searchsorted(others, own) + np.searchsorted(others, own, "right")
            share[here] = below / (2 * max(len(others), 1))
    area, error = float(share[member].mean()), 0.0
    for side in (member, ~member):
        _, cluster = np.unique(clusters[side], return_inverse=True)
        sums = np.bincount(cluster, share[side] - share[side].mean())
        error += (sums @ sums) / side.sum() ** 2 * len(sums) / (len(sums) - 1)
    margin = Z * float(2 * error) ** 0.5
    return Comparability(
        members=members, held_out=held_out, auc=area, interval=(max(area - margin, 0.0), min(area + margin, 1.0))
    )


def _counts(texts: Iterable[str]) -> sparse.csr_array:
    """How often each word and each character occurs in each text."""
    ids, times, bounds = [], [], [0]
    for text in texts:
        characters = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.int64)
        own, number = np.unique(np.concatenate([words(text).hashes, characters]), return_counts=True)
        ids.append(own)
        times.append(number)
        bounds.append(bounds[-1] + len(own))
    vocabulary, column = np.unique(np.concatenate(ids), return_inverse=True)
    shape = len(ids), len(vocabulary)
    return sparse.csr_array((np.concatenate(times).astype(float), column, bounds), shape)


def sides_differ(sides: Comparability) -> bool:
    """Whether the whole interval is over DIFFERENT."""
    return sides["interval"] is not None and sides["interval"][0] > DIFFERENT


def describe_sides(sides: Comparability) -> str:
    """How well the sides are told apart, in words."""
    if sides["auc"] is None or sides["interval"] is None:
        return f"there are too few samples to tell whether held-out ones are like members: under {LEAST} of a side"
    low, high = sides["interval"]
    return (
        f"a bag-of-words classifier tells held-out samples from members with an AUC of {sides['auc']:.2f} "
        f"[{low:.2f}, {high:.2f}]"
    )
