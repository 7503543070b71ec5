"""What one pass over each suffix says (extraction.scores), as columns, and the scores that may tell members apart."""

import math

from memorization.extraction.scores import CHANCES, LENGTHS, QUERIES, discoverable
from memorization.results.columns import Column, paraphrase_score

BLOCK = "pass"


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
                BLOCK,
            )
            for tokens in LENGTHS
        ),
        Column(
            "extraction_strength",
            "ext. strength",
            "fraction",
            _of(lambda scores: scores.extraction_strength),
            "the share of the suffix, from its end, that greedy decoding gives once it is given all before",
            BLOCK,
        ),
        Column(
            "loss",
            "loss",
            "mean",
            _of(lambda scores: -scores.log_likelihood / scores.tokens if scores.log_likelihood is not None else None),
            "minus the natural logarithm of the probability of a token of the suffix",
            BLOCK,
        ),
        *(
            Column(
                f"within_{queries}_{100 * chance:g}",
                f"in {queries} at {chance:g}",
                "share",
                _of(lambda scores, n=queries, p=chance: bool(discoverable(_log(scores.log_p_z), n, p))),
                "so many queries, sampled, give the suffix at least once with a chance of 0.5 or 0.9",
                BLOCK,
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
        ("matched_tokens", "matched tokens", lambda row: row.matched_tokens),
        ("own_run", "own run, longest", lambda row: row.own.run.characters if row.own.run else 0),
        ("common_run", "token run", lambda row: row.near and row.near.common_run),
        ("edit_similarity", "edit similarity", lambda row: row.near and row.near.edit_similarity),
        ("rouge_l", "ROUGE-L", lambda row: row.near and row.near.rouge_l),
        ("extraction_strength", "ext. strength", _of(lambda scores: scores.extraction_strength)),
        ("log_p_z", "log p_z", _of(lambda scores: _log(scores.log_p_z))),
        ("loss", "- loss", _of(_mean_log)),
        ("zlib", "- loss / zlib", _of(lambda scores: _mean_log(scores) / scores.zlib_bytes)),
        ("min_k", "min-k %", _of(lambda scores: _log(scores.min_k))),
        ("min_k_plus", "min-k %++", _of(lambda scores: _log(scores.min_k_plus))),
    ]
    if classifier:
        found.append(("paraphrase", "paraphrase", paraphrase_score))
    return [Column(name, heading, "score", value, "") for name, heading, value in found]


# the log likelihood of a token less that by the base model (Mireshghallah et al. 2022); without a value of its own
RATIO = Column("ratio", "ratio to base", "score", None, "")


def scheme(made_of):
    """How a query of (n, p) samples, in words. made_of: of the generations; greedy ones are scored at temperature 1."""
    said = [f"temperature {made_of['temperature'] or 1:g}"]
    if made_of["top_k"]:
        said.append(f"top-k {made_of['top_k']}")
    if made_of["top_p"] < 1:
        said.append(f"top-p {made_of['top_p']:g}")
    return ", ".join(said)


def _of(value):
    return lambda row: row.scores and value(row.scores)


def _mean_log(scores):
    return _log(scores.log_likelihood) / scores.tokens


def _log(value):
    return -math.inf if value is None else value
