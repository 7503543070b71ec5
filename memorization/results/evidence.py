"""What one pass over each suffix says (extraction.scores), as columns, and the scores that may tell members apart."""

from msgspec import UNSET

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
            _of_pass(
                f"exact_{tokens}",
                f"exact at {tokens}",
                "share",
                "matched_tokens",
                lambda scores, tokens=tokens: None if scores.tokens < tokens else scores.matched_tokens >= tokens,
                "greedy decoding gives the first so many tokens of the suffix, where it has as many",
                "pass",
            )
            for tokens in LENGTHS
        ),
        _of_pass(
            "extraction_strength",
            "ext. strength",
            "fraction",
            "extraction_strength",
            lambda scores: scores.extraction_strength,
            "the share of the suffix, from its end, that greedy decoding gives once it is given all before",
            "pass",
        ),
        _of_pass(
            "loss",
            "loss",
            "mean",
            "log_likelihood",
            lambda scores: None if scores.log_likelihood == "-inf" else -_mean_log(scores),
            "minus the natural logarithm of the probability of the suffix, by token",
            "pass",
        ),
        *(
            _of_pass(
                f"within_{queries}_{100 * chance:g}",
                f"n {queries:,}, p {chance:g}",
                "share",
                "log_p_z",
                lambda scores, n=queries, p=chance: bool(discoverable(float(scores.log_p_z), n, p)),
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

    def of_row(name, heading, value, needs=""):
        return Column(name, heading, "score", value, "", needs=needs)

    def of_pass(name, heading, needs, value, meaning=""):
        return _of_pass(name, heading, "score", needs, value, meaning)

    columns = [
        of_row("matched_tokens", "matched tokens", lambda row: row.generation.matched_tokens, "matched_tokens"),
        of_row("own_run", "own run, longest", lambda row: row.own.run.length if row.own.run else 0),
        of_row("common_run", "token run", lambda row: row.generation.near and row.generation.near.common_run, "near"),
        of_row(
            "edit_similarity",
            "edit sim.",
            lambda row: row.generation.near and row.generation.near.edit_similarity,
            "near",
        ),
        of_row("rouge_l", "ROUGE-L", lambda row: row.generation.near and row.generation.near.rouge_l, "near"),
        of_pass(
            "extraction_strength", "ext. strength", "extraction_strength", lambda scores: scores.extraction_strength
        ),
        of_pass(
            "log_p_z",
            "log p_z",
            "log_p_z",
            lambda scores: float(scores.log_p_z),
            "the logarithm of the probability of the suffix as sampled",
        ),
        of_pass("loss", "- loss", "log_likelihood", _mean_log),
        of_pass(
            "zlib",
            "- loss / zlib",
            "log_likelihood",
            lambda scores: _mean_log(scores) / scores.zlib_bytes,
            "minus the loss over the bytes that the text takes compressed",
        ),
        of_pass(
            "min_k",
            "min-k %",
            "min_k",
            lambda scores: float(scores.min_k),
            "the mean log probability of the fifth of the tokens with the least",
        ),
        of_pass(
            "min_k_plus",
            "min-k %++",
            "min_k_plus",
            lambda scores: float(scores.min_k_plus),
            "the same, each standardized over the vocabulary",
        ),
    ]
    return columns + ([of_row("paraphrase", "paraphrase", paraphrase_score)] if classifier else [])


# the log likelihood of a token less that by the base model (Mireshghallah et al. 2022); without a value of its own
RATIO = Column(
    "ratio",
    "ratio to base",
    "score",
    None,
    "minus the loss, less that of the base model",
    needs="scores.log_likelihood",
)


def scheme(made_of):
    """How a query of (n, p) samples, in words. made_of: of the generations; greedy ones are scored at temperature 1."""
    said = [f"temperature {made_of['temperature'] or 1:g}"]
    if made_of["top_k"]:
        said.append(f"top-k {made_of['top_k']}")
    if made_of["top_p"] < 1:
        said.append(f"top-p {made_of['top_p']:g}")
    return ", ".join(said)


def _of_pass(name, heading, kind, needs, value, meaning, block="generations"):
    """A Column of the field `needs` of a row's scores: without a value where that was not computed."""

    def of_row(row):
        scores = row.generation.scores
        return None if scores is None or getattr(scores, needs) is UNSET else value(scores)

    return Column(name, heading, kind, of_row, meaning, block, f"scores.{needs}")


def _mean_log(scores):
    return float(scores.log_likelihood) / scores.tokens
