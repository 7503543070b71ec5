"""From generations to detections: labels, spans, the own suffix, the classifier."""

import pytest

from memorization.alignment import align, longest_common_run
from memorization.detection.detect import ComparisonSettings, detect
from memorization.extraction.generations import Reach
from memorization.retrieval.embedded import EmbeddedIndex
from support.generation_rows import generation, load_index, load_spans

CAT = "The grey cat chased seven mice through the old granary. Every evening it slept beside the kitchen stove."
SEA = "Fishermen mended their nets along the quiet harbour. A storm had torn them during the night."
LAW = "Parliament passed the budget after long debates. Critics called several taxes unfair."
EDITED = "Seven mice the grey cat chased today through an old granary. Beside the stove it slept every evening."
ONE = "a storm had torn them during the night, when nobody listened"  # within one sentence: invisible to the aligner
LENGTH = len(ONE) - len(",")
LONG = (
    "The old grey cat chased seven hungry mice up and down through the dusty granary of the farm. "
    "The cat was grey, the granary was old, and seven mice had been chased through it by the cat since early spring. "
    "Beside the warm kitchen stove it slept until late, and nobody in the kitchen disturbed it as it slept near the "
    "stove. Slept well, warm kitchen, old stove: such were its evenings there beside the stove in the kitchen."
)
CONDENSED = "The grey cat chased mice in the old granary. It slept beside the kitchen stove."
SUFFIXES = {10: f"{CAT} {SEA}", 11: f"{SEA} {LAW}", 12: LAW, 13: f"They said {ONE}, unlike {LAW}"}


@pytest.fixture(scope="module")
def find(tmp_path_factory):
    """detect() with the index of these members: find({id: suffix}, rows, ...) -> list of detections."""

    def find(suffixes, rows, profile="paper", directions=("pan",), span_length=50, classify=None, candidates=10):
        indexes = tmp_path_factory.mktemp("indexes")
        index, members = EmbeddedIndex(indexes, "test"), [generation(id, "", text) for id, text in suffixes.items()]
        load_index(index, members)
        spans = load_spans(tmp_path_factory.mktemp("spans"), [*members, *rows])
        return detect(rows, index, spans, ComparisonSettings(profile, directions, candidates, span_length), classify)

    return find


def common_words(pairs):
    """A classifier for the tests: the share of the first sentence's words that the second has."""
    return {(a, b): len({*a.split()} & {*b.split()}) / len({*a.split()}) for a, b in pairs}


LABELLED = {  # id -> generation, expected label and label without the span scan
    10: (f"{LAW} {CAT}", "verbatim", "verbatim"),
    11: ("", "none", "none"),
    12: (f"Seagulls cried over {ONE} but fled", "verbatim", "none"),
    13: (f"{LAW.upper()[:30]} {EDITED}", "unverified", "unverified"),
    100: ("Nothing of this kind was written anywhere before now.", "none", "none"),
    101: ("\0 \U0001f600 ... !!! \u05e9\u05dc\u05d5\u05dd", "none", "none"),
}


def test_generations_get_their_labels_with_and_without_the_span_scan(find):
    rows = [
        generation(id, text, SUFFIXES.get(id, "held out"), sample=id % 3, duplicates=id, matched_tokens=id + 1)
        for id, (text, *_) in LABELLED.items()
    ]
    detections = {row.generation.id: row for row in find(SUFFIXES, rows)}
    labels = {id: [row.labels.label, row.labels.label_without_scan] for id, row in detections.items()}
    assert labels == {id: expected for id, (_, *expected) in LABELLED.items()}
    for row in rows:
        assert detections[row.id].generation == row
    passage = detections[10].labels.passages[0]
    theirs = SUFFIXES[passage.candidate][slice(*passage.candidate_span)]
    assert LABELLED[10][0][slice(*passage.generation_span)] == theirs
    run = detections[12].longest_common_run
    assert LABELLED[12][0][slice(*run.generation_span)] == ONE == f"prefix 13 {SUFFIXES[13]}"[slice(*run.sample_span)]
    assert (run.sample, run.length, run.holders, run.members) == (13, LENGTH, 1, 1)
    assert detections[12].copied == [run]
    texts = {hit.id: hit.text for hit in detections[10].candidates}
    assert texts == {
        id: SUFFIXES[id] if id in {p.candidate for p in detections[10].labels.passages} else None for id in texts
    }


def test_the_span_scan_has_a_length_of_its_own_that_a_run_must_exceed(find):
    rows = [generation(12, f"Seagulls cried over {ONE} but fled", LAW)]
    for profile in ("paper", "pan"):
        labels = [find(SUFFIXES, rows, profile, span_length=n)[0].labels.label for n in (LENGTH - 1, LENGTH)]
        assert labels == ["verbatim", "none"]


def test_the_longest_run_is_of_any_training_text_candidate_or_not(find):
    scattered = " ".join(sorted(SEA.split())) + " mended their nets"
    suffixes = {10: scattered, 11: f"{SEA} {LAW}", 12: f"{SEA} {LAW} {LAW}"}
    (row,) = find(suffixes, [generation(100, SEA, scattered)], candidates=1)
    assert [hit.id for hit in row.candidates] == [10]
    assert (row.longest_common_run.sample, row.longest_common_run.holders) == (11, 2)
    assert (row.longest_common_run.length, row.own.run.length) == (len(SEA) - len(".."), len("mended their nets"))
    assert row.labels.label == "verbatim" and row.labels.label_without_scan == "unverified"


def test_whose_a_copied_run_is(find):
    """Own, another's, held-out, shared; what the prompt says is no copy of it, but its sample is a holder."""
    suffixes = {10: f"{CAT} Unlike {ONE}", 11: f"Seagulls cried over {ONE} but fled", 12: LAW}
    others = [generation(100, "", CONDENSED)]
    texts = [CAT, ONE, LAW, CONDENSED, "Nothing of this kind was written anywhere before now."]
    rows = [generation(10, text, suffixes[10]) for text in texts] + others
    runs = [[(run.sample, run.holders, run.members) for run in row.copied] for row in find(suffixes, rows)[:5]]
    assert runs == [[(10, 1, 1)], [(10, 2, 2)], [(12, 1, 1)], [(100, 1, 0)], []]
    prompted = [generation(14, text, "and no more.", prefix=f"{CAT} {ONE} ") for text in (CAT, ONE)]
    detections = find({11: suffixes[11], 14: "and no more."}, prompted)
    assert [run.sample for row in detections for run in row.copied] == [11]


def test_idea_means_condensed_in_direction_pan_only(find):
    rows = [generation(10, CONDENSED, LONG)]
    (both,) = find({10: LONG}, rows, directions=("pan", "paper"))
    assert (both.labels.label, both.paper.label) == ("idea", "unverified")
    for result in (both.labels, both.paper):
        (passage,) = result.passages
        assert passage.generation_span[1] <= len(CONDENSED) < passage.candidate_span[1] <= len(LONG)
    (alone,) = find({10: LONG}, rows, directions=("paper",))
    assert alone.labels == both.paper and alone.paper is None
    assert (both.own.label, alone.own.label) == ("idea", "unverified")


TEXTS = [("", LAW), (CAT, ""), (f"{LAW} {CAT}", f"{CAT} {SEA}"), (EDITED, CAT), (ONE, SEA), (CONDENSED, LONG)]


@pytest.mark.parametrize("profile", ["paper", "pan"])
@pytest.mark.parametrize("direction", ["pan", "paper"])
def test_members_and_held_out_texts_are_aligned_alike_with_their_own_suffixes(find, profile, direction):
    """And as by hand: whatever the index holds has no part in it."""
    rows = [generation(start + i, *texts) for i, texts in enumerate(TEXTS) for start in (10, 100)]
    detections = find(SUFFIXES, rows, profile, (direction,))
    for member, held_out, (text, suffix) in zip(detections[::2], detections[1::2], TEXTS, strict=True):
        assert (member.generation.member, held_out.generation.member) == (True, False)
        kind, passages = align(*((text, suffix) if direction == "pan" else (suffix, text)), profile)
        run = longest_common_run(text, suffix)
        for row in (member, held_out):
            spans = [(passage.generation_span, passage.candidate_span) for passage in row.own.passages]
            assert spans == [pair if direction == "pan" else pair[::-1] for pair in passages]
            assert {passage.candidate for passage in row.own.passages} <= {row.generation.id}
            assert (row.own.run and (row.own.run.generation_span, row.own.run.suffix_span)) == run
            copied = run is not None and run[0][1] - run[0][0] > 50
            names = {"none": "none", "verbatim": "verbatim", "summary": "idea", "obfuscated": "unverified"}
            assert row.own.label == ("verbatim" if copied else names[kind])
    assert {row.own.label for row in detections} >= {"none", "verbatim"}


@pytest.mark.parametrize("profile", ["paper", "pan"])
@pytest.mark.parametrize("id", [10, 100])
def test_an_exact_match_is_verbatim_whatever_the_alignment_says(find, profile, id):
    short = "Quite so, Sir."  # too short for a case of either profile
    rows = [generation(id, short, short, exact_match=True), generation(id + 1, short, short, exact_match=None)]
    exact, unknown = find(SUFFIXES, rows, profile)
    assert exact.labels.label == exact.own.label == "verbatim"
    assert exact.labels.label_without_scan == exact.labels.first_label == "none"
    assert unknown.labels.label == unknown.own.label == "none"
    rows = [generation(id, EDITED, EDITED, exact_match=True)]
    (row,) = find({10: CAT}, rows, "paper", ("pan", "paper"))
    assert row.labels.label == row.paper.label == "verbatim"
    assert row.labels.label_without_scan == row.labels.first_label == row.paper.first_label == "unverified"


def test_candidates_and_own_suffixes_are_judged_in_one_batch(find):
    calls = []

    def classify(pairs):
        calls.append(pairs)
        return common_words(pairs)

    rows = [generation(10, EDITED, LAW), generation(100, EDITED, CAT), generation(101, f"{CAT} Some say.", CAT)]
    member, held_out, copied = find({10: LAW, 11: CAT}, rows, directions=("pan", "paper"), classify=classify)
    assert len(calls) == 1
    for row, labels in ((member, member.labels), (member, member.paper), (held_out, held_out.own)):
        (passage,) = labels.passages
        ours = row.generation.text[slice(*passage.generation_span)]
        scores = {pair: p for pair, p in common_words(calls[0]).items() if pair[0] in ours}
        assert passage.paraphrase_probability == max(scores.values()) > 0.5
        assert labels.label == passage.label == "paraphrase"
    assert member.own.label == "none"
    assert copied.own.passages and {passage.paraphrase_probability for passage in copied.own.passages} == {None}
    assert not any("Some say." in pair[0] for pair in calls[0])
    (low,) = find({10: LAW}, rows[1:2], classify=lambda pairs: dict.fromkeys(pairs, 0.5))
    assert low.own.label == "paraphrase_low"


def test_the_best_and_the_first_label_of_candidates(find):
    """The better-ranked candidate shares a reworded passage, the other one a copied one."""
    suffixes = {10: f"{CAT} {CAT}", 11: f"{SEA} {' '.join(f'filler{i}' for i in range(40))}"}
    (row,) = find(suffixes, [generation(100, f"{EDITED} {SEA}")])
    assert [candidate.id for candidate in row.candidates] == [10, 11]
    assert {passage.candidate: passage.label for passage in row.labels.passages} == {10: "unverified", 11: "verbatim"}
    assert row.labels.first_label == "unverified"
    assert row.labels.label == row.labels.label_without_scan == "verbatim"


def test_the_ceiling_is_what_the_true_suffix_would_say(find):
    """As far as a generation reaches; what others hold too is nobody's own, but for near-duplicates."""
    alike, one, reach = f"{CAT} {ONE}", ONE, Reach(9, len(CAT))
    rows = [
        generation(12, "", LAW),
        generation(12, "", LAW, sample=1),
        generation(15, "", LAW, reach=Reach(3, 30)),
        generation(16, "", f"{alike}, said one", reach=reach),
        generation(17, "", f"{alike}, said two", cluster=16, reach=reach),
        generation(18, "", one),
        generation(100, "", f"They heard {ONE}"),
    ]
    law, again, short, *near, shared, held_out = [row.ceiling for row in find({19: ""}, rows)]
    assert again is None and (law.tokens, law.longest > 80, law.own) == (None, True, False)  # 12 and 15 hold it
    assert (short.tokens, short.longest, short.own) == (3, len("Parliament passed the budget a"), False)
    assert [(each.own, each.tokens, each.longest) for each in near] == [(True, 9, len(CAT) - len(".."))] * 2
    assert not shared.own and held_out.own and held_out.longest == LENGTH
