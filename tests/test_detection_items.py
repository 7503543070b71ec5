"""Whose personal data a generation says: known answers, and the index of items against a search of all samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memorization.detection.copied_runs import SpanIndex
from memorization.detection.detect import ComparisonSettings, detect
from memorization.detection.detections import COMMON
from memorization.detection.personal_data import REGIONS, find
from memorization.detection.personal_items import find_items
from memorization.detection.span_index import build, read_whole
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.store.locations import span_index_path
from support.detection_rows import detection, leaks_of_all
from support.generation_rows import ENCODING, generation, load_index, load_spans

HOTLINE = "650-253-0000"
SECRETS = ["ann.lee@example.org", "+49 30 901820", "13800138000", "020 7946 0958", "bob@b.io", "+7 912 345-67-89"]
SECRETS += ["(212) 736-5000", "090-1234-5678", "carla+x@mail.example.com"]
FILLERS = [
    "He said that we should",
    "Please write to",
    "电话",
    "Tel.",
    "you can reach me at",
    "メールは",
    "or",
    "",
    "to:",
]
SETTINGS = ComparisonSettings("paper", ("pan",), 10, 50)


def sample(id, secret, **fields):
    """A sample, whose prompt and suffix have no run of words with another's, and its generation."""
    words = [f"word{id}x{i}" for i in range(8)]
    suffix = f"{' '.join(words[4:])} {secret}, {' '.join(words[:2])[::-1]}."
    return generation(id, "nothing", suffix, prefix=f"{' '.join(words[:4])} ", **fields)


def says(row, text):
    return generation(row.id, text, row.suffix, prefix=row.prefix, member=row.member, cluster=row.cluster)


def whose(rows, generations, directory):
    spans = load_spans(directory, rows)
    return [[(item.kind, item.whose) for item in find_items(row, spans)] for row in generations]


def test_items_of_its_own_sample_count_however_short_the_run_around_them(tmp_path):
    rows = [sample(i, secret) for i, secret in enumerate(SECRETS)] + [sample(i, "nothing") for i in range(20, 40)]
    generations = [says(row, f"{FILLERS[i]} {SECRETS[i]}") for i, row in enumerate(rows[:9])]
    index = EmbeddedIndex(tmp_path, "test")
    load_index(index, rows)
    detections = detect(generations, index, load_spans(tmp_path, rows), SETTINGS)
    assert [[item.whose for item in row.personal] for row in detections] == [["own"]] * 9
    assert not any(row.copied for row in detections)  # of over 50 characters
    text = leaks_of_all("run", detections, 50)
    assert "0 of 9 members" in text and "Personal data alone, of 9 more members:" in text
    assert all(f"\u27e6{secret.lstrip('(')}\u27e7" in text for secret in SECRETS)


def test_held_out_samples_are_treated_alike(tmp_path):
    rows = [sample(i, secret) for i, secret in enumerate(SECRETS[:4])] + [
        sample(100, SECRETS[4]),
        sample(101, SECRETS[5]),
    ]
    assert whose(rows, [says(rows[4], f"or {SECRETS[4]}")], tmp_path / "own") == [[("email", "own")]]
    said_by = [
        says(rows[4], SECRETS[0]),
        says(rows[4], SECRETS[5]),
        says(rows[0], SECRETS[1]),
        says(rows[0], SECRETS[5]),
    ]
    assert [of_row[0][1] for of_row in whose(rows, said_by, tmp_path / "others")] == [
        "another",
        "other",
        "another",
        "other",
    ]


def test_what_stands_in_the_prompt_is_not_counted(tmp_path):
    row = generation(1, "It is 020 7946 0958 again.", "so: 020 7946 0958", prefix="My number is +44 20 7946 0958. ")
    other = sample(2, "020 7946 0958")
    assert whose([row, other], [row, says(other, "+44 20 7946 0958")], tmp_path) == [
        [("telephone", "prompt")],
        [("telephone", "own")],
    ]


def test_a_hotline_is_neither_own_nor_anothers(tmp_path):
    rows = [sample(i, HOTLINE) for i in range(30)] + [sample(40, "nothing"), sample(100, HOTLINE)]
    said_by = [says(rows[0], HOTLINE), says(rows[30], HOTLINE), says(rows[31], f"call ({HOTLINE[:3]}) {HOTLINE[4:]}")]
    assert whose(rows, said_by, tmp_path) == [[("telephone", "shared")]] * 3


@pytest.mark.parametrize("others", [0, 1, COMMON - 1, COMMON])
def test_a_number_of_a_person_with_several_records_is_own(others, tmp_path):
    rows = [sample(i, SECRETS[0]) for i in range(1 + others)] + [sample(50, "nothing")]
    expected = ["own" if others < COMMON else "shared", {0: "another"}.get(others, "shared")]
    assert [
        of_row[0][1] for of_row in whose(rows, [says(rows[0], SECRETS[0]), says(rows[-1], SECRETS[0])], tmp_path)
    ] == (expected)


def test_near_duplicates_are_one_holder(tmp_path):
    rows = [sample(i, SECRETS[0], cluster=1) for i in (1, 2, 3)] + [
        sample(4, SECRETS[1], cluster=1),
        sample(50, "nothing"),
    ]
    said_by = [says(rows[4], SECRETS[0]), says(rows[3], SECRETS[0])]
    assert whose(rows, said_by, tmp_path) == [[("email", "another")], [("email", "own")]]


def test_what_no_sample_holds_is_nobodys(tmp_path):
    rows = [sample(1, SECRETS[0])]
    assert whose(rows, [says(rows[0], "mallory@example.org on 3 May 2021")], tmp_path) == [
        [("email", "nobody"), ("date", "nobody")]
    ]


def test_an_item_across_the_end_of_the_prompt_counts_where_most_of_it_is_said(tmp_path):
    for cut, expected in ((4, [[("telephone", "own")]]), (14, [[]])):
        number = "+44 20 7946 0958"
        row = generation(1, number[cut:], f"{number[cut:]}, he said", prefix=f"My number is {number[:cut]}")
        (items,) = whose([row], [row], tmp_path / str(cut))
        assert [items] == expected
    spans = load_spans(tmp_path / "spans", [row])
    assert find_items(generation(1, "0958 x", row.suffix, prefix=row.prefix), spans) == []


def test_a_kind_that_only_a_word_tells_is_no_other_item(tmp_path):
    """A number is a telephone's behind "phone:" and any number elsewhere."""
    rows = [sample(1, "phone: 63387939"), sample(2, "nothing")]
    assert whose(rows, [says(rows[0], "it is 63387939"), says(rows[1], "my phone: 63387939")], tmp_path) == [
        [("digits", "own")],
        [("telephone", "another")],
    ]


ITEMS = ["a@b.org", "A@B.org", "c@d.org", "650-253-0000", "+1 650 253 0000", "3 May 2021", "2021-05-03", "none at all"]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(ITEMS), st.sampled_from(ITEMS), st.booleans(), st.integers(0, 3)),
        min_size=1,
        max_size=8,
    )
)
def test_the_index_agrees_with_a_search_of_all_samples(tmp_path_factory, drawn):
    side = {}
    rows = []
    for i, (one, other, member, cluster) in enumerate(drawn):
        member = side.setdefault(cluster, member)
        text = generation(
            i, f"{ITEMS[i]} end", f"so {one} and {other} too", prefix="at ", member=member, cluster=cluster
        )
        rows.append(text)
    spans = load_spans(tmp_path_factory.mktemp("spans"), rows)

    def values(text):
        return {value for item in find(text) for value in item.values}

    for row in rows:
        for item in find_items(row, spans):
            asked = values(row.text[slice(*item.generation_span)])
            held = {(other.cluster, other.member) for other in rows if values(other.prefix + other.suffix) & asked}
            others = {one for one in held if one[0] != row.cluster}
            assert item.own == (len(others) < len(held))
            assert (item.holders, item.members) == (len(others), sum(member for _, member in others))
            of_sample = {other.id: other.cluster for other in rows}
            assert (item.sample is None) == (not others)
            assert not others or of_sample[item.sample] in {cluster for cluster, _ in others}


def test_an_index_of_other_regions_is_built_anew(tmp_path):
    samples = [(1, True, 1, "Ruf 030 901820 an"), (2, False, 2, "none")]
    path = span_index_path(tmp_path, ENCODING)
    for regions in (("US",), ("DE", "US"), ("DE", "US")):
        before = path.stat().st_ino if path.exists() else None
        assert build(path, samples, ENCODING, 2, 1, regions) == (1, 1)
        spans = SpanIndex(tmp_path, ENCODING)
        assert spans.regions == regions and read_whole(path, ENCODING).made_of["regions"] == " ".join(regions)
    assert path.stat().st_ino == before
    assert [item.whose for item in find_items(generation(2, "+49 30 901820", "none", prefix=""), spans)] == ["another"]
    assert [item.kind for item in find_items(generation(2, "oder 030 901820", "none", prefix=""), spans)] == [
        "telephone"
    ]


def test_a_sample_without_items_and_an_index_without_any(tmp_path):
    rows = [sample(1, "nothing"), sample(2, "")]
    spans = load_spans(tmp_path, rows)
    assert spans.regions == REGIONS and len(spans.items.holders(np.array([1, 2], np.uint64))) == 0
    assert whose(rows, [says(rows[0], SECRETS[0])], tmp_path / "other") == [[("email", "nobody")]]
    assert leaks_of_all("run", [detection(1)], 50).count("Personal data") == 0
