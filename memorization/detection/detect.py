"""Detecting what a generation reproduces: of its candidates in the index, and of its own suffix (design.md, Terms)."""

from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from memorization.alignment import align, longest_common_run, prepare
from memorization.detection.detections import Candidate, Detection, Labels, Own, Passage, Run
from memorization.detection.labels import best_label, candidate_label, final_label, first_label, sentence_pairs

BATCH = 256  # generations retrieved, compared and classified together
CANDIDATES = 10  # Lee et al. 2023, section 3

_prepared = lru_cache(maxsize=50_000)(prepare)  # a training text is compared with many generations


class Comparison(NamedTuple):
    """A generation aligned with one text, the one of sample `id`.

    pairs: for each passage the sentence pairs that a classifier is to judge.
    """

    id: int
    kind: str
    passages: list
    pairs: list


class Compared(NamedTuple):
    """A generation beside its candidates, in each direction, and beside its own suffix, in the first one.

    own: a list of one Comparison. run, own_run: the longest run of words shared with any candidate, with the suffix.
    """

    candidates: dict[str, list[Comparison]]
    run: Run | None
    own: list[Comparison]
    own_run: Run | None


def detect(rows, index, profile, directions, span_length, classify=None):
    """The Detection of each of a batch of stage 3's Generations, in order.

    index: a retrieval index of the training suffixes. profile: "paper" or "pan". directions: one or both of "pan"
    (the generation is the suspicious text) and "paper" (the other text is); the first one's labels are the detection's
    `labels`, with both the second one's its `paper`. span_length: a common run of more characters makes verbatim.
    classify: list of sentence pairs -> dict pair -> probability of being paraphrases, called once for the batch; None
    leaves such passages unverified.
    """
    hits, texts = retrieve(rows, index)
    compared = [compare(row, found, texts, profile, directions) for row, found in zip(rows, hits, strict=True)]
    scores = classify and classify(pairs_of(compared))
    return [assemble(*each, scores, span_length) for each in zip(rows, hits, compared, strict=True)]


def retrieve(rows, index):
    """Of each row the hits, best first, and of all of them the texts: dict id -> text."""
    hits = index.search([row.generation for row in rows], CANDIDATES)
    return hits, index.texts({hit.id for found in hits for hit in found})


def compare(row, hits, texts, profile, directions):
    """A row Compared with its candidates and, in the same way whether member or not, with its own suffix."""
    generation = prepare(row.generation)
    candidates = {int(hit.id): _prepared(texts[hit.id]) for hit in hits}
    own = {row.id: _prepared(row.suffix)}
    return Compared(
        {direction: _align(generation, candidates, profile, direction) for direction in directions},
        _longest_run(generation, candidates),
        _align(generation, own, profile, directions[0]),
        _longest_run(generation, own),
    )


def pairs_of(compared):
    """The sentence pairs that a classifier is to judge, of candidates and own suffixes alike."""
    lists = chain.from_iterable((*each.candidates.values(), each.own) for each in compared)
    return [pair for comparison in chain.from_iterable(lists) for pairs in comparison.pairs for pair in pairs]


def assemble(row, hits, compared, scores, span_length):
    """The Detection of a row. scores: dict sentence pair -> probability of being a paraphrase, or None."""
    labels = [_labels(each, scores, row, compared.run, span_length) for each in compared.candidates.values()]
    own = _labels(compared.own, scores, row, compared.own_run, span_length)
    return Detection(
        id=row.id,
        sample=row.sample,
        member=row.member,
        duplicates=row.duplicates,
        prefix=row.prefix,
        suffix=row.suffix,
        generation=row.generation,
        matched_tokens=row.matched_tokens,
        exact_match=row.exact_match,
        candidates=[Candidate(int(hit.id), hit.score) for hit in hits],
        longest_common_run=compared.run,
        own=Own(own.label, compared.own_run, own.passages),
        labels=labels[0],
        paper=labels[1] if len(labels) > 1 else None,
    )


def _align(generation, texts, profile, direction):
    """The Comparisons of a generation with texts: dict id of the sample -> Document."""
    comparisons = []
    for id, text in texts.items():
        if direction == "pan":
            kind, passages = align(generation, text, profile)
        else:
            kind, swapped = align(text, generation, profile)
            passages = [(ours, theirs) for theirs, ours in swapped]
        judged = passages if kind == "obfuscated" else []
        pairs = [sentence_pairs(generation, text, passage) for passage in judged]
        comparisons.append(Comparison(id, kind, passages, pairs))
    return comparisons


def _longest_run(generation, texts):
    """The longest Run of words that a generation shares with any of the texts; the first text wins a tie."""
    best = None
    for id, text in texts.items():
        run = longest_common_run(generation, text)
        if run is not None and (best is None or run[0][1] - run[0][0] > best.characters):
            ours, theirs = run
            best = Run(id, ours[1] - ours[0], ours, theirs)
    return best


def _labels(comparisons, scores, row, run, span_length):
    """The Labels that comparisons in one direction, and the longest run of them, give a row."""
    labels, passages = [], []
    for id, kind, spans, pairs in comparisons:
        probabilities = None if scores is None else [[scores[pair] for pair in of_passage] for of_passage in pairs]
        labels.append(candidate_label(kind, None if scores is None else list(chain(*probabilities))))
        for i, (ours, theirs) in enumerate(spans):
            probability = max(probabilities[i], default=None) if probabilities else None
            passages.append(Passage(id, labels[-1], ours, theirs, probability))
    copied = run is not None and run.characters > span_length
    return Labels(final_label(labels, row.exact_match, copied), best_label(labels), first_label(labels), passages)
