"""From alignments to the label of a generation (design.md, Terms)."""

from collections.abc import Sequence
from typing import Literal, get_args

from memorization.alignment.document import Document

# The label is the first of these that any text gives. `unverified`, a passage that no classifier has judged, is last
# and does not count as memorized.
Label = Literal["verbatim", "paraphrase", "idea", "paraphrase_low", "unverified", "none"]
LABELS: tuple[Label, ...] = get_args(Label)[:-1]
OF_KIND: dict[str, Label] = {"none": "none", "verbatim": "verbatim", "summary": "idea"}  # of an alignment
PARAPHRASE = 0.5  # a sentence pair of a higher probability is a paraphrase, as published


def sentence_pairs(
    generation: Document, text: Document, passage: tuple[tuple[int, int], tuple[int, int]]
) -> list[tuple[str, str]]:
    """All sentence pairs of a passage pair, the generation's sentence first. Pairs of equal words, which are no
    paraphrases, are left out.

    passage: [start, end) in the generation and in the text.
    """

    def inside(document: Document, span: tuple[int, int]) -> list[str]:
        return [document.text[s:e] for s, e in document.sentences if s < span[1] and e > span[0]]

    ours, theirs = inside(generation, passage[0]), inside(text, passage[1])
    return [(a, b) for a in ours for b in theirs if a.lower().split() != b.lower().split()]


def candidate_label(kind: str, probabilities: Sequence[float] | None) -> Label:
    """The label that one text gives.

    kind: of its alignment. probabilities: that each sentence pair of its passages is a paraphrase; None without a
    classifier.
    """
    if kind != "obfuscated":
        return OF_KIND[kind]
    if probabilities is None:
        return "unverified"
    return "paraphrase" if any(p > PARAPHRASE for p in probabilities) else "paraphrase_low"


def best_label(labels: Sequence[Label]) -> Label:
    """The first of LABELS among the labels of the texts, or "none"."""
    return next((label for label in LABELS if label in labels), "none")


def final_label(labels: Sequence[Label], exact_match: bool | None, copied: bool) -> Label:
    """The label of a generation: an exact match (None: not known) and a long copied run are verbatim."""
    return "verbatim" if exact_match or copied else best_label(labels)


def first_label(labels: Sequence[Label]) -> Label:
    """The published rule: the candidates in rank order, the first with any passage pair decides."""
    return next((label for label in labels if label != "none"), "none")
