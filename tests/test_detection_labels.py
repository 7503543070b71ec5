"""The label of a generation from those that the texts give."""

from itertools import combinations

import pytest

from memorization.alignment import prepare
from memorization.detection.labels import LABELS, best_label, candidate_label, final_label, first_label, sentence_pairs


def test_the_strongest_label_counts_and_what_nobody_has_judged_comes_last():
    assert LABELS == ("verbatim", "paraphrase", "idea", "paraphrase_low", "unverified")
    for stronger, weaker in combinations([*LABELS, "none"], 2):
        assert best_label([weaker, stronger, weaker]) == stronger
    assert best_label([]) == first_label([]) == "none"


def test_the_published_label_is_that_of_the_first_text_with_a_passage():
    assert first_label(["none", "paraphrase_low", "verbatim"]) == "paraphrase_low"
    assert first_label(["none"]) == "none"


@pytest.mark.parametrize("label", [*LABELS, "none"])
def test_an_exact_match_or_a_long_copied_run_is_verbatim(label):
    assert final_label([label], True, False) == final_label([label], None, True) == "verbatim"
    assert final_label([label], False, False) == final_label([label], None, False) == label


def test_a_paraphrase_needs_one_sentence_pair_over_a_half():
    assert candidate_label("obfuscated", [0.5, 0.2]) == "paraphrase_low"
    assert candidate_label("obfuscated", [0.2, 0.51]) == "paraphrase"
    assert candidate_label("obfuscated", []) == "paraphrase_low"
    assert candidate_label("obfuscated", None) == "unverified"
    assert [candidate_label(kind, None) for kind in ("none", "verbatim", "summary")] == ["none", "verbatim", "idea"]


def test_the_sentence_pairs_of_a_passage_are_of_all_sentences_it_touches():
    generation, text = prepare("One is here. Two is there. Three is gone."), prepare("Four came late. Five left.")
    pairs = sentence_pairs(generation, text, ((5, 20), (0, 15)))
    assert pairs == [("One is here.", "Four came late."), ("Two is there.", "Four came late.")]
    assert sentence_pairs(generation, text, ((12, 13), (0, 15))) == []
