"""Detecting what a generation reproduces of its candidates: retrieval, alignment, span scan, labels (design: Terms)."""

from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from memorization.alignment import PROFILES, align, longest_common_run, prepare
from memorization.detection.labels import best_label, candidate_label, first_label, sentence_pairs

BATCH = 256  # generations retrieved, aligned and classified together
CANDIDATES = 10  # Lee et al. 2023, section 3

_prepare_candidate = lru_cache(maxsize=50_000)(prepare)  # a training text is a candidate of many generations


class Comparison(NamedTuple):
    """A generation aligned with one candidate. pairs: for each passage, the sentence pairs a classifier is to judge."""

    candidate: int
    kind: str
    passages: list
    pairs: list


def detect(rows, index, profile, directions, classify=None):
    """Detections for a batch of stage 3's rows, in the same order, as dicts (design: detections.jsonl).

    index: a retrieval index of the training suffixes. profile: "paper" or "pan". directions: one or both of "pan"
    (the generation is the suspicious text) and "paper" (the candidate is); the first one's labels and passages stand
    in the detection itself, the second one's under its name. classify: list of sentence pairs -> dict pair ->
    probability of being paraphrases, called once for the batch; None leaves such passages unverified.
    """
    hits = index.search([row["generation"] for row in rows], CANDIDATES)
    texts = index.texts({hit.id for found in hits for hit in found})
    compared, scans = [], []
    for row, found in zip(rows, hits, strict=True):
        generation = prepare(row["generation"])
        candidates = {int(hit.id): _prepare_candidate(texts[hit.id]) for hit in found}
        scans.append(_scan(generation, candidates))
        compared.append(
            {
                direction: [
                    _compare(generation, i, candidate, profile, direction) for i, candidate in candidates.items()
                ]
                for direction in directions
            }
        )

    scores = None
    if classify:
        comparisons = chain.from_iterable(chain.from_iterable(by_direction.values()) for by_direction in compared)
        scores = classify([pair for c in comparisons for pairs in c.pairs for pair in pairs])

    detections = []
    for row, found, scan, by_direction in zip(rows, hits, scans, compared, strict=True):
        copied = scan is not None and scan["characters"] > PROFILES[profile].verbatim_minlen
        results = {direction: _result(comparisons, scores, copied) for direction, comparisons in by_direction.items()}
        detections.append(
            {
                **{name: row[name] for name in ("id", "member", "duplicates", "prefix", "generation")},
                "candidates": [{"id": int(hit.id), "score": hit.score} for hit in found],
                "longest_common_run": scan,
                **results.pop(directions[0]),
                **results,
            }
        )
    return detections


def _compare(generation, candidate_id, candidate, profile, direction):
    if direction == "pan":
        kind, passages = align(generation, candidate, profile)
    else:
        kind, swapped = align(candidate, generation, profile)
        passages = [(ours, theirs) for theirs, ours in swapped]
    obfuscated = passages if kind == "obfuscated" else []
    pairs = [sentence_pairs(generation, candidate, passage) for passage in obfuscated]
    return Comparison(candidate_id, kind, passages, pairs)


def _result(comparisons, scores, copied):
    """The labels and passages of one generation in one direction. copied: the span scan found a verbatim run."""
    labels, passages = [], []
    for candidate, kind, spans, pairs in comparisons:
        probabilities = [[scores[p] for p in of_passage] for of_passage in pairs] if scores is not None else None
        labels.append(candidate_label(kind, None if probabilities is None else list(chain(*probabilities))))
        for i, (ours, theirs) in enumerate(spans):
            passages.append(
                {
                    "candidate": candidate,
                    "label": labels[-1],
                    "generation_span": list(ours),
                    "candidate_span": list(theirs),
                    "paraphrase_probability": max(probabilities[i]) if probabilities and probabilities[i] else None,
                }
            )
    return {
        "label": "verbatim" if copied else best_label(labels),
        "label_without_scan": best_label(labels),
        "first_label": first_label(labels),
        "passages": passages,
    }


def _scan(generation, candidates):
    """The longest run of words that the generation shares with any candidate; the higher-ranked one wins a tie."""
    best = None
    for i, candidate in candidates.items():
        run = longest_common_run(generation, candidate)
        if run is not None and (best is None or run[0][1] - run[0][0] > best["characters"]):
            ours, theirs = run
            best = {
                "candidate": i,
                "characters": ours[1] - ours[0],
                "generation_span": list(ours),
                "candidate_span": list(theirs),
            }
    return best
