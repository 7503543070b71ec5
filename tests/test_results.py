"""From detections to counts and the table."""

import json

import msgspec
import pytest
from detections import FACTS, detection
from scipy import stats

from memorization.detection.detections import Labels
from memorization.results.layout import estimate, grid, visible
from memorization.results.statistics import difference, fisher, holm, wilson
from memorization.results.tables import published_counts, published_line, summarize, table

ROWS = [
    detection(1, "verbatim", own=250, run=250, duplicates=16, exact_match=True, matched_tokens=60),
    detection(2, "idea", own=50, run=101, duplicates=4, exact_match=False, matched_tokens=6),
    detection(3, "unverified", duplicates=5, exact_match=False, matched_tokens=0),
    detection(4, "verbatim", own=51, run=51, exact_match=False, matched_tokens=2),
    detection(5, "none", run=200, exact_match=False, matched_tokens=2),
    *(detection(i, "none", own=20, run=60, exact_match=False, matched_tokens=1) for i in range(1000, 1009)),
    detection(1009, "unverified", own=80, run=60, exact_match=False, matched_tokens=11),
]


def test_every_column_counts_what_it_says():
    """By hand: (members of 5, held-out texts of 10); over 50 is not 50, and unverified is no part of any."""
    summary = summarize(ROWS, FACTS)
    groups = summary["groups"]
    counts = {
        column["name"]: (groups["members"][column["name"]]["count"], groups["held out"][column["name"]]["count"])
        for column in summary["columns"]
        if column["kind"] == "share"
    }
    assert counts == {
        "exact_match": (1, 0),
        "run_50": (4, 10),
        "run_100": (3, 0),
        "run_200": (1, 0),
        "own": (2, 1),
        "verbatim": (2, 0),
        "idea": (1, 0),
        "any": (3, 0),
        "unverified": (1, 1),
    }
    assert list(counts)[0] == "exact_match" and list(counts)[-1] == "unverified"
    assert groups["members"]["any"] == {"n": 5, "count": 3, "rate": 0.6, "interval": list(wilson(3, 5))}
    mean = groups["members"]["matched_tokens"]
    assert mean["mean"] == 14 and mean["interval"] == pytest.approx(
        stats.ttest_1samp([60, 6, 0, 2, 2], 0).confidence_interval()
    )
    value, low, high = difference(2, 5, 1, 10)
    assert summary["difference"]["own"] == {"rate": value, "interval": [low, high]}
    assert summary["difference"]["matched_tokens"]["mean"] == 12


def test_members_are_grouped_by_copies_in_powers_of_two():
    groups = summarize(ROWS, FACTS)["groups"]
    assert [(name, group["n"]) for name, group in groups.items()] == [
        ("1 copy", 2),
        ("4-5 copies", 2),
        ("16 copies", 1),
        ("members", 5),
        ("held out", 10),
    ]
    alike = summarize([row for row in ROWS if row.duplicates == 1], FACTS)
    assert list(alike["groups"]) == list(alike["verdict"]) + ["held out"] == ["members", "held out"]


def test_the_verdict_is_of_own_runs_and_corrected_for_all_groups():
    rows = ROWS + [detection(100 + i, own=60, duplicates=16) for i in range(9)]
    verdict = summarize(rows, FACTS)["verdict"]
    p = [fisher(1, 2, 1, 10), fisher(0, 2, 1, 10), fisher(10, 10, 1, 10), fisher(11, 14, 1, 10)]
    assert [group["p"] for group in verdict.values()] == pytest.approx(holm(p))
    assert [name for name, group in verdict.items() if group["evidence"]] == ["16 copies", "members"]


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
    members, held_out = summary["groups"]["members"], summary["groups"]["held out"]
    assert members["n"] == 2 and held_out["n"] == 1
    for name in ("own", "idea", "verbatim", "any"):
        assert members[name] == {"n": 2, "count": 1, "rate": 0.5, "interval": list(wilson(1, 2))}
    assert members["matched_tokens"]["mean"] == 3.5 and held_out["matched_tokens"]["interval"] is None
    assert held_out["own"]["count"] == 1 and held_out["any"]["count"] == 0
    text = table(summary)
    assert "6 generations (2 a probe)" in text and "Share of probes of which any generation does so" in text


def test_columns_without_data_are_left_out():
    foreign = summarize([msgspec.structs.replace(row, exact_match=None, matched_tokens=None) for row in ROWS], FACTS)
    names = [column["name"] for column in foreign["columns"]]
    assert names == ["run_50", "run_100", "run_200", "own", "verbatim", "idea", "any", "unverified"]
    assert not any(line.startswith("exact match") for line in table(foreign).splitlines())
    judged = [column["name"] for column in summarize(ROWS, FACTS | {"classifier": "mrpc"})["columns"]]
    assert judged[-5:] == ["verbatim", "paraphrase", "idea", "paraphrase_low", "any"]


def test_the_other_labels_are_counted_by_the_same_code():
    labels = Labels("verbatim", "idea", "unverified", [])
    rows = [detection(i, labels=labels, paper=Labels("none", "none", "verbatim", [])) for i in (1, 1000)]
    summary = summarize(rows, FACTS | {"direction": "both"})
    one = {"n": 1, "count": 1, "rate": 1.0, "interval": list(wilson(1, 1))}
    assert summary["groups"]["members"]["verbatim"] == summary["without_scan"]["groups"]["members"]["idea"] == one
    assert summary["first_label"]["groups"]["members"]["unverified"] == one
    assert summary["paper"]["groups"]["members"]["any"]["count"] == 0
    assert "direction both (labels of pan)" in " ".join(table(summary).split())
    assert "paper" not in summarize(ROWS, FACTS)
    assert json.loads(json.dumps(summary)) == summary


def test_published_counts_take_members_and_each_prefix_once():
    rows = [
        detection(1, "idea", prefix="a"),
        detection(2, "verbatim", prefix="a"),
        detection(3, "none", prefix="b"),
        detection(1000, "verbatim", prefix="c"),
    ]
    counts = published_counts(rows)
    assert counts == {"idea": 1, "none": 1}
    assert published_line(counts) == "verbatim: 0 paraphrase: 0 paraphrase_low: 0 idea: 1 none: 1\n"


def test_the_table_shows_every_figure_beside_its_control():
    text = table(summarize(ROWS, FACTS))
    lines = {line[:20].strip(): line[20:].split() for line in reversed(text.splitlines())}
    assert "15 generations (1 a probe), model small, profile paper, direction pan" in text
    assert lines["own run > 50"][:6] == "40.0 [11.8, 76.9] 10.0 [1.8, 40.4]".split()
    assert lines["own run > 50"][6] == "+30.0"
    assert lines["exact match"][0] == "20.0" and lines["matched tokens, mean"][0] == "14.0"
    assert "4-5 copies" in text and "16 copies" in text


def test_the_verdict_says_yes_or_what_could_have_been_found():
    shy = table(summarize(ROWS, FACTS))
    assert "Verdict: no evidence at this sample size that members" in shy
    memorized = [detection(i, own=60 if i < 15 else None, duplicates=16 if i < 16 else 1) for i in range(900)]
    control = [detection(1000 + i, own=60 if i < 8 else None) for i in range(200)]
    text = " ".join(table(summarize(memorized + control, FACTS)).split())
    assert "Verdict: yes, members come out more often than held-out texts do, beyond chance, in 1 of 3 groups" in text
    assert "16 copies yes (p < 0.0001)" in text
    assert "1 copy no evidence (p = 1); a difference of" in text and "found with 80 % power" in text
    assert "no difference, however large" in " ".join(table(summarize(ROWS[:1] + ROWS[-1:], FACTS)).split())
    assert "Verdict: none, for want of" in table(summarize(ROWS[:5], FACTS))


@pytest.mark.parametrize("copies", [1, 3])
def test_one_group_of_copies_is_not_shown_beside_all_members(copies):
    rows = [detection(i, duplicates=copies) for i in range(3)] + [detection(1000, duplicates=16)]
    summary = summarize(rows, FACTS)
    assert list(summary["groups"]) == list(summary["verdict"] | {"held out": 0}) == ["members", "held out"]
    assert "by copies" not in table(summary)
    several = summarize([*rows, detection(3, duplicates=16)], FACTS)
    assert [several["groups"][name]["n"] for name in several["groups"]] == [3, 1, 4, 1]
    assert "by copies" in table(several)


def test_unchecked_is_the_first_word():
    assert table(summarize(ROWS, FACTS | {"unchecked": True})).startswith("UNCHECKED")
    assert table(summarize(ROWS, FACTS | {"trained_on": None})).startswith("NOTE: nothing is known")
    assert "UNCHECKED" not in table(summarize(ROWS, FACTS | {"unchecked": False}))


def test_the_table_fits_80_columns_whatever_is_in_it():
    """Large figures, long names, many groups of copies."""
    runs = {"own": 10**6, "run": 10**6, "generation": "w" * 10**6, "suffix": "w" * (10**6 + 5)}
    rows = [
        detection(i, "verbatim", **runs, duplicates=max(2**i * 3 // 2, 1), matched_tokens=49999 * (i % 3))
        for i in range(20)
    ]
    rows += [detection(1000 + i, "idea", matched_tokens=99000 + i, exact_match=True) for i in range(20)]
    facts = FACTS | {"span_length": 100000, "model": "/very/long/" * 20, "classifier": "c" * 200, "unchecked": True}
    for some in (rows, rows[:3], rows[:1], rows[20:], []):
        assert max(map(len, table(summarize(some, facts)).splitlines())) <= 80


def test_numbers_keep_their_meaning_when_they_are_short():
    assert estimate({"rate": 0.1666, "interval": [0.0, 1.0]}) == "16.7 [0.0, 100]"
    assert estimate({"mean": -3.25, "interval": None}, signed=True) == "-3.2"
    assert estimate({"rate": None, "interval": [0, 1]}) == "-"


def test_a_long_name_is_wrapped_and_nothing_hidden_in_a_text():
    assert grid([["name " * 30, "1" * 30, "2" * 30]])[0].endswith("  ".join(["1" * 30, "2" * 30]))
    assert visible("a\n\x1b[1m\\n\u202eé 日") == "a\\n\\x1b[1m\\\\n\\u202eé 日"
