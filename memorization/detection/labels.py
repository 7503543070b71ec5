"""From alignments with its candidates to the label of a generation (design: Terms)."""

# the first of these that any candidate gives is the generation's label
LABELS = ("verbatim", "paraphrase", "idea", "paraphrase_low", "unverified")
MEANINGS = {
    "verbatim": "copies a run of words of a training text",
    "paraphrase": "says a training sentence in other words, by the paraphrase classifier",
    "idea": "condenses a longer training passage",
    "paraphrase_low": "shares a passage with a training text, but no sentence the classifier calls a paraphrase",
    "unverified": "shares a passage with a training text; no paraphrase classifier was asked",
}


def sentence_pairs(generation, candidate, passage):
    """The texts of all sentence pairs of a passage pair, the generation's sentence first.

    generation, candidate: prepared documents. passage: ((start, end) in the generation, (start, end) in the candidate).
    """

    def inside(document, span):
        return [document.text[s:e] for s, e in document.sentences if s < span[1] and e > span[0]]

    ours, theirs = inside(generation, passage[0]), inside(candidate, passage[1])
    return [(a, b) for a in ours for b in theirs]


def candidate_label(kind, probabilities):
    """The label that one candidate gives.

    kind: of its alignment. probabilities: of being a paraphrase, for the sentence pairs of its passages; None without
    a classifier.
    """
    if kind != "obfuscated":
        return {"none": "none", "verbatim": "verbatim", "summary": "idea"}[kind]
    if probabilities is None:
        return "unverified"
    return "paraphrase" if any(p > 0.5 for p in probabilities) else "paraphrase_low"


def best_label(labels):
    """The first of LABELS among the candidates' labels, or "none"."""
    return next((label for label in LABELS if label in labels), "none")


def first_label(labels):
    """The published rule: the candidates in rank order, the first with any passage pair decides."""
    return next((label for label in labels if label != "none"), "none")
