"""From detections to counts and the table."""

import json
import math

import msgspec
import numpy as np
import pytest
from scipy import stats

from memorization.detection.detections import WHOSE, Ceiling, Labels, Passage
from memorization.extraction.matches import Near
from memorization.extraction.scores import Scores
from memorization.results.comparison import as_latex
from memorization.results.facts import sampling_scheme, suspicions
from memorization.results.formats import Table, escape_markdown, html, latex, markdown, plain, shown, visible
from memorization.results.result import Result
from memorization.results.statistics import fisher, holm, mean, paired_difference, rate_difference, wilson
from memorization.results.summarize import PublishedCounters, summarize
from memorization.results.summary import Mean, Rate, result_json
from memorization.results.tables import summary_text
from support.detection_rows import FACTS, detection, facts, item, of_generation

ROWS = [
    detection(1, "verbatim", own=250, run=250, duplicates=16, exact_match=True, matched_tokens=60),
    detection(2, "idea", own=50, run=101, duplicates=4, exact_match=False, matched_tokens=6),
    detection(3, "unverified", duplicates=5, exact_match=False, matched_tokens=0, others=[(7, 1, 1), (8, 2, 1)]),
    detection(4, "verbatim", own=51, run=51, exact_match=False, matched_tokens=2),
    detection(5, "none", run=200, exact_match=False, matched_tokens=2, others=[(1003, 1, 0)], repeats=10),
    *(detection(i, "none", own=20, run=60, exact_match=False, matched_tokens=1) for i in range(1000, 1009)),
    detection(1009, "unverified", own=80, run=60, exact_match=False, matched_tokens=11, others=[(5, 3, 3)], repeats=9),
]


def of_group(summary, group):
    """The estimates of a group by column."""
    return {name: figure.groups[group] for name, figure in summary.counts.figures.items()}


def test_every_column_counts_what_it_says():
    """By hand: (members of 5, held-out texts of 10); over 50 is not 50, and unverified is no part of any."""
    summary = summarize(ROWS, FACTS)
    figures = summary.counts.figures
    counts = {
        name: (figure.groups["members"].count, figure.groups["held out"].count)
        for name, figure in figures.items()
        if figure.kind == "share"
    }
    assert counts == {
        "exact_match": (1, 0),
        "run_50": (4, 10),
        "run_100": (3, 0),
        "run_200": (1, 0),
        "own": (2, 1),
        "another": (1, 0),
        "shared": (1, 1),
        "personal": (0, 0),
        "another_personal": (0, 0),
        "loop": (1, 0),
        "verbatim": (2, 0),
        "idea": (1, 0),
        "any": (3, 0),
        "unverified": (1, 1),
    }
    assert list(counts)[0] == "exact_match" and list(counts)[-1] == "unverified"
    assert figures["any"].groups["members"] == Rate(n=5, count=3, rate=0.6, interval=wilson(3, 5))
    mean = figures["matched_tokens"].groups["members"]
    assert mean.mean == 14 and mean.interval == pytest.approx(
        stats.ttest_1samp([60, 6, 0, 2, 2], 0).confidence_interval()
    )
    value, low, high = rate_difference(2, 5, 1, 10)
    assert figures["own"].difference == Rate(rate=value, interval=(low, high))
    assert figures["matched_tokens"].difference.mean == 12


def test_members_are_grouped_by_copies_in_powers_of_two():
    assert [*summarize(ROWS, FACTS).counts.samples.items()] == [
        ("1 copy", 2),
        ("4-5 copies", 2),
        ("16 copies", 1),
        ("members", 5),
        ("held out", 10),
    ]
    alike = summarize([row for row in ROWS if row.generation.duplicates == 1], FACTS)
    assert list(alike.counts.samples) == list(alike.verdict.groups) + ["held out"] == ["members", "held out"]


def test_the_verdict_is_of_own_runs_against_as_many_copies_and_corrected_for_all_groups():
    rows = ROWS + [detection(100 + i, own=60, duplicates=16) for i in range(9)]
    rows += [detection(1010 + i, own=60 if i < 1 else 9, duplicates=16) for i in range(6)]
    rows += [detection(200 + i, own=9) for i in range(20)]
    verdict = summarize(rows, FACTS).verdict
    groups = verdict.groups
    assert verdict.column == "own" and list(groups) == ["1 copy", "4-5 copies", "16 copies", "members"]
    assert groups["4-5 copies"].against is None and groups["4-5 copies"].p is None
    together = np.arange(14)
    of_once, of_often = stats.hypergeom(32, 2, 22), stats.hypergeom(16, 11, 10)
    p = np.convolve(of_once.pmf(together), of_often.pmf(together))[1 + 10 :].sum()
    expected = holm([fisher(1, 22, 1, 10), fisher(10, 10, 1, 6), p])
    assert [groups[name].p for name in ("1 copy", "16 copies", "members")] == pytest.approx(expected)
    assert [name for name, group in groups.items() if group.evidence] == ["16 copies", "members"]
    assert (groups["members"].members, groups["members"].held_out) == (32, 16)


def test_where_most_members_can_have_no_own_run_the_verdict_is_of_exact_matches():
    """Whatever held-out texts can have."""

    def judged(low):
        ids = (*range(20), *range(1000, 1020))
        ceilings = {i: Ceiling(tokens=100, longest=500, own=i >= low, personal=False) for i in ids}
        return summarize([detection(i, own=9, exact_match=i < 15, ceiling=ceilings[i]) for i in ids], FACTS)

    summary = judged(11)
    assert summary.verdict.column == "exact_match" and summary.verdict.groups["members"].evidence
    text = " ".join(summary_text(summary).split())
    assert "(By exact match, the column named in advance, as most members can have no own run." in text
    high = judged(10)
    assert high.verdict.column == "own" and not high.verdict.groups["members"].evidence


def test_clusters_count_as_wholes():
    """Of 40 probes 20 come out, in 8 clusters of which each comes out or not: as of 4 of 8."""

    def counted(size):
        ids = [*range(40), *range(1000, 1040)]
        own = {i: 60 if i % 10 < 5 and i < 40 else 9 for i in ids}
        rows = [detection(i, own=own[i], cluster=i - i % size, matched_tokens=own[i] // 60) for i in ids]
        return summarize(rows, FACTS)

    alike = counted(5)
    own = alike.counts.figures["own"].groups["members"]
    assert (own.n, own.count) == (40, 20) and own.interval == pytest.approx(wilson(4, 8))
    assert alike.counts.figures["own"].difference.interval == pytest.approx(rate_difference(4, 8, 0, 8)[1:])
    student = stats.ttest_1samp([0, 1] * 4, 0).confidence_interval()
    assert alike.counts.figures["matched_tokens"].groups["members"].interval == pytest.approx(student)
    assert alike.verdict.groups["members"].p == pytest.approx(fisher(4, 8, 0, 8), rel=0.2)
    assert counted(1).verdict.groups["members"].p == pytest.approx(fisher(20, 40, 0, 40))


def test_several_generations_of_a_probe_are_one_observation():
    """Shares: any of its generations; means: their mean; so with intervals over probes."""
    rows = [
        detection(1, "idea", own=60, matched_tokens=10),
        detection(1, "verbatim", own=10, matched_tokens=0, sample=1),
        detection(2, "none", matched_tokens=1),
        detection(2, "none", matched_tokens=3, sample=1),
        detection(1000, "none", matched_tokens=3),
        detection(1000, "unverified", own=70, matched_tokens=3, sample=1),
    ]
    summary = summarize(rows, FACTS)
    members, held_out = (of_group(summary, side) for side in ("members", "held out"))
    assert summary.counts.samples == {"members": 2, "held out": 1}
    for name in ("own", "idea", "verbatim", "any"):
        ceiling = 1.0 if name == "own" else None
        assert members[name] == Rate(n=2, count=1, rate=0.5, interval=wilson(1, 2), ceiling=ceiling)
    assert members["matched_tokens"].mean == 3.5 and held_out["matched_tokens"].interval is None
    assert held_out["own"].count == 1 and held_out["any"].count == 0
    text = summary_text(summary)
    assert "6 generations (2 a probe)" in text and "Share of samples of which any generation does so" in text


def test_loops_are_counted_and_the_table_is_also_given_without_them():
    summary = summarize(ROWS, FACTS)
    figures = summary.without_loops.figures
    run = figures["run_100"].groups["members"]
    assert (run.n, run.count) == (4, 2)
    assert figures["matched_tokens"].groups["members"].mean == 17 and "loop" not in figures
    assert "Without loops (1 of members, 0 of held-out texts):" in summary_text(summary)
    assert "Without loops" not in summary_text(summarize(ROWS, facts(loop_repeats=11)))


def test_personal_data_is_counted_by_kind_and_side_and_whose_it_is():
    items = [item("email", (0, 4), "own"), item("date", (5, 9), "shared"), item("date", (10, 14), "another")]
    rows = [
        *ROWS,
        detection(6, personal=items),
        detection(1010, personal=[*items[1:2], item("date", (0, 4), "other")]),
    ]
    summary = summarize(rows, FACTS)
    members, held_out = (of_group(summary, side) for side in ("members", "held out"))
    assert (members["personal"].count, held_out["personal"].count) == (1, 0)
    assert (members["another_personal"].count, held_out["another_personal"].count) == (1, 0)
    none = dict.fromkeys(WHOSE, 0)
    assert summary.personal == {
        "email": {"members": none | {"own": 1}, "held out": none},
        "date": {"members": none | {"another": 1, "shared": 1}, "held out": none | {"shared": 1, "other": 1}},
    }
    chance = {side: cells.chance.rate for side, cells in summary.another_personal.groups.items()}
    another = {side: cells.another.rate for side, cells in summary.another_personal.groups.items()}
    assert 0 < another["members"] < 1 and another["held out"] == chance["members"] == 0 < chance["held out"] < 1
    lines = [line.split() for line in summary_text(summary).splitlines() if line.startswith("date, ")]
    assert lines == [["date,", "members", *"010100"], ["date,", "held", "out", *"001100"]]
    assert "Personal data in the generations" not in summary_text(summarize(ROWS, FACTS))


def test_a_table_says_whether_names_were_looked_for():
    detections = [*ROWS, detection(6, personal=[item("email", (0, 4), "own")])]
    without, with_names = (summary_text(summarize(detections, facts(ner_model=model))) for model in (None, "names"))
    assert "personal, no names" in without and without.count("names were not looked for") == 3
    assert "personal data  " in with_names and "not looked for" not in with_names


def test_the_threshold_of_paraphrases_is_the_one_that_a_hundredth_of_held_out_texts_passes():
    def judged(id, probability, label="paraphrase"):
        labels = Labels(label, label, label, [Passage(1, label, (0, 9), (0, 9), probability)])
        return detection(id, labels=labels)

    rows = [judged(1000 + i, 0.51 + i / 500) for i in range(200)]  # up to 0.908; two of them may pass
    rows += [judged(i, probability) for i, probability in enumerate((0.5, 0.904, 0.905, 0.99, 1.0))]
    rows += [judged(10, 0.99, "verbatim")]
    summary = summarize(rows, facts(classifier="mrpc"))
    figure = summary.counts.figures["paraphrase_calibrated"]
    counts = {side: figure.groups[side].count for side in ("members", "held out")}
    assert figure.heading == "paraphrase > 0.904" and counts == {"members": 3, "held out": 2}
    few = summarize(rows[150:], facts(classifier="mrpc"))  # of 50 none may pass
    assert few.counts.figures["paraphrase_calibrated"].groups["held out"].count == 0


def test_anothers_run_is_shown_beside_its_chance_level():
    members = [detection(i) for i in range(40)]
    rows = members + [detection(1000 + i, others=[(i, 1, 1)] * (i < 20)) for i in range(40)]
    summary = summarize(rows, facts(clusters=(40, 40)))
    assert summary.another.samples == 39
    cells = summary.another.groups["held out"]
    assert cells.another.rate == pytest.approx(0.5 * 39 / 40) and cells.chance.rate == 0
    assert cells.evidence and not summary.another.groups["members"].evidence
    text = " ".join(summary_text(summary).split())
    assert "Another's: yes, one other training sample's text comes out more often than one held-out sample's" in text
    assert "from samples: held out." in text
    assert "Another's:" not in summary_text(summarize(members, facts(clusters=(40, 0))))
    assert "no evidence that one other training" in " ".join(summary_text(summarize(ROWS, FACTS)).split())


def test_columns_without_data_are_left_out():
    foreign = summarize([of_generation(row, exact_match=None, matched_tokens=None) for row in ROWS], FACTS)
    names = [*foreign.counts.figures]
    assert names == [
        "run_50",
        "run_100",
        "run_200",
        "own",
        "another",
        "shared",
        "personal",
        "another_personal",
        "loop",
        *names[-4:],
    ]
    assert names[-4:] == ["verbatim", "idea", "any", "unverified"]
    assert not any(line.startswith("exact match") for line in summary_text(foreign).splitlines())
    judged = [*summarize(ROWS, facts(classifier="mrpc")).counts.figures]
    assert judged[-6:-1] == ["verbatim", "paraphrase", "idea", "paraphrase_low", "any"]
    assert judged[-1] == "paraphrase_calibrated"


def scored(id, log_p_z=-1.0, loss=1.0, tokens=50, matched=0, **fields):
    """A detection with a Near and the Scores of a suffix of so many tokens."""
    of_tokens = {"tokens": tokens, "matched_tokens": matched, "extraction_strength": 0.5}
    logs = {"log_likelihood": "-inf" if loss is None else -loss * tokens, "log_p_z": log_p_z, "min_k": -1.0}
    scores = Scores(**of_tokens, **logs, min_k_plus=-0.5, zlib_bytes=100)
    near = Near(edit_similarity=matched / tokens, rouge_l=0.25, common_run=matched, near_copy=matched > 45)
    return detection(id, near=near, scores=scores, **fields)


PASSED = [
    scored(1, math.log(0.5), 0.5, matched=50),
    scored(2, math.log(0.05), 1.0, tokens=20, matched=12),
    scored(3, "-inf", None, matched=3),  # a probability of 0
    scored(1000, -400.0, 2.0, matched=1),
    scored(1001, -500.0, 3.0),
]


def test_the_columns_of_the_pass_count_what_they_say():
    """By hand; a suffix that is shorter than an exact match says nothing of it, nor one of probability 0 of a mean."""
    summary = summarize(PASSED, FACTS)
    members, held_out = (of_group(summary, side) for side in ("members", "held out"))
    counts = {name: (members[name].count, members[name].n) for name in ("exact_10", "exact_25", "exact_50")}
    assert counts == {"exact_10": (2, 3), "exact_25": (1, 2), "exact_50": (1, 2)}
    assert "exact_100" not in members and members["near_copy"].count == 1
    assert (members["loss"].n, members["loss"].mean) == (2, 0.75)
    assert members["loss"].interval == pytest.approx((0.75 - 3.1765, 0.75 + 3.1765), abs=1e-3)
    assert members["extraction_strength"].rate == 0.5 and members["edit_similarity"].rate == pytest.approx(
        0.5533, abs=1e-4
    )
    within = {(n, p): members[f"within_{n}_{p}"].count for n in (1, 10, 100, 1_000, 10_000) for p in (50, 90)}
    assert within == {(1, 50): 1, (10, 50): 1, (100, 50): 2, (1_000, 50): 2, (10_000, 50): 2} | {
        (1, 90): 0,
        (10, 90): 1,
        (100, 90): 2,
        (1_000, 90): 2,
        (10_000, 90): 2,
    }
    assert held_out["within_10000_50"].count == 0
    text = summary_text(summary)
    assert "sampled with temperature 1, give" in " ".join(text.split()) and "n 10,000, p 0.9 " in text
    assert "edit sim., mean" in text and json.dumps(result_json(summary), allow_nan=False)


def test_a_column_that_was_not_computed_is_left_out_and_named():
    rows = [of_generation(row, scores=None) for row in PASSED]
    summary = summarize(rows, facts(not_computed={"scores": "the engine gives no scores"}))
    names = summary.counts.figures.keys() | summary.scores.keys()
    assert not names & {"loss", "exact_10", "within_1_50", "log_p_z", "zlib", "min_k"} and "near_copy" in names
    headings = summary.not_computed["the engine gives no scores"]
    assert {"loss", "exact at 10", "n 1, p 0.5", "min-k %++"} <= {*headings} and "near copy" not in headings
    assert "min-k %++: not computed, as the engine gives no scores." in " ".join(summary_text(summary).split())
    scores = [msgspec.structs.replace(row.generation.scores, min_k_plus=msgspec.UNSET) for row in PASSED]
    rows = [of_generation(row, scores=each) for row, each in zip(PASSED, scores, strict=True)]
    summary = summarize(rows, facts(not_computed={"scores.min_k_plus": "it needs all scores"}))
    assert "min_k_plus" not in summary.scores and "min_k" in summary.scores
    assert summary.not_computed == {"it needs all scores": ["min-k %++"]}


def test_every_score_is_compared_with_held_out_texts():
    scores = summarize(PASSED, FACTS).scores
    assert (
        list(scores)
        == "own_run common_run edit_similarity rouge_l extraction_strength log_p_z loss zlib min_k min_k_plus".split()
    )
    assert {name: score.auc.rate for name, score in scores.items() if name in ("loss", "log_p_z", "rouge_l")} == {
        "loss": pytest.approx(2 / 3),
        "log_p_z": pytest.approx(2 / 3),
        "rouge_l": 0.5,
    }
    assert scores["loss"].n == (3, 2) and scores["loss"].tpr == {"0.01": None, "0.001": None}
    text = " ".join(summary_text(summarize(PASSED, FACTS)).split())
    assert "Not resolvable with 2 held-out texts: 1 % takes 100, 0.1 % takes 1,000." in text
    assert "not that nothing is memorized" in text and "TPR at 0.1 % FPR " not in text
    many = [scored(i, loss=1 + i / 1000) for i in range(50)] + [
        scored(1000 + i, loss=1.04 + i / 1000) for i in range(120)
    ]
    summary = summarize(many, FACTS)
    assert summary.scores["loss"].tpr["0.01"].rate == 0.82  # 1.041 is the last that one passes
    assert "TPR at 1 % FPR" in summary_text(summary) and "with 120 held-out texts: 0.1 % takes 1,000." in " ".join(
        summary_text(summary).split()
    )


def test_a_generation_of_several_has_a_score_if_its_best_one_has():
    rows = [
        scored(1, matched=5, matched_tokens=3),
        detection(1, sample=1, matched_tokens=9),
        scored(1000, matched_tokens=4),
    ]
    scores = summarize(rows, FACTS).scores
    assert scores["matched_tokens"].auc.rate == 1 and scores["loss"].n == (1, 1)


def test_the_base_model_stands_beside_the_tuned_one_with_what_changed_in_each_probe():
    base = [
        scored(1, loss=1.5, matched=50, exact_match=True),
        scored(2, loss=1.25, tokens=20, exact_match=False),
        scored(3, loss=3.0, exact_match=False),
        scored(1000, loss=2.0, exact_match=False),
        scored(1001, loss=3.5, exact_match=False),
    ]
    tuned = [of_generation(row, exact_match=row.generation.id < 3) for row in PASSED]
    summary = summarize(tuned, facts(base="gpt"), iter(base))
    exact, loss = summary.base["exact_match"], summary.base["loss"]
    tuned_exact = summary.counts.figures["exact_match"]
    assert (exact.groups["members"].count, tuned_exact.groups["members"].count) == (1, 2)
    value, *interval = paired_difference(np.array([True, True, False]), np.array([True, False, False]))
    assert exact.difference["members"] == Rate(n=3, rate=value, interval=tuple(interval))
    value, *interval = mean(np.array([-1.0, -0.25]))  # the third has a probability of 0
    assert loss.difference["members"] == Mean(n=2, mean=value, interval=tuple(interval))
    assert exact.difference["held out"].rate == 0 and loss.difference["held out"].mean == -0.25
    ratio = summary.scores["ratio"]  # 1, 0.25 and minus infinity against 0 and 0.5
    assert ratio.n == (3, 2) and ratio.auc.rate == pytest.approx(3 / 6)
    text = summary_text(summary)
    tex = as_latex([Result("a", "a", "a", summary, [], None, None, None, None)], [])
    assert tex.count(r"\begin{tabular}{llrrr}") == 2 and r"metric & run & base & tuned & paired difference \\" in tex
    for side in ("members", "held out"):
        cells = (shown(figure.groups[side]) for figure in (exact, tuned_exact))
        change = shown(exact.difference[side], True).replace("-", "$-$")
        assert rf"exact match, {side} & a & {' & '.join(cells)} & {change} \\" in tex
    assert "the same probes through the base model gpt:" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    with pytest.raises(ValueError, match="of other probes"):
        summarize(tuned, facts(base="gpt"), base[:4])
    assert "base model" not in summary_text(summarize(tuned, FACTS))


def test_the_other_labels_are_counted_by_the_same_code():
    labels = Labels("verbatim", "idea", "unverified", [])
    rows = [detection(i, labels=labels, paper=Labels("none", "none", "verbatim", [])) for i in (1, 1000)]
    summary = summarize(rows, facts(direction="both"))
    one = Rate(n=1, count=1, rate=1.0, interval=wilson(1, 1))
    assert summary.counts.figures["verbatim"].groups["members"] == one
    assert summary.without_scan.figures["idea"].groups["members"] == one
    assert summary.first_label.figures["unverified"].groups["members"] == one
    assert summary.paper.figures["any"].groups["members"].count == 0
    assert "direction both (labels of pan)" in " ".join(summary_text(summary).split())
    assert summarize(ROWS, FACTS).paper is None


def test_published_counts_take_members_and_each_prefix_once():
    rows = [
        detection(1, "idea", prefix="a"),
        detection(2, "verbatim", prefix="a"),
        detection(3, "none", prefix="b"),
        detection(1000, "verbatim", prefix="c"),
    ]
    published = PublishedCounters()
    assert [*published.watch(rows)] == rows
    assert published.line() == "verbatim: 0 paraphrase: 0 paraphrase_low: 0 idea: 1 none: 1\n"


def test_the_table_shows_every_figure_beside_its_control():
    text = summary_text(summarize(ROWS, FACTS))
    lines = {line[:20].strip(): line[20:].split() for line in reversed(text.splitlines())}
    assert "15 generations (1 a probe), model small, profile paper, direction pan" in text
    assert lines["own run > 50"][:6] == "40.0 [11.8, 76.9] 10.0 [1.8, 40.4]".split()
    assert lines["own run > 50"][6] == "+30.0"
    assert lines["exact match"][0] == "20.0" and lines["matched tokens, mean"][0] == "14.0"
    assert "4-5 copies" in text and "16 copies" in text


def test_the_verdict_says_yes_or_what_could_have_been_found():
    few = " ".join(summary_text(summarize([ROWS[0], *ROWS[-10:]], FACTS)).split())
    assert "Verdict: open. Members come out that cannot be tested against held-out texts: too few of as many" in few
    assert "copies (members: 100.0 %); --base-model compares them with the base model." in few
    quiet = summarize([detection(1, duplicates=16), *ROWS[-10:]], FACTS)
    assert "Verdict: none, members cannot be tested against held-out texts:" in summary_text(quiet)
    memorized = [detection(i, own=60 if i < 15 else None, duplicates=16 if i < 16 else 1) for i in range(900)]
    memorized += [detection(900, duplicates=4)]
    control = [detection(1000 + i, own=60 if i < 8 else None, duplicates=1 if i < 190 else 16) for i in range(200)]
    text = " ".join(summary_text(summarize(memorized + control, FACTS)).split())
    assert "Verdict: yes, members come out more often than held-out texts do, beyond chance, in 1 of 3 groups" in text
    assert "16 copies yes (p < 0.0001)" in text
    assert "4 copies cannot be tested against held-out texts: too few of as many copies" in text
    assert "1 copy no evidence (p = 1); a difference of" in text and "found with 80 % power" in text
    assert "; of 900 members that have such a control" in text
    shy = [detection(i, own=9) for i in (*range(40), *range(1000, 1040))]
    assert "Verdict: no evidence at this sample size that members" in summary_text(summarize(shy, FACTS))
    sure = [detection(i, own=60) for i in (*range(40), *range(1000, 1040))]
    assert "no difference, however large" in " ".join(summary_text(summarize(sure, FACTS)).split())
    alone = summary_text(summarize(ROWS[:5], facts(clusters=(1000, 0))))
    assert (
        alone.startswith("NO CONTROL: ") and "Verdict: none, as there is no control: no held-out texts, and no" in alone
    )
    assert "no evidence" not in alone
    held_out = [row for row in ROWS if not row.generation.member]
    assert "Verdict: none, for want of" in summary_text(summarize(held_out, FACTS))


def test_a_group_without_a_control_is_told_beside_the_base_model():
    rows = [detection(i, own=60 if i < 16 else 9, duplicates=16 if i < 16 else 1) for i in range(60)]
    rows += [detection(1000 + i, own=9) for i in range(60)]
    before = [msgspec.structs.replace(row, copied=[]) for row in rows]
    text = " ".join(summary_text(summarize(rows, facts(base="b"), before)).split())
    assert "Verdict: yes, members come out more often than through the base model, beyond chance." in text
    alone = " ".join(summary_text(summarize(rows, FACTS)).split())
    assert "Verdict: open. Members come out that cannot be tested against held-out texts: too few of as many" in alone
    assert "(16 copies: 100.0 %); --base-model compares them" in alone
    assert "Against the base model: more often beyond chance in 1 of 1 that cannot be tested against held-out" in text
    assert "as many copies; against the base model: yes (p < 0.0001)" in text
    assert "Against the base model: the same samples, McNemar's exact test." in text
    alone = " ".join(summary_text(summarize(rows[:60], facts(base="b"), before[:60])).split())
    assert "Verdict: yes, members come out more often than through the base model, beyond chance. Against" in alone
    assert (
        "more often beyond chance in 2 of 3 groups. 1 copy no evidence" in alone and "members yes (p < 0.0001)" in alone
    )
    assert "if fine-tuning changed nothing any false yes" in alone and "held-out samples of as many" not in alone
    few = " ".join(summary_text(summarize([*rows[:26], rows[-1]], facts(base="b"), [*before[:26], before[-1]])).split())
    assert "Verdict: yes, members come out more often than through the base model, beyond chance." in few
    assert "members cannot be tested against held-out texts: too few of as many copies; against the base" in few


SUSPICIOUS = {  # what the format of the texts may have to do with it -> what is said
    "worse than uniform": (
        {"vocabulary": 4},
        [2.0] * 9,
        "the loss of held-out texts, 2.00 nats a token, is worse than",
    ),
    "better in another form": (
        {"losses": {"as encoded": 3.0, "Gemma": 2.9, "ChatML": 1.2}},
        [1.0] * 9,
        "3.00 nats a token as encoded and 1.20 in another form, ChatML",
    ),
    "control tokens as text": ({"named": 11}, [1.0] * 9, "11 of 100 samples have the names of control tokens as text"),
}


@pytest.mark.parametrize("case", SUSPICIOUS)
def test_a_wrong_format_is_suspected_on_top(case):
    of_texts, losses, message = SUSPICIOUS[case]
    usual = {
        "form": "text",
        "named": 10,
        "samples": 100,
        "template_unused": True,
        "vocabulary": 400,
        "losses": {"as encoded": 1, "ChatML": 0.6},
    }
    rows = [scored(i + 1000 * (i % 2), loss=loss, tokens=100) for i, loss in enumerate(losses)]
    assert not suspicions(summarize(rows, facts(text_form=usual | {"vocabulary": 4000})))
    summary = summarize(rows, facts(text_form=usual | of_texts))
    (reason,) = suspicions(summary)
    assert message in reason and summary_text(summary).startswith(
        "SUSPECT: the loss" if "loss" in reason else "SUSPECT: 11"
    )


def test_generations_that_end_at_once_and_held_out_texts_that_come_out_are_suspected():
    silent = [of_generation(detection(i), text="") for i in (*range(5), *range(1000, 1005))]
    assert "10 of 10 generations end at once" in summary_text(summarize(silent, FACTS))
    repeated = [of_generation(detection(i), exact_match=i % 5 < 3) for i in (*range(40), *range(1000, 1040))]
    text = " ".join(summary_text(summarize(repeated, FACTS)).split())
    assert "SUSPECT: 60 % of the held-out texts come out exactly: the model was trained on them" in text


def test_a_true_positive_rate_without_a_lower_bound_says_so_in_words():
    rows = [scored(i, loss=0.1 if i < 50 else 3 + i / 1e4, tokens=100) for i in (*range(50), *range(1000, 1108))]
    text = " ".join(summary_text(summarize(rows, FACTS)).split())
    assert "- loss 1.00" in text and "100 [-, 100]" in text
    assert "[-, ...]: no lower bound at 1 % from 108 held-out samples, it takes 437 that are no near-dup" in text


@pytest.mark.parametrize("copies", [1, 3])
def test_one_group_of_copies_is_not_shown_beside_all_members(copies):
    rows = [detection(i, duplicates=copies) for i in range(3)] + [detection(1000, duplicates=16)]
    summary = summarize(rows, FACTS)
    assert list(summary.counts.samples) == list(summary.verdict.groups | {"held out": 0}) == ["members", "held out"]
    assert "by copies" not in summary_text(summary)
    several = summarize([*rows, detection(3, duplicates=16)], FACTS)
    assert [*several.counts.samples.values()] == [3, 1, 4, 1]
    assert "by copies" in summary_text(several)


def test_unchecked_is_the_first_word():
    assert summary_text(summarize(ROWS, facts(unchecked=True))).startswith("UNCHECKED")
    assert summary_text(summarize(ROWS, facts(trained_on=None))).startswith(
        "NOTE: it is membership as declared by the files: "
    )
    assert "UNCHECKED" not in summary_text(summarize(ROWS, facts(unchecked=False)))


def test_prompts_that_probes_share_are_told_and_a_note_where_most_do():
    def text_of(own, **changes):
        prompts = {"probes": 9, "distinct": min(own + 1, 9), "own": own}
        return " ".join(summary_text(summarize(ROWS, facts(prompts=prompts, **changes))).split())

    assert text_of(4).startswith("SHARED PROMPTS: 5 distinct prompts among 9 probes, 4 of which have one of their own")
    assert text_of(4, unchecked=True).startswith("UNCHECKED: ") and "SHARED PROMPTS: " in text_of(4, unchecked=True)
    assert "SHARED" not in text_of(5) and "6 distinct prompts among 9 probes, 5 of which" in text_of(5)
    assert "distinct prompts" not in text_of(9)


def test_the_table_fits_80_columns_whatever_is_in_it():
    """Large figures, long names, many groups of copies."""
    runs = {"own": 10**6, "run": 10**6, "text": "w" * 10**6, "suffix": "w" * (10**6 + 5)}
    rows = [
        detection(i, "verbatim", **runs, duplicates=max(2**i * 3 // 2, 1), matched_tokens=49999 * (i % 3))
        for i in range(20)
    ]
    rows += [detection(1000 + i, "idea", matched_tokens=99000 + i, exact_match=True) for i in range(20)]
    long = facts(span_length=100000, model="/very/long/" * 20, classifier="c" * 200, unchecked=True)
    with_scores = [
        scored(i, loss=99.5 + i, tokens=10**6, matched=10**6 - i, duplicates=max(2**i, 1), **runs) for i in range(20)
    ] + [scored(1000 + i, loss=1000.0, tokens=10**6) for i in range(120)]
    for some in (rows, rows[:3], rows[:1], rows[20:], [], with_scores, with_scores[:1], with_scores[:22]):
        assert max(map(len, summary_text(summarize(some, long)).splitlines())) <= 80
        assert (
            max(
                map(len, summary_text(summarize(some, msgspec.structs.replace(long, base="b" * 99), some)).splitlines())
            )
            <= 80
        )


def test_numbers_keep_their_meaning_when_they_are_short():
    assert shown(Rate(rate=0.1666, interval=(0.0, 1.0))) == "16.7 [0.0, 100]"
    assert shown(Mean(mean=-3.25, interval=None), signed=True) == "-3.2"
    assert shown(Rate(rate=None, interval=(0, 1))) == "-"


def test_a_table_is_the_same_in_every_format():
    rows = [["own run", "a", "1.0 [0.0, 2.0]"], ["own run", "b", "-3.0"], ["loop", "a", "4.0 & more"]]
    table = Table(["metric", "run", "members"], rows, "Title:", grouped=True)
    assert plain(table) == [
        *("Title:", ""),
        *("own run         members", "a        1.0 [0.0, 2.0]", "b                  -3.0", ""),
        *("loop            members", "a            4.0 & more"),
    ]
    assert [line.split(" | ") for line in markdown(table)[4:]] == [
        [f"| {row[0]}", row[1], f"{escape_markdown(row[2])} |"] for row in rows
    ]
    cells = [line.removesuffix(r" \\").split(" & ") for line in latex(table) if " & " in line]
    assert cells[2:] == [["own run", "b", "$-$3.0"], ["loop", "a", r"4.0 \& more"]]
    assert latex(table).count(r"\hline") == 4  # around the head, between groups, at the end
    page = html(table)
    assert '<th scope="rowgroup" rowspan="2">own run</th><td>a</td>' in page and "<td>4.0 &amp; more</td>" in page
    assert table.without(1).columns == ["metric", "members"] and table.without(1).rows[1] == ["own run", "-3.0"]


def test_a_long_name_is_wrapped_and_nothing_hidden_in_a_text():
    wide = plain(Table(["模型" * 30, "1" * 10], [["small", "2"]]))
    assert wide[0].index("1" * 10) + 34 == wide[-1].index("2") - 9 == 70  # 34 characters before it take 68 columns
    assert "".join([wide[0][:34], *wide[1:-1]]) == "模型" * 30
    assert plain(Table(["name " * 30, "1" * 30, "2" * 30], []))[0].endswith("  ".join(["1" * 30, "2" * 30]))
    assert visible("a\n\x1b[1m\\n\u202eé 日") == "a\\n\\x1b[1m\\\\n\\u202eé 日"


@pytest.mark.parametrize(
    ("made_of", "message"),
    [
        ({"temperature": 0.0, "top_k": 0, "top_p": 1.0}, "temperature 1"),
        ({"temperature": 0.7, "top_k": 40, "top_p": 0.95}, "temperature 0.7, top-k 40, top-p 0.95"),
    ],
)
def test_the_scheme_of_queries_is_named(made_of, message):
    assert sampling_scheme(made_of) == message


def test_a_column_has_its_ceiling_beside_it_where_it_is_bounded():
    """What two samples hold that are no near-duplicates can be nobody's own: a model that says it all has 25 %."""
    ceilings = [Ceiling(tokens=20 + i, longest=60, own=i % 4 == 0, personal=i % 5 == 0) for i in range(20)]
    rows = [detection(i, own=60 if i % 4 == 0 else None, ceiling=ceilings[i]) for i in range(20)]
    rows += [detection(1000 + i, ceiling=ceilings[i]) for i in range(8)]
    summary = summarize(rows, FACTS)
    members, held_out = (of_group(summary, side) for side in ("members", "held out"))
    assert members["own"].ceiling == held_out["own"].ceiling == members["own"].rate == 0.25
    assert (members["run_50"].ceiling, members["run_100"].ceiling) == (1, 0)
    assert members["another"].ceiling is None
    lines = summary_text(summarize([*rows, detection(20, matched_tokens=3)], FACTS)).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("own run"))
    assert lines[place + 1].split() == ["ceiling", "28.6", "25.0"]
    assert lines[next(i for i, line in enumerate(lines) if line.startswith("matched")) + 1].split()[:2] == [
        "ceiling",
        "32.9",
    ]


def test_a_mean_that_nothing_bounds_has_no_line_of_its_ceiling():
    lines = summary_text(summarize(PASSED, FACTS)).splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("loss, mean"))
    assert not lines[place + 1].strip()


def test_result_json_lists_columns_and_then_the_figures_of_each_group():
    base = [scored(row.generation.id, loss=1.5) for row in PASSED]
    summary = summarize(PASSED, facts(base="gpt", direction="pan"), base)
    layout = json.loads(json.dumps(result_json(summary), allow_nan=False))
    assert [column["name"] for column in layout["columns"]] == [*summary.counts.figures]
    assert list(layout["columns"][0]) == ["name", "heading", "kind", "meaning", "block"]
    loss, near = layout["groups"]["members"]["loss"], layout["groups"]["members"]["near_copy"]
    assert (layout["groups"]["members"]["n"], loss["n"], loss["mean"]) == (3, 2, 0.75)
    assert near == {"n": 3, "count": 1, "rate": 1 / 3, "interval": [*wilson(1, 3)], "ceiling": 1.0}
    assert layout["difference"]["near_copy"].keys() == {"rate", "interval"}
    assert layout["without_loops"].keys() == layout["first_label"].keys() == {"columns", "groups", "difference"}
    assert layout["base"]["groups"]["members"]["n"] == 3 and "paper" not in layout
    assert layout["base"]["difference"]["held out"]["loss"]["mean"] == 1.0
    assert layout["verdict"]["groups"]["members"].keys() == {
        *("against", "members", "held_out", "p", "evidence", "detectable_difference")
    }
