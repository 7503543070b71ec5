"""Detecting what a generation reproduces: of its candidates in the index, and of its own suffix (design.md, Terms)."""

from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import msgspec

from memorization.alignment import align, prepare
from memorization.detection import entities, items
from memorization.detection.detections import Candidate, Ceiling, Copied, Detection, Labels, Own, Passage, Personal, Run
from memorization.detection.labels import (
    PARAPHRASE,
    best_label,
    candidate_label,
    final_label,
    first_label,
    sentence_pairs,
)
from memorization.detection.loops import repeats
from memorization.encoding.words import words
from memorization.shell.cli import UserError
from memorization.store.manifests import difference

BATCH = 64  # generations retrieved, compared and classified together

_prepared = lru_cache(maxsize=10_000)(prepare)  # a training text is compared with many generations; some 10 KB each


class Settings(NamedTuple):
    """How generations are compared. profile: "paper" or "pan". directions: one or both of "pan" (the generation is the
    suspicious text) and "paper" (the other text is); the first one's labels are the detection's `labels`, with both
    the second one's its `paper`. candidates: how many. span_length: a longer copied run makes verbatim.
    """

    profile: str
    directions: tuple[str, ...]
    candidates: int
    span_length: int


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

    hits: the candidates, with their texts. own: a list of one Comparison. own_run: the longest run of words shared with
    the suffix. longest, copied: those of spans.SpanIndex.copied. repeats, personal, ceiling: those of a Detection.
    """

    hits: list[Candidate]
    candidates: dict[str, list[Comparison]]
    own: list[Comparison]
    own_run: Run | None
    longest: Copied | None
    copied: list[Copied]
    repeats: int
    personal: list[Personal]
    ceiling: Ceiling | None


def detect(rows, index, spans, settings, classify=None, recognize=None):
    """The Detection of each of a batch of stage 3's Generations, in order: `judge` what `compare` gives."""
    return judge(rows, compare(rows, index, spans, settings), spans, settings.span_length, classify, recognize)


def judge(rows, compared, spans, span_length, classify=None, recognize=None):
    """The Detection of each row of a batch with its Compared. spans: a SpanIndex of all samples.

    classify: list of sentence pairs -> dict pair -> probability of being paraphrases; None leaves such passages
    unverified. recognize: texts -> dict text -> Entities, or None. Both are called once for the batch.
    """
    scores = classify and classify(_pairs(compared))
    named = None
    if recognize:
        texts = {row.text for row in rows}
        texts |= {sentence for pair, p in (scores or {}).items() if p > PARAPHRASE for sentence in pair}
        named = recognize(texts)
    return [_assemble(*each, spans, scores, named, span_length) for each in zip(rows, compared, strict=True)]


def compare(rows, index, spans, settings):
    """Each of the rows Compared with its candidates and, in the same way whether member or not, with its own suffix.

    index: a retrieval index of the training suffixes. spans: a SpanIndex of all samples.
    """
    found = index.search([row.text for row in rows], settings.candidates)
    texts = index.texts({hit.id for hits in found for hit in hits})
    compared = []
    for row, hits in zip(rows, found, strict=True):
        generation, suffix = prepare(row.text), _prepared(row.suffix)
        candidates = {int(hit.id): _prepared(texts[hit.id]) for hit in hits}
        longest, copied, own_run = spans.copied(row.text, row.id, row.prefix, row.suffix, settings.span_length)
        compared.append(
            Compared(
                [Candidate(int(hit.id), hit.score, texts[hit.id]) for hit in hits],
                {name: _align(generation, candidates, settings.profile, name) for name in settings.directions},
                _align(generation, {row.id: suffix}, settings.profile, settings.directions[0]),
                own_run,
                longest,
                copied,
                repeats(words(row.text).hashes),
                items.said(row, spans),
                None if row.sample else _ceiling(row, spans, settings.span_length),
            )
        )
    return compared


def _ceiling(row, spans, span_length):
    """The Ceiling of a row's probe."""
    suffix = row.suffix if row.reach is None else row.suffix[: row.reach.characters]
    personal = items.said(msgspec.structs.replace(row, text=suffix), spans)
    longest, copied, _ = spans.copied(suffix, row.id, row.prefix, row.suffix, span_length)
    return Ceiling(
        tokens=row.reach and row.reach.tokens,
        longest=longest.length if longest else 0,
        own=any(run.whose(row.cluster) == "own" for run in copied),
        personal=any(item.whose == "own" for item in personal),
    )


def _pairs(compared):
    """The sentence pairs that a classifier is to judge, of candidates and own suffixes alike."""
    lists = chain.from_iterable((*each.candidates.values(), each.own) for each in compared)
    return [pair for comparison in chain.from_iterable(lists) for pairs in comparison.pairs for pair in pairs]


def _assemble(row, compared, spans, scores, named, span_length):
    """The Detection of a row. scores, named: what judge's `classify` and `recognize` gave, or None."""
    labels = [_labels(each, scores, row, compared.longest, span_length) for each in compared.candidates.values()]
    own = _labels(compared.own, scores, row, compared.own_run, span_length)
    agreed = None
    if named is not None and scores is not None:
        pairs = chain.from_iterable(each.pairs for each in next(iter(compared.candidates.values())))
        called = [pair for pair in chain.from_iterable(pairs) if scores[pair] > PARAPHRASE]
        agreed = any(entities.agree(pair, named) for pair in called)
    personal = compared.personal
    if named is not None:
        names = items.named(row, spans, entities.names(row.text, named), personal)
        personal = sorted(personal + names, key=lambda item: item.generation_span)
    shown = {passage.candidate for each in labels for passage in each.passages}
    without_log_probs = row.scores and msgspec.structs.replace(row.scores, token_log_probs=None)
    return Detection(
        generation=msgspec.structs.replace(row, scores=without_log_probs),
        candidates=[Candidate(hit.id, hit.score, hit.text if hit.id in shown else None) for hit in compared.hits],
        longest_common_run=compared.longest,
        copied=compared.copied,
        repeats=compared.repeats,
        entities_agree=agreed,
        personal=personal,
        own=Own(own.label, compared.own_run, own.passages),
        ceiling=compared.ceiling,
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


def _labels(comparisons, scores, row, run, span_length):
    """The Labels that comparisons in one direction, and the longest run of them, give a row."""
    labels, passages = [], []
    for id, kind, spans, pairs in comparisons:
        probabilities = None if scores is None else [[scores[pair] for pair in of_passage] for of_passage in pairs]
        labels.append(candidate_label(kind, None if scores is None else list(chain(*probabilities))))
        for i, (ours, theirs) in enumerate(spans):
            probability = max(probabilities[i], default=None) if probabilities else None
            passages.append(Passage(id, labels[-1], ours, theirs, probability))
    copied = run is not None and run.length > span_length
    return Labels(final_label(labels, row.exact_match, copied), best_label(labels), first_label(labels), passages)


def begin(open_index, spans, settings, made_of):
    """Prepare this process to compare_here. open_index, spans: functions that open what `compare` takes.

    made_of: of the index that was checked. Raises UserError if there is another one in its place by now.
    """
    global _here  # of a process of the run
    index = open_index()
    if differs := difference(index.made_of(), made_of):
        raise UserError(f"{index.where}: is not the index that was checked: another {differs}; run this command again")
    _here = index, spans(), settings


def compare_here(rows):
    """`compare` with what this process has opened."""
    return compare(rows, *_here)
