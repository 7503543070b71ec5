"""Alignments worked out by hand, and the fast version beside the plain one on made-up documents."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memorization.alignment import PROFILES, Profile, align, longest_common_run, prepare, reference
from memorization.alignment.verbatim import common_runs

CAT = "The grey cat chased seven mice through the old granary. Every evening it slept beside the kitchen stove."
SEA = "Fishermen mended their nets along the quiet harbour. A storm had torn them during the night."
LAW = "Parliament passed the budget after long debates. Critics called several taxes unfair."


def test_a_copied_passage_is_verbatim_and_its_spans_are_exact():
    suspicious, source = f"{LAW} {CAT}", f"{CAT} {SEA}"
    kind, passages = align(suspicious, source, "paper")
    assert kind == "verbatim"
    assert [(suspicious[a:b], source[c:d]) for (a, b), (c, d) in passages] == [(CAT, CAT)]


def test_a_passage_too_short_for_the_profile_is_no_case():
    assert align(f"{LAW} {CAT}", f"{CAT} {SEA}", "pan") == ("none", [])


def test_the_profiles_are_the_published_ones():
    common = {"th1": 0.30, "th2": 0.33, "th3": 0.34, "src_gap": 4, "susp_gap": 4, "min_sentlen": 3}
    common |= {"src_gap_summary": 24, "susp_gap_summary": 24, "summary_ratio": 3}
    assert asdict(PROFILES["paper"]) == common | {"min_plaglen": 50, "verbatim_minlen": 50}
    assert asdict(PROFILES["pan"]) == common | {"min_plaglen": 150, "verbatim_minlen": 256}


def test_an_edited_passage_is_obfuscated():
    edited = "Seven mice the grey cat chased today through an old granary. Beside the stove it slept every evening."
    kind, passages = align(f"{LAW} {edited}", f"{CAT} {SEA}", "paper")
    assert kind == "obfuscated"
    assert passages == [((len(LAW) + 1, len(LAW) + 1 + len(edited)), (0, len(CAT)))]


def test_a_passage_that_occurs_twice_in_the_source_is_found_twice():
    kind, passages = align(f"{LAW} {CAT}", f"{CAT} {SEA} {CAT}", "paper")
    start = len(LAW) + 1
    again = len(CAT) + len(SEA) + 2
    assert kind == "verbatim"
    assert {source for _, source in passages} == {(0, len(CAT)), (again, again + len(CAT))}
    assert {suspicious for suspicious, _ in passages} == {(start, start + len(CAT))}


def test_texts_and_prepared_documents_give_the_same():
    assert align(prepare(f"{LAW} {CAT}"), prepare(CAT), PROFILES["paper"]) == align(f"{LAW} {CAT}", CAT, "paper")


def test_the_span_scan_sees_a_single_copied_sentence_and_a_run_inside_a_longer_one():
    sentence = "the grey cat chased seven mice through the old granary"
    assert align(sentence, sentence, "paper").kind == "none"  # N = 2 and sf = 2: every weight is 0
    assert longest_common_run(sentence, sentence) == ((0, len(sentence)), (0, len(sentence)))
    suspicious, source = f"Yesterday {sentence} and left", f"Some say {sentence.upper()}, others that it did not"
    (a, b), (c, d) = longest_common_run(suspicious, source)
    assert (suspicious[a:b], source[c:d]) == (sentence, sentence.upper())
    assert longest_common_run("one two", "three four") is None


def test_sentence_spans_outside_the_text_are_refused():
    for spans in ([(0, 4)], [(2, 1)], [(0, 2), (1, 3)], [(-1, 2)]):
        with pytest.raises(ValueError, match="span"):
            prepare("abc", spans)


VOCABULARY = "cat dog bird house river garden doctor letter winter market running quickly Mr. don't"
WORDS = st.sampled_from(VOCABULARY.split())
SENTENCES = st.lists(WORDS, min_size=1, max_size=8).map(lambda words: " ".join(words).capitalize() + ". ")
POOL = st.lists(SENTENCES, min_size=2, max_size=8)


@st.composite
def made_up_pairs(draw):
    """Two documents that draw many sentences from a small pool, so that cases overlap, nest and repeat."""
    pool = draw(POOL)
    one = st.lists(st.one_of(st.sampled_from(pool), SENTENCES), max_size=14).map("".join)
    return draw(one), draw(one)


@settings(max_examples=150, deadline=None)
@given(made_up_pairs(), st.integers(0, 4), st.integers(1, 60))
def test_made_up_documents_align_as_by_the_plain_version(pair, gap, minlen):
    profile = Profile(src_gap=gap, min_plaglen=minlen, verbatim_minlen=minlen, src_gap_summary=6, susp_gap_summary=6)
    suspicious, source = pair
    kind, passages = reference.align(
        suspicious, source, reference.split_sentences(suspicious), reference.split_sentences(source), profile
    )
    assert align(suspicious, source, profile) == (kind, sorted(passages))


@settings(max_examples=200, deadline=None)
@given(*[st.lists(st.integers(0, 2), max_size=30)] * 2)
def test_common_runs_are_those_of_the_plain_version(suspicious, source):
    runs = common_runs(np.array(suspicious, np.int64), np.array(source, np.int64)).tolist()
    sides = [[(word, i, i + 1) for i, word in enumerate(words)] for words in (suspicious, source)]
    assert sorted(((a, a + n), (b, b + n)) for a, b, n in runs) == sorted(reference.common_runs(*sides))
