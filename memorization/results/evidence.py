"""What one pass over each suffix says (extraction.scores), as columns, and the scores that may tell members apart."""

import math

from memorization.extraction.scores import CHANCES, LENGTHS, QUERIES, discoverable
from memorization.results.columns import Column, paraphrase_score

TITLES = {  # of the blocks of the table
    "pass": "From one pass over each suffix, given its prefix (greedy decoding):",
    "queries": "(n, p)-discoverable: n queries, each sampled with {scheme}, give the suffix at least once with a "
    "chance of p or more:",
}


def columns():
    """The columns of the pass, in the order of the table."""
    return [
        *(
            Column(
                f"exact_{tokens}",
                f"exact at {tokens}",
                "share",
                _of(lambda scores, tokens=tokens: None if scores.tokens < tokens else scores.matched_tokens >= tokens),
                "greedy decoding gives the first so many tokens of the suffix, where it has as many",
                "pass",
            )
            for tokens in LENGTHS
        ),
        Column(
            "extraction_strength",
            "ext. strength",
            "fraction",
            _of(lambda scores: scores.extraction_strength),
            "the share of the suffix, from its end, that greedy decoding gives once it is given all before",
            "pass",
        ),
        Column(
            "loss",
            "loss",
            "mean",
            _of(lambda scores: -scores.log_likelihood / scores.tokens if scores.log_likelihood is not None else None),
            "minus the natural logarithm of the probability of the suffix, by token",
            "pass",
        ),
        *(
            Column(
                f"within_{queries}_{100 * chance:g}",
                f"n {queries:,}, p {chance:g}",
                "share",
                _of(lambda scores, n=queries, p=chance: bool(discoverable(_log(scores.log_p_z), n, p))),
                "1 - (1 - p_z)^n >= p, where p_z is the probability of the suffix as sampled",
                "queries",
            )
            for chance in CHANCES
            for queries in QUERIES
        ),
    ]


def scores(classifier):
    """Scores, higher where a text is likelier to have been trained on, that treat members and held-out texts alike.

    First what generations and the pass say of extraction, then attacks on membership. classifier: of paraphrases, or
    None.
    """
    found = [
        ("matched_tokens", "matched tokens", lambda row: row.generation.matched_tokens, ""),
        ("own_run", "own run, longest", lambda row: row.own.run.length if row.own.run else 0, ""),
        ("common_run", "token run", lambda row: row.generation.near and row.generation.near.common_run, ""),
        ("edit_similarity", "edit sim.", lambda row: row.generation.near and row.generation.near.edit_similarity, ""),
        ("rouge_l", "ROUGE-L", lambda row: row.generation.near and row.generation.near.rouge_l, ""),
        ("extraction_strength", "ext. strength", _of(lambda scores: scores.extraction_strength), ""),
        (
            "log_p_z",
            "log p_z",
            _of(lambda scores: _log(scores.log_p_z)),
            "the logarithm of the probability of the suffix as sampled",
        ),
        ("loss", "- loss", _of(_mean_log), ""),
        (
            "zlib",
            "- loss / zlib",
            _of(lambda scores: _mean_log(scores) / scores.zlib_bytes),
            "minus the loss over the bytes that the text takes compressed",
        ),
        (
            "min_k",
            "min-k %",
            _of(lambda scores: _log(scores.min_k)),
            "the mean log probability of the fifth of the tokens with the least",
        ),
        (
            "min_k_plus",
            "min-k %++",
            _of(lambda scores: _log(scores.min_k_plus)),
            "the same, each standardized over the vocabulary",
        ),
    ]
    if classifier:
        found.append(("paraphrase", "paraphrase", paraphrase_score, ""))
    return [Column(name, heading, "score", value, meaning) for name, heading, value, meaning in found]


# the log likelihood of a token less that by the base model (Mireshghallah et al. 2022); without a value of its own
RATIO = Column("ratio", "ratio to base", "score", None, "minus the loss, less that of the base model")


def scheme(made_of):
    """How a query of (n, p) samples, in words. made_of: of the generations; greedy ones are scored at temperature 1."""
    said = [f"temperature {made_of['temperature'] or 1:g}"]
    if made_of["top_k"]:
        said.append(f"top-k {made_of['top_k']}")
    if made_of["top_p"] < 1:
        said.append(f"top-p {made_of['top_p']:g}")
    return ", ".join(said)


def _of(value):
    return lambda row: row.generation.scores and value(row.generation.scores)


def _mean_log(scores):
    return _log(scores.log_likelihood) / scores.tokens


def _log(value):
    return -math.inf if value is None else value
