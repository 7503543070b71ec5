"""From alignments to the label of a generation (design.md, Terms)."""

# The first of these that any text gives is the label. `unverified` is a passage that nobody has judged: it is last, and
# no part of what is counted as found.
LABELS = ("verbatim", "paraphrase", "idea", "paraphrase_low", "unverified")


PARAPHRASE = 0.5  # a sentence pair of a higher probability is one, as published


def sentence_pairs(generation, text, passage):
    """The texts of all sentence pairs of a passage pair, the generation's sentence first; but of equal words, which
    are no paraphrase.

    generation, text: prepared documents. passage: ((start, end) in the generation, (start, end) in the text).
    """

    def inside(document, span):
        return [document.text[s:e] for s, e in document.sentences if s < span[1] and e > span[0]]

    ours, theirs = inside(generation, passage[0]), inside(text, passage[1])
    return [(a, b) for a in ours for b in theirs if a.lower().split() != b.lower().split()]


def candidate_label(kind, probabilities):
    """The label that one text gives.

    kind: of its alignment. probabilities: of being a paraphrase, for the sentence pairs of its passages; None without
    a classifier.
    """
    if kind != "obfuscated":
        return {"none": "none", "verbatim": "verbatim", "summary": "idea"}[kind]
    if probabilities is None:
        return "unverified"
    return "paraphrase" if any(p > PARAPHRASE for p in probabilities) else "paraphrase_low"


def best_label(labels):
    """The first of LABELS among the labels of the texts, or "none"."""
    return next((label for label in LABELS if label in labels), "none")


def final_label(labels, exact_match, copied):
    """The label, what lies beyond the alignment included: an exact match (None: not known) and a long copied run."""
    return "verbatim" if exact_match or copied else best_label(labels)


def first_label(labels):
    """The published rule: the candidates in rank order, the first with any passage pair decides."""
    return next((label for label in labels if label != "none"), "none")
