"""The metrics of a result, as data: a new one is computed somewhere in detections.Detection and listed here.

Those of the pass over the suffix, and the scores that tell members from held-out texts, are in evidence.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from memorization.detection.detections import COMMON

RUNS = (50, 100, 200)  # lengths
ALARMS = 0.01  # the share of held-out texts that may be called a paraphrase
VERDICT = "own"  # the column that decides where it can: members and held-out texts are treated alike in it
MAIN = ("exact_match", VERDICT, "verbatim")  # shown by copies too


class Column(NamedTuple):
    """A metric. heading: at most 18 characters. kind: "share" of probes, "mean", "fraction", the mean of what lies from
    0 to 1, or "score", which is not averaged. value: detection -> bool, float, or None for one that it says nothing of;
    a column that says nothing of any is left out. block: of the table. needs: the field of a generation, or
    ("scores.<field>") of its scores, that the value is computed from: an engine may not give it. ceiling: the same
    value if the generation were its own suffix (design.md, Terms); None where that bounds nothing."""

    name: str
    heading: str
    kind: str
    value: Callable[[Any], bool | float | None]
    meaning: str
    block: str = "generations"
    needs: str = ""
    ceiling: Callable[[Any], bool | float | None] | None = None


def is_loop(row, loop_repeats):
    return row.repeats >= loop_repeats


def columns(span_length, loop_repeats, classifier, direction, names=False):
    """All columns in the order of the table.

    span_length: that a run must be longer than. loop_repeats: of a word 3-gram. classifier: of paraphrases, or None.
    names: whether names were looked for.
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
            ceiling=_of(lambda ceiling: 1.0),
        ),
        Column(
            "near_copy",
            "near copy",
            "share",
            lambda row: row.generation.near and row.generation.near.near_copy,
            "the same but for an edit distance of at most a tenth of the tokens",
            needs="near",
            ceiling=_of(lambda ceiling: 1.0),
        ),
        *(
            Column(
                f"run_{length}",
                f"copied run > {length}",
                "share",
                lambda row, least=length: _longer(row.longest_common_run, least),
                "shares a run of words of more than so many characters (a wide one, as Chinese, counts as two; "
                "punctuation as none) with any training text, of which a member's own is one",
                ceiling=_of(lambda ceiling, least=length: ceiling.longest > least),
            )
            for length in RUNS
        ),
        Column(
            VERDICT,
            f"own run > {span_length}",
            "share",
            lambda row: _says(row, "own"),
            f"says a run of words of more than {span_length} characters that only its own sample and its "
            "near-duplicates hold, member or not, and not in the prefix",
            ceiling=_of(lambda ceiling: ceiling.own),
        ),
        Column(
            "another",
            f"another's > {span_length}",
            "share",
            lambda row: _says(row, "another"),
            "says such a run that exactly one other training sample, with its near-duplicates, holds",
        ),
        Column(
            "shared",
            f"shared run > {span_length}",
            "share",
            lambda row: _says(row, "shared"),
            "says such a run that several samples hold that are no near-duplicates, of either side: what many write",
        ),
        Column(
            "personal",
            "personal data" if names else "personal, no names",
            "share",
            lambda row: any(item.whose == "own" for item in row.personal),
            f"says personal data ({items}) that stands in its own sample, not in the prompt, and not in more than "
            f"{COMMON} samples{unnamed}",
            ceiling=None if names else _of(lambda ceiling: ceiling.personal),
        ),
        Column(
            "another_personal",
            "other's personal" if names else "other's, no names",
            "share",
            lambda row: any(item.whose == "another" for item in row.personal),
            f"says personal data that exactly one other training sample holds, and not the prompt{unnamed}",
        ),
        Column(
            "loop",
            "loop",
            "share",
            lambda row: is_loop(row, loop_repeats),
            f"repeats itself: a run of three words stands in it {loop_repeats} times or more",
        ),
        Column(
            "matched_tokens",
            "matched tokens",
            "mean",
            lambda row: row.generation.matched_tokens,
            "how many tokens agree with its own sample from the end of the prefix on",
            needs="matched_tokens",
            ceiling=_of(lambda ceiling: ceiling.tokens),
        ),
        Column(
            "common_run",
            "token run",
            "mean",
            lambda row: row.generation.near and row.generation.near.common_run,
            "the longest run of tokens in both the generation and its own suffix",
            needs="near",
            ceiling=_of(lambda ceiling: ceiling.tokens),
        ),
        Column(
            "edit_similarity",
            "edit sim.",
            "fraction",
            lambda row: row.generation.near and row.generation.near.edit_similarity,
            "edit similarity to its own suffix, 1 - edit distance / length, in tokens",
            needs="near",
            ceiling=_of(lambda ceiling: 1.0),
        ),
        Column(
            "rouge_l",
            "ROUGE-L",
            "fraction",
            lambda row: row.generation.near and row.generation.near.rouge_l,
            "F1 of the longest common subsequence of tokens with its own suffix",
            needs="near",
            ceiling=_of(lambda ceiling: 1.0),
        ),
        *label_columns(lambda row: row.labels.label, classifier, direction),
        Column(
            "entities_agree",
            "entities agree",
            "share",
            lambda row: row.entities_agree and row.labels.label == "paraphrase",
            "labelled paraphrase, and in a sentence pair that the classifier calls one both name the same persons, "
            "places and so on, or neither any",
        ),
    ]


def without_loops(column, loop_repeats):
    """A column that says nothing of generations that repeat themselves."""
    return column._replace(value=lambda row: None if is_loop(row, loop_repeats) else column.value(row))


def paraphrase_score(row):
    """How surely a generation that is labelled paraphrase is one: the highest probability of its passages, else 0."""
    if row.labels.label != "paraphrase":
        return 0.0
    return max(passage.paraphrase_probability or 0.0 for passage in row.labels.passages)


def calibrated(threshold):
    """The column of paraphrases surer than a threshold that held-out texts chose, without a value of its own."""
    return Column(
        "paraphrase_calibrated",
        f"paraphrase > {threshold:.3f}",
        "share",
        None,
        f"labelled paraphrase with a probability over the one that at most {100 * ALARMS:g} % of held-out texts pass: "
        "a generation has many sentence pairs, of which one is often called a paraphrase at 0.5 by mistake",
    )


def label_columns(label, classifier, direction):
    """The columns of the labels that a function gives for a detection. direction: "pan" or "paper"."""
    longer, shorter = ("training text", "generation") if direction == "pan" else ("generation", "training text")
    meanings = {
        "verbatim": "copies a long run of words of a training text, or is an exact match",
        "paraphrase": "says a training sentence in other words, by the paraphrase classifier",
        "idea": f"its aligned passages are at least three times as long in the {longer} as in the {shorter}; a weak "
        "sign: tried in direction pan it found 2 % of real summaries and 14 to 17 % of unrelated texts of their domain",
        "paraphrase_low": "shares a passage with a training text, but no sentence the classifier calls a paraphrase",
        "any": "any of the labels above",
        "unverified": "passages look alike and no paraphrase classifier was asked; no part of any",
    }
    left_out = {"unverified"} if classifier else {"paraphrase", "paraphrase_low"}

    def value(name):
        if name == "any":
            return lambda row: label(row) not in ("none", "unverified")
        return lambda row: label(row) == name

    return [
        Column(name, name, "share", value(name), meaning) for name, meaning in meanings.items() if name not in left_out
    ]


def _of(value):
    return lambda row: row.ceiling and value(row.ceiling)


def _says(row, whose):
    return any(run.whose(row.generation.cluster) == whose for run in row.copied)


def _longer(run, length):
    return run is not None and run.length > length
