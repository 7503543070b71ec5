"""Detecting what a generation reproduces: of its candidates in the index, and of its own suffix (design.md, Terms)."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np

from memorization.alignment import align, prepare
from memorization.alignment.document import Document
from memorization.detection import personal_items
from memorization.detection.copied_runs import SpanIndex, words_of
from memorization.detection.detections import (
    Candidate,
    Ceiling,
    CopiedRun,
    Detection,
    Labels,
    OwnSuffix,
    Passage,
    PersonalItem,
    SuffixRun,
)
from memorization.detection.entities import Entity, entities_agree, persons
from memorization.detection.labels import (
    PARAPHRASE,
    Label,
    best_label,
    candidate_label,
    final_label,
    first_label,
    sentence_pairs,
)
from memorization.extraction.generations import Generation
from memorization.retrieval import Index
from memorization.shell.cli import UserError
from memorization.store.manifests import difference

BATCH = 64  # generations retrieved, compared and classified together

Span = tuple[int, int]
SentencePair = tuple[str, str]
Classify = Callable[[list[SentencePair]], dict[SentencePair, float]]
Recognize = Callable[[set[str]], dict[str, tuple[Entity, ...]]]

_prepared = lru_cache(maxsize=10_000)(prepare)  # a training text is compared with many generations; some 10 KB each


class ComparisonSettings(NamedTuple):
    """How generations are compared. profile: "paper" or "pan". directions: one or both of "pan" (the generation is the
    suspicious text) and "paper" (the other text is); the first one's labels are the detection's `labels`, with both
    the second one's its `paper`. candidates: how many. span_length: a longer copied run makes verbatim.
    """

    profile: str
    directions: tuple[str, ...]
    candidates: int
    span_length: int


class AlignedText(NamedTuple):
    """A generation aligned with one text, the one of sample `id`.

    passages: (span of the generation, span of the text). pairs: for each passage the sentence pairs to classify.
    """

    id: int
    kind: str
    passages: list[tuple[Span, Span]]
    pairs: list[list[SentencePair]]


class Comparison(NamedTuple):
    """A generation beside its candidates, in each direction, and beside its own suffix, in the first one.

    hits: the candidates, with their texts. own: a list of one. own_run: the longest run of words shared with the
    suffix. longest, copied: those of SpanIndex.copied. repeats, personal, ceiling: those of a Detection.
    """

    hits: list[Candidate]
    candidates: dict[str, list[AlignedText]]
    own: list[AlignedText]
    own_run: SuffixRun | None
    longest: CopiedRun | None
    copied: list[CopiedRun]
    repeats: int
    personal: list[PersonalItem]
    ceiling: Ceiling | None


def detect(
    rows: Sequence[Generation],
    index: Index,
    spans: SpanIndex,
    settings: ComparisonSettings,
    classify: Classify | None = None,
    recognize: Recognize | None = None,
) -> list[Detection]:
    """The Detection of each row of a batch, in order: `judge_batch` of what `compare_batch` gives."""
    comparisons = compare_batch(rows, index, spans, settings)
    return judge_batch(rows, comparisons, spans, settings.span_length, classify, recognize)


def judge_batch(
    rows: Sequence[Generation],
    comparisons: list[Comparison],
    spans: SpanIndex,
    span_length: int,
    classify: Classify | None = None,
    recognize: Recognize | None = None,
) -> list[Detection]:
    """The Detection of each row of a batch.

    classify: gives for each sentence pair its probability of being a paraphrase; None leaves such passages unverified.
    recognize: gives the entities of each text, or None. Both are called once for the batch.
    """
    scores = classify(_sentence_pairs(comparisons)) if classify else None
    entities = None
    if recognize:
        texts = {row.text for row in rows}
        texts |= {sentence for pair, p in (scores or {}).items() if p > PARAPHRASE for sentence in pair}
        entities = recognize(texts)
    pairs = zip(rows, comparisons, strict=True)
    return [_detection(row, comparison, spans, scores, entities, span_length) for row, comparison in pairs]


def compare_batch(
    rows: Sequence[Generation], index: Index, spans: SpanIndex, settings: ComparisonSettings
) -> list[Comparison]:
    """Compare each of the rows with its candidates and, in the same way whether member or not, with its own suffix."""
    hits_of_rows = index.search([row.text for row in rows], settings.candidates)
    texts = index.texts({hit.id for hits in hits_of_rows for hit in hits})
    comparisons = []
    for row, hits in zip(rows, hits_of_rows, strict=True):
        generation, suffix = prepare(row.text), _prepared(row.suffix)
        candidates = {int(hit.id): _prepared(texts[hit.id]) for hit in hits}
        longest, copied, own_run = spans.copied(row.text, row.id, row.prefix, row.suffix, settings.span_length)
        comparisons.append(
            Comparison(
                [Candidate(int(hit.id), hit.score, texts[hit.id]) for hit in hits],
                {name: _align(generation, candidates, settings.profile, name) for name in settings.directions},
                _align(generation, {row.id: suffix}, settings.profile, settings.directions[0]),
                own_run,
                longest,
                copied,
                repeats(words_of(row.text).hashes),
                personal_items.find_items(row, spans),
                None if row.sample else _ceiling(row, spans, settings.span_length),
            )
        )
    return comparisons


def repeats(words: np.ndarray) -> int:
    """How often the most frequent word 3-gram of a text occurs, overlapping occurrences counted: 0 under three words.

    words: int64 ids of the text's words in order, as `encoding.words.words(text).hashes`.
    """
    if len(words) < 3:
        return 0
    _, counts = np.unique(np.array([words[:-2], words[1:-1], words[2:]]), axis=1, return_counts=True)
    return int(counts.max())


def _ceiling(row: Generation, spans: SpanIndex, span_length: int) -> Ceiling:
    suffix = row.suffix if row.reach is None else row.suffix[: row.reach.characters]
    personal = personal_items.find_items(msgspec.structs.replace(row, text=suffix), spans)
    longest, copied, _ = spans.copied(suffix, row.id, row.prefix, row.suffix, span_length)
    return Ceiling(
        tokens=row.reach.tokens if row.reach else None,
        longest=longest.length if longest else 0,
        own=any(run.whose(row.cluster) == "own" for run in copied),
        personal=any(item.whose == "own" for item in personal),
    )


def _sentence_pairs(comparisons: list[Comparison]) -> list[SentencePair]:
    """The sentence pairs to classify, of candidates and own suffixes alike."""
    lists = chain.from_iterable((*each.candidates.values(), each.own) for each in comparisons)
    return [pair for aligned in chain.from_iterable(lists) for pairs in aligned.pairs for pair in pairs]


def _detection(
    row: Generation,
    comparison: Comparison,
    spans: SpanIndex,
    scores: dict[SentencePair, float] | None,
    entities: dict[str, tuple[Entity, ...]] | None,
    span_length: int,
) -> Detection:
    """The Detection of a row. scores, entities: what `classify` and `recognize` of judge_batch gave, or None."""
    labels = [_labels(each, scores, row, comparison.longest, span_length) for each in comparison.candidates.values()]
    own = _labels(comparison.own, scores, row, comparison.own_run, span_length)
    agree = None
    if entities is not None and scores is not None:
        pairs = chain.from_iterable(each.pairs for each in next(iter(comparison.candidates.values())))
        paraphrases = [pair for pair in chain.from_iterable(pairs) if scores[pair] > PARAPHRASE]
        agree = any(entities_agree(pair, entities) for pair in paraphrases)
    personal = comparison.personal
    if entities is not None:
        names = personal_items.find_names(row, spans, persons(entities[row.text]), personal)
        personal = sorted(personal + names, key=lambda item: item.generation_span)
    with_passage = {passage.candidate for each in labels for passage in each.passages}
    return Detection(
        generation=row,
        candidates=[
            Candidate(hit.id, hit.score, hit.text if hit.id in with_passage else None) for hit in comparison.hits
        ],
        longest_common_run=comparison.longest,
        copied=comparison.copied,
        repeats=comparison.repeats,
        entities_agree=agree,
        personal=personal,
        own=OwnSuffix(own.label, comparison.own_run, own.passages),
        ceiling=comparison.ceiling,
        labels=labels[0],
        paper=labels[1] if len(labels) > 1 else None,
    )


def _align(generation: Document, texts: dict[int, Document], profile: str, direction: str) -> list[AlignedText]:
    """A generation aligned with each of the texts: dict id of the sample -> its text."""
    aligned = []
    for id, text in texts.items():
        if direction == "pan":
            kind, passages = align(generation, text, profile)
        else:
            kind, swapped = align(text, generation, profile)
            passages = [(ours, theirs) for theirs, ours in swapped]
        to_classify = passages if kind == "obfuscated" else []
        pairs = [sentence_pairs(generation, text, passage) for passage in to_classify]
        aligned.append(AlignedText(id, kind, passages, pairs))
    return aligned


def _labels(
    texts: list[AlignedText],
    scores: dict[SentencePair, float] | None,
    row: Generation,
    run: CopiedRun | SuffixRun | None,
    span_length: int,
) -> Labels:
    """The Labels of a row from texts aligned in one direction and the longest run that it shares with them."""
    labels: list[Label] = []
    passages = []
    for id, kind, spans, pairs in texts:
        probabilities = None if scores is None else [[scores[pair] for pair in of_passage] for of_passage in pairs]
        labels.append(candidate_label(kind, None if probabilities is None else list(chain(*probabilities))))
        for i, (ours, theirs) in enumerate(spans):
            probability = max(probabilities[i], default=None) if probabilities else None
            passages.append(Passage(id, labels[-1], ours, theirs, probability))
    copied = run is not None and run.length > span_length
    return Labels(final_label(labels, row.exact_match, copied), best_label(labels), first_label(labels), passages)


_opened: tuple[Index, SpanIndex, ComparisonSettings]  # in each process that compares


def open_here(
    open_index: Callable[[], Index],
    open_spans: Callable[[], SpanIndex],
    settings: ComparisonSettings,
    made_of: dict[str, Any],
) -> None:
    """Open, once in this process, what compare_here takes.

    made_of: of the index that was checked. Raises UserError if there is another one in its place by now.
    """
    global _opened
    index = open_index()
    if differing := difference(index.made_of(), made_of):
        raise UserError(
            f"{index.where}: is not the index that was checked: another {differing}; run this command again"
        )
    _opened = index, open_spans(), settings


def compare_here(rows: Sequence[Generation]) -> list[Comparison]:
    """`compare_batch` with what this process has opened."""
    return compare_batch(rows, *_opened)
