"""From labels to counts and the table."""

from memorization.detection.labels import best_label, candidate_label, first_label
from memorization.results.statistics import wilson
from memorization.results.tables import published_counts, published_line, summarize, table


def row(label, member=True, duplicates=1, prefix=None):
    return {"label": label, "first_label": label, "member": member, "duplicates": duplicates, "prefix": prefix}


ROWS = (
    [row("verbatim", duplicates=16), row("idea", duplicates=4), row("none", duplicates=5)]
    + [row("paraphrase"), row("none")]
    + [row("none", member=False)] * 9
    + [row("paraphrase_low", member=False)]
)  # fmt: skip


def test_the_label_is_the_strongest_and_the_first_label_the_first():
    labels = ["none", "paraphrase_low", "idea", "paraphrase"]
    assert best_label(labels) == "paraphrase"
    assert first_label(labels) == "paraphrase_low"
    assert best_label([]) == first_label(["none"]) == "none"


def test_a_paraphrase_needs_one_sentence_pair_over_a_half():
    assert candidate_label("obfuscated", [0.5, 0.2]) == "paraphrase_low"
    assert candidate_label("obfuscated", [0.2, 0.51]) == "paraphrase"
    assert candidate_label("obfuscated", []) == "paraphrase_low"
    assert candidate_label("obfuscated", None) == "unverified"
    assert [candidate_label(kind, None) for kind in ("none", "verbatim", "summary")] == ["none", "verbatim", "idea"]


def test_rates_are_of_generations_and_carry_intervals():
    summary = summarize(ROWS)
    assert summary["members"]["generations"] == 5
    assert summary["members"]["any"] == {"count": 3, "rate": 0.6, "interval": list(wilson(3, 5))}
    assert summary["non_members"]["paraphrase_low"]["count"] == summary["non_members"]["any"]["count"] == 1
    assert round(summary["difference"]["any"]["rate"], 9) == 0.5
    assert round(summary["difference"]["paraphrase_low"]["rate"], 9) == -0.1


def test_members_are_grouped_by_copies_in_powers_of_two():
    copies = summarize(ROWS)["members_by_copies"]
    assert {name: group["generations"] for name, group in copies.items()} == {
        "1 copy": 2,
        "4-5 copies": 2,
        "16 copies": 1,
    }


def test_published_counts_take_members_and_each_prefix_once():
    rows = [
        row("idea", prefix="a"),
        row("verbatim", prefix="a"),
        row("none", prefix="b"),
        row("verbatim", False, 1, "c"),
    ]
    counts = published_counts(rows)
    assert counts == {"idea": 1, "none": 1}
    assert published_line(counts) == "verbatim: 0 paraphrase: 0 paraphrase_low: 0 idea: 1 none: 1\n"


def test_the_table_names_every_group_and_says_whether_there_is_memorization():
    text = table(summarize(ROWS))
    for words in (
        "members, 16 copies",
        "members, all",
        "non-members (held out)",
        "60.0 % (23.1-88.2)",
        "verbatim: copies",
    ):
        assert words in text
    assert "unverified" not in text
    many = [row("verbatim")] * 50 + [row("none", member=False)] * 50
    assert "beyond chance? yes (verbatim)" in table(summarize(many))
    assert "beyond chance? not shown" in text
    alone = table(summarize([row("verbatim")]))
    assert next(line for line in alone.splitlines() if "held out" in line).split()[-3:] == ["0", "-", "-"]
