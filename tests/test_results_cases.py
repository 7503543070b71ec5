"""Which cases a report shows of many, in which order, and what it says of the others."""

import base64
import gzip
import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.results.cases import KINDS, choose, rank
from support.command_line import run_script
from support.detection_rows import case_index, detection, item, write_detections


def row(id, **fields):
    """A detection whose texts name it."""
    return detection(id, suffix=f"suffix {id} " * 60, text=f"text {id} " * 60, **fields)


PLANTED = {  # of each of KINDS, those with the longer run first; all of members
    0: [row(5, exact_match=True, own=90), row(9, exact_match=True)],
    1: [row(3, personal=[item("email", (0, 4), "own")], own=70), row(8, personal=[item("card", (0, 4), "own")])],
    2: [row(7, own=300), row(2, own=60)],
    3: [row(6, others=[(4, 1, 1)]), row(1, personal=[item("email", (0, 4), "another")])],
    4: [row(4, others=[(6, 3, 2)])],
}
ORDINARY = [row(id) for id in range(10, 30)]
HELD_OUT = [row(1000 + id) for id in range(8)] + [row(1008, own=120), row(1009, exact_match=True)]
TELLING = [one for kind in PLANTED.values() for one in kind]
ROWS = sorted([*TELLING, *ORDINARY, *HELD_OUT], key=lambda row: row.generation.id)


def ids(rows, places):
    return [rows[place].generation.id for place in places]


def test_rows_are_ranked_by_kind_and_then_by_their_longest_run():
    assert PLANTED.keys() == {*range(len(KINDS))}
    ranks = [rank(row) for row in TELLING]
    assert ranks == sorted(ranks, reverse=True) and len({*ranks}) == len(ranks)
    assert {rank(row) for row in ORDINARY} == {0} and rank(TELLING[-1]) > 0


@pytest.mark.parametrize("number", [4, 12, 20, 32])
def test_the_most_telling_are_chosen_of_members_and_a_quarter_of_held_out_texts(number):
    [chosen] = choose([case_index(ROWS)], number)
    shown, quarter = ids(ROWS, chosen.places), number // 4
    assert shown == sorted(shown) and len({*shown}) == len(shown) == number
    members = [id for id in shown if id < 1000]
    telling = [row.generation.id for row in TELLING][: number - quarter]
    assert {*telling} <= {*members} and len(members) == number - quarter
    assert ({1009} if quarter == 1 else {1008, 1009}) <= {*shown}
    assert chosen.sides == {"members": (number - quarter, 29), "held out": (quarter, 10)}
    assert chosen.hidden == 39 - number


def test_what_one_side_or_run_does_not_need_the_others_get():
    [chosen] = choose([case_index(ROWS)], 36)
    assert chosen.sides == {"members": (27, 29), "held out": (9, 10)}
    [chosen] = choose([case_index(TELLING + ORDINARY + HELD_OUT[:2])], 24)
    assert chosen.sides == {"members": (22, 29), "held out": (2, 2)}
    few, many = choose([case_index(HELD_OUT[:3]), case_index(ROWS)], 20)
    assert few.sides == {"members": (0, 0), "held out": (3, 3)}
    assert many.sides == {"members": (13, 29), "held out": (4, 10)}
    assert [one.hidden for one in choose([case_index(ROWS)] * 2, 100)] == [0, 0]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=30), st.integers(1, 40))
def test_as_many_are_chosen_as_there_is_room_for(rows, number):
    made = [row(id if member else 1000 + id, own=(None, 60, 70, 80)[own]) for id, (member, own) in enumerate(rows)]
    [chosen] = choose([case_index(made)], number)
    assert len(chosen.places) == min(number, len(made)) and chosen.hidden == len(made) - len(chosen.places)
    for side in (True, False):
        shown = [rank(made[place]) for place in chosen.places if made[place].generation.member == side]
        hidden = [rank(one) for i, one in enumerate(made) if i not in chosen.places and one.generation.member == side]
        assert not shown or min(shown) >= max(hidden, default=0)
        assert shown or not hidden or number < 3


@pytest.fixture
def report(tmp_path, capsys):
    def made(rows, *flags, name="a"):
        result = write_detections(tmp_path / name, rows)
        assert run_script("report.py", result, "--output", tmp_path / f"report-{name}", *flags) == 0
        page = (tmp_path / f"report-{name}" / "report.html").read_text()
        [packed] = re.findall(r'id="data">([^<]+)', page)
        content = json.loads(gzip.decompress(base64.b64decode(packed)))
        texts = (capsys.readouterr().out, (tmp_path / f"report-{name}" / "leaks.txt").read_text(), page)
        return content, *(" ".join(text.split()) for text in texts)

    return made


def test_a_report_says_what_it_does_not_show(report):
    content, terminal, leaks, page = report(ROWS, "--cases", 8)
    assert [case["id"] for case in content["cases"]] == [2, 3, 5, 7, 8, 9, 1008, 1009]
    line = "8 of 39 cases, the most telling (members 6 of 29, held out 2 of 10)"
    assert content["total"] == 39 and all(line in text for text in (terminal, leaks, page))
    assert "others, drawn at random" in page and "--cases N shows more" in terminal
    assert "4 of 29 members, with a run of more than 50 characters" in leaks
    assert re.findall(r"\d\. sample (\d+)", leaks) == ["7", "5", "3", "2"]
    assert "1 more come back exactly" in leaks and "of 1 more members:" in leaks and "not shown" not in leaks
    content, terminal, leaks, page = report(ROWS, "--cases", 4, name="b")
    assert [case["id"] for case in content["cases"]] == [3, 5, 9, 1009]
    assert "4 of 29 members, with a run of more than 50 characters, 2 of which are not shown" in leaks
    assert "Personal data alone, of 1 more members, 1 of which are not shown:" in leaks
    assert re.findall(r"\d\. sample (\d+)", leaks) == ["5", "3"] and "- sample 9" in leaks and "sample 8" not in leaks


def test_a_report_that_shows_all_says_nothing_of_it(report):
    content, *texts = report(ROWS, "--cases", 39)
    assert [case["id"] for case in content["cases"]] == [row.generation.id for row in ROWS]
    assert content["total"] == 39 and not content["samples"]
    assert not any("most telling" in text or "not shown" in text for text in texts)


def test_the_text_that_a_case_copies_is_there_though_it_is_no_case(report):
    content, *_ = report([*ORDINARY, row(6, others=[(12, 1, 1)])], "--cases", 1)
    assert [case["id"] for case in content["cases"]] == [6]
    [sample] = content["samples"]
    parts = [content["texts"][sample[part]] for part in ("prefix", "suffix", "rest")]
    assert sample["id"] == 12 and parts == ["prefix 12", "suffix 12 " * 60, ""]
    [[_, _, _, _, _, other, first, last, _]] = content["cases"][0]["copied"]
    assert (other, first, last) == (12, 5, 65)


def test_a_turn_is_shown_in_its_whole_chat_though_the_others_are_no_cases(report):
    turns = [row(6), msgspec.structs.replace(row(6, exact_match=True))]
    last = turns[0].generation
    probe = msgspec.structs.replace(turns[1].generation, turn=1, prefix=last.prefix + last.suffix + " and ")
    turns = [turns[0], msgspec.structs.replace(turns[1], generation=probe)]
    third = msgspec.structs.replace(probe, turn=2, exact_match=None, prefix=probe.prefix + probe.suffix + " or ")
    turns.append(msgspec.structs.replace(turns[0], generation=third))
    content, *_ = report([*turns, *ORDINARY], "--cases", 1)
    [case] = content["cases"]
    assert (case["id"], case["turn"], case["name"]) == (6, 1, "sample 6, turn 2")
    whole = "".join(content["texts"][case[part]] for part in ("prefix", "suffix", "rest"))
    assert whole == third.prefix + third.suffix


def test_masked_cases_show_no_text_of_what_they_copy(report):
    content, _, leaks, _ = report([*ORDINARY, row(6, others=[(12, 1, 1)])], "--cases", 1, "--redact")
    [sample] = content["samples"]
    assert sample["id"] == 12 and "suffix" not in "".join(content["texts"]) + leaks.replace("own sample", "")
    [[_, _, _, _, _, other, first, last, _]] = content["cases"][0]["copied"]
    shown = "".join(content["texts"][sample[part]] for part in ("prefix", "suffix", "rest"))
    assert other == 12 and 0 < first < last <= len(shown)


def test_the_same_rows_give_the_same_cases(report):
    assert report(ROWS, "--cases", 16)[0] == report(ROWS, "--cases", 16, name="b")[0]
