"""The metrics of a result, as data (docs/extending.md): columns of a detection, and scores that tell members apart.

A metric is computed for every detection (detections.Detection) and listed here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec import UNSET

from memorization.detection.detections import COMMON
from memorization.extraction.scores import CHANCES, LENGTHS, QUERIES, least_log_p_z

RUNS = (50, 100, 200)  # lengths
FALSE_ALARMS = 0.01  # the share of held-out texts that may be called a paraphrase
VERDICT = "own"  # the column that decides where it can: members and held-out texts are treated alike in it
MAIN = ("exact_match", VERDICT, "verbatim")  # shown by copies too
WITH_BASE = {  # shown beside the base model
    *(*MAIN, "near_copy", "matched_tokens", "edit_similarity", "rouge_l", "extraction_strength", "loss"),
    "within_100_50",
}
TITLES = {  # of the blocks of the table but the first
    "records": "Recognized as members one by one, with 5 % false discoveries:",
    "pass": "From one pass over each suffix, given its prefix (greedy decoding):",
    "queries": "(n, p)-discoverable: n queries, each sampled with {scheme}, give the suffix at least once with a "
    "chance of p or more:",
}
SAMPLED = (
    "1 - (1 - p_z)^n >= p, at least: of p_z, the probability of the suffix as sampled, the engine gives nothing but "
    "generations, so the lower end of its one-sided 95 % interval counts (Clopper and Pearson 1934)"
)

Value = Callable[[Any], bool | float | None]


class Column(NamedTuple):
    """A metric. heading: at most 18 characters.

    kind: "share" of samples, "mean", "fraction" (the mean of values from 0 to 1), or "score", which is not averaged.
    value: of a Detection; None where the column does not apply. A column that applies to no detection is left out.
    block: of the table. needs: the field of a generation, or ("scores.<field>") of its scores, that the value is
    computed from: an engine may not give it. ceiling: the value if the generation were its own suffix (design.md,
    Terms); None where that bounds nothing. weight: of the value in the mean over a sample's turns, of a Detection;
    None: turns count alike, and of a score the best does (counts.collect).
    """

    name: str
    heading: str
    kind: str
    value: Value
    meaning: str
    block: str = "generations"
    needs: str = ""
    ceiling: Value | None = None
    weight: Callable[[Any], float] | None = None


def columns_of(
    span_length: int, loop_repeats: int, classifier: str | None, direction: str, names: bool = False
) -> list[Column]:
    """The columns of a generation, in the order of the table.

    span_length: that a run must be longer than. loop_repeats: of a word 3-gram. classifier: of paraphrases, or None.
    direction: "pan" or "paper". names: whether the personal data includes names.
    """
    items = "an e-mail address, a number, a date and the like" + (", a name" if names else "")
    unnamed = "" if names else "; names were not looked for: that needs --ner-model"
    return [
        Column(
            "exact_match",
            "exact match",
            "share",
            lambda row: row.generation.exact_match,
            "the generation is exactly what followed the prefix in the sample, as far as either goes",
            needs="exact_match",
            ceiling=_ceiling(lambda ceiling: 1.0),
        ),
        _near("near_copy", "near copy", "share", "the same but for an edit distance of at most a tenth of the tokens"),
        *map(_copied_run, RUNS),
        Column(
            VERDICT,
            f"own run > {span_length}",
            "share",
            lambda row: _holds(row, "own"),
            f"contains a run of words of more than {span_length} characters that occurs in its own sample and its "
            "near-duplicates alone, member or not, and not in the prefix",
            ceiling=_ceiling(lambda ceiling: ceiling.own),
        ),
        Column(
            "another",
            f"another's > {span_length}",
            "share",
            lambda row: _holds(row, "another"),
            "contains such a run that occurs in exactly one other training sample and its near-duplicates",
        ),
        Column(
            "shared",
            f"shared run > {span_length}",
            "share",
            lambda row: _holds(row, "shared"),
            "contains such a run that occurs in several samples, members or not, that are not near-duplicates of each "
            "other: what many write",
        ),
        Column(
            "personal",
            "personal data" if names else "personal, no names",
            "share",
            lambda row: any(item.whose == "own" for item in row.personal),
            f"contains personal data ({items}) that occurs in its own sample, not in the prompt, and in at most "
            f"{COMMON} samples{unnamed}",
            ceiling=None if names else _ceiling(lambda ceiling: ceiling.personal),
        ),
        Column(
            "another_personal",
            "other's personal" if names else "other's, no names",
            "share",
            lambda row: any(item.whose == "another" for item in row.personal),
            f"contains personal data that occurs in exactly one other training sample, and not in the prompt{unnamed}",
        ),
        Column(
            "loop",
            "loop",
            "share",
            lambda row: row.repeats >= loop_repeats,
            f"repeats itself: a run of three words occurs in it {loop_repeats} times or more",
        ),
        Column(
            "matched_tokens",
            "matched tokens",
            "mean",
            _matched_tokens,
            "how many tokens agree with its own sample from the end of the prefix on",
            needs="matched_tokens",
            ceiling=_ceiling(lambda ceiling: ceiling.tokens),
        ),
        _near("common_run", "token run", "mean", "the longest run of tokens in both the generation and its own suffix"),
        _near(
            "edit_similarity",
            "edit sim.",
            "fraction",
            "edit similarity to its own suffix, 1 - edit distance / length, in tokens",
        ),
        _near(
            "rouge_l",
            "ROUGE-L",
            "fraction",
            "F1 of the longest common subsequence of tokens with its own suffix",
        ),
        *label_columns(lambda row: row.labels.label, classifier, direction),
        Column(
            "entities_agree",
            "entities agree",
            "share",
            lambda row: row.entities_agree and row.labels.label == "paraphrase",
            "labelled paraphrase, and in a sentence pair that the classifier calls a paraphrase both sentences name "
            "the same persons, places and so on, or neither names any",
        ),
    ]


def without_loops(column: Column, loop_repeats: int) -> Column:
    """The column, without a value for generations that repeat themselves."""
    return column._replace(value=lambda row: None if row.repeats >= loop_repeats else column.value(row))


def label_columns(label: Callable[[Any], str], classifier: str | None, direction: str) -> list[Column]:
    """The columns of a detection's label. direction: "pan" or "paper"."""
    longer, shorter = ("training text", "generation") if direction == "pan" else ("generation", "training text")
    meanings = {
        "verbatim": "copies a long run of words of a training text, or is an exact match",
        "paraphrase": "puts a training sentence in other words, by the paraphrase classifier",
        "idea": f"its aligned passages are at least three times as long in the {longer} as in the {shorter}; a weak "
        "sign: tried in direction pan it found 2 % of real summaries and 14 to 17 % of unrelated texts of their domain",
        "paraphrase_low": "shares a passage with a training text, but no sentence that the classifier calls paraphrase",
        "any": "any of the labels above",
        "unverified": "has passages like a training text's, which no paraphrase classifier judged; not counted in any",
    }
    left_out = {"unverified"} if classifier else {"paraphrase", "paraphrase_low"}

    def column(name: str) -> Column:
        def value(row: Any) -> bool:
            return label(row) not in ("none", "unverified") if name == "any" else label(row) == name

        return Column(name, name, "share", value, meanings[name])

    return [column(name) for name in meanings if name not in left_out]


def paraphrase_score(row: Any) -> float:
    """How surely a generation that is labelled paraphrase is one: the highest probability of its passages, else 0."""
    if row.labels.label != "paraphrase":
        return 0.0
    return max(passage.paraphrase_probability or 0.0 for passage in row.labels.passages)


def calibrated_paraphrases(threshold: float) -> Column:
    """The column of paraphrases with a score over a threshold that held-out texts chose."""
    return Column(
        "paraphrase_calibrated",
        f"paraphrase > {threshold:.3f}",
        "share",
        _of_all,
        f"labelled paraphrase with a probability over the one that at most {100 * FALSE_ALARMS:g} % of held-out texts "
        "pass: a generation has many sentence pairs, of which one is often called a paraphrase at 0.5 by mistake",
    )


def pass_columns() -> list[Column]:
    """The columns of the teacher-forced pass over the suffix (extraction.scores), in the order of the table."""
    return [
        *map(_exact, LENGTHS),
        _of_pass(
            "extraction_strength",
            "ext. strength",
            "fraction",
            "extraction_strength",
            lambda scores: scores.extraction_strength,
            "the share of the suffix, from its end, that greedy decoding gives once it is given everything before",
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
            _tokens,
        ),
        *(_within(queries, chance) for chance in CHANCES for queries in QUERIES),
    ]


def score_columns(classifier: str | None) -> list[Column]:
    """Scores, higher where a text is likelier to have been trained on, that treat members and held-out texts alike.

    First what generations and the pass say of extraction, then attacks on membership. classifier: of paraphrases, or
    None.
    """
    p_z = "the logarithm of the probability of the suffix as sampled"
    zlib = "minus the loss over the bytes that the text takes compressed"
    min_k = "the mean log probability of the fifth of the tokens with the least"
    min_k_plus = "the same, each standardized over the vocabulary"
    return [
        Column(
            "matched_tokens",
            "matched tokens",
            "score",
            _matched_tokens,
            "",
            needs="matched_tokens",
        ),
        Column("own_run", "own run, longest", "score", _own_run, ""),
        _near("common_run", "token run", "score", ""),
        _near("edit_similarity", "edit sim.", "score", ""),
        _near("rouge_l", "ROUGE-L", "score", ""),
        _score("extraction_strength", "ext. strength", "extraction_strength", lambda s: s.extraction_strength),
        _score("log_p_z", "log p_z", "log_p_z", lambda s: float(s.log_p_z), p_z),
        _score("loss", "- loss", "log_likelihood", _mean_log, weight=_tokens),
        _score("zlib", "- loss / zlib", "log_likelihood", lambda s: _mean_log(s) / s.zlib_bytes, zlib),
        _score("min_k", "min-k %", "min_k", lambda s: float(s.min_k), min_k),
        _score("min_k_plus", "min-k %++", "min_k_plus", lambda s: float(s.min_k_plus), min_k_plus),
        *([Column("paraphrase", "paraphrase", "score", paraphrase_score, "")] if classifier else []),
    ]


def curve_columns() -> list[Column]:
    """What curves over a length or a number of queries are drawn of, beside the matched tokens."""
    [log_p_z] = (column for column in score_columns(None) if column.name == "log_p_z")
    return [
        Column("longest_own", "", "score", lambda row: _longest(row, "own"), ""),
        Column("longest_another", "", "score", lambda row: _longest(row, "another"), ""),
        Column("longest_any", "", "score", lambda row: max((run.length for run in row.copied), default=0), ""),
        log_p_z._replace(name="best_log_p_z", weight=None),
    ]


def _longest(row: Any, whose: str) -> int:
    """The length of a detection's longest run of that holder (CopiedRun.whose), 0 without."""
    return max((run.length for run in row.copied if run.whose(row.generation.cluster) == whose), default=0)


def _of_all(row: Any) -> None:
    """The value of a column that summarize computes from other columns, or from two models."""


def recognizable_members(score: str) -> Column:
    """The column of samples that a score, by its heading, tells from held-out ones (records.recognize)."""
    return Column(
        "recognizable",
        "recognizable",
        "share",
        _of_all,
        f"{score} is so much higher than of held-out samples that at most 5 % of the samples found are false (by p, "
        "Benjamini and Hochberg 1995)",
        "records",
    )


EZ = Column(
    "ez",
    "EZ to base",
    "score",
    _of_all,
    "of the tokens that greedy decoding does not give, the share of all changes in log probability by fine-tuning that "
    "makes them likelier",
    needs="scores.matched_tokens",
    weight=lambda row: 1.0,
)
WBC = Column(
    "wbc",
    "WBC to base",
    "score",
    _of_all,
    "the share of runs of 2 to 40 tokens that fine-tuning made likelier",
    needs="scores.log_likelihood",
    weight=lambda row: 1.0,
)
RATIO = Column(  # Mireshghallah et al. 2022
    "ratio",
    "ratio to base",
    "score",
    _of_all,
    "minus the loss, less that of the base model",
    needs="scores.log_likelihood",
)


def _near(field: str, heading: str, kind: str, meaning: str) -> Column:
    """A column of a field of extraction.matches.Near."""
    of_tokens = field == "common_run"
    return Column(
        field,
        heading,
        kind,
        lambda row: row.generation.near and getattr(row.generation.near, field),
        meaning,
        needs="near",
        ceiling=_ceiling(lambda ceiling: ceiling.tokens if of_tokens else 1.0),
    )


def _copied_run(length: int) -> Column:
    return Column(
        f"run_{length}",
        f"copied run > {length}",
        "share",
        lambda row: row.longest_common_run is not None and row.longest_common_run.length > length,
        "contains a run of words of more than so many characters (wide ones, such as Chinese, count as two, "
        "punctuation as none) that occurs in a training text, a member's own included",
        ceiling=_ceiling(lambda ceiling: ceiling.longest > length),
    )


def _exact(tokens: int) -> Column:
    return _of_pass(
        f"exact_{tokens}",
        f"exact at {tokens}",
        "share",
        "matched_tokens",
        lambda scores: None if scores.tokens < tokens else scores.matched_tokens >= tokens,
        "greedy decoding gives the first so many tokens of the suffix, where it has as many",
        "pass",
    )


def sampled_columns() -> dict[str, tuple[Column, int, float]]:
    """By name, the columns of (n, p) and their n and p where p_z is bounded by what was sampled."""
    every = [(_within(queries, chance), queries, chance) for chance in CHANCES for queries in QUERIES]
    return {
        column.name: (column._replace(meaning=SAMPLED, needs="exact_match"), queries, chance)
        for column, queries, chance in every
    }


def _within(queries: int, chance: float) -> Column:
    least = least_log_p_z(queries, chance)
    return _of_pass(
        f"within_{queries}_{100 * chance:g}",
        f"n {queries:,}, p {chance:g}",
        "share",
        "log_p_z",
        lambda scores: float(scores.log_p_z) >= least,
        "1 - (1 - p_z)^n >= p, where p_z is the probability of the suffix as sampled",
        "queries",
    )


def _score(
    name: str,
    heading: str,
    needs: str,
    value: Value,
    meaning: str = "",
    weight: Callable[[Any], float] = lambda row: 1.0,
) -> Column:
    """A score of the pass: of several turns their mean counts, as long chats would else have the best."""
    return _of_pass(name, heading, "score", needs, value, meaning, weight=weight)


def _of_pass(
    name: str,
    heading: str,
    kind: str,
    needs: str,
    value: Value,
    meaning: str,
    block: str = "generations",
    weight: Callable[[Any], float] | None = None,
) -> Column:
    """A column of the field `needs` of a detection's scores, with no value where that was not computed."""

    def of_row(row: Any) -> bool | float | None:
        scores = row.generation.scores
        return None if scores is None or getattr(scores, needs) is UNSET else value(scores)

    return Column(name, heading, kind, of_row, meaning, block, f"scores.{needs}", weight=weight)


def _matched_tokens(row: Any) -> int | None:
    return row.generation.matched_tokens


def _own_run(row: Any) -> int:
    return row.own.run.length if row.own.run else 0


def _holds(row: Any, whose: str) -> bool:
    return any(run.whose(row.generation.cluster) == whose for run in row.copied)


def _ceiling(value: Value) -> Value:
    return lambda row: row.ceiling and value(row.ceiling)


def _tokens(row: Any) -> int:
    return row.generation.scores.tokens


def _mean_log(scores: Any) -> float:
    return float(scores.log_likelihood) / scores.tokens
