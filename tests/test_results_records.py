"""What the attacks see of single records: p-values and classes against their definition, by hand, and by simulation."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.extraction.engine import TokenScores
from memorization.extraction.scores import scores
from memorization.results.records import CLASSES, conformal_p, recognize, records_csv
from memorization.results.summarize import measure
from memorization.results.tables import record_lines
from support.detection_rows import detection, facts, item

NAN = float("nan")


@given(st.lists(st.tuples(st.sampled_from([*range(5), NAN]), st.booleans(), st.integers(0, 6)), max_size=30))
def test_p_is_as_its_definition(samples):
    values, member = np.array([value for value, *_ in samples], float), np.array([of for _, of, _ in samples], bool)
    clusters = np.array([2 * cluster + of for _, of, cluster in samples], np.int64)  # each on one side
    p = conformal_p(values, member, clusters)
    for value, is_member, cluster, of_sample in zip(values, member, clusters, p, strict=True):
        others = {c for c, of, other in zip(clusters, member, values, strict=True) if not of and other == other}
        held_out = len(others)
        others.discard(None if is_member else cluster)
        if np.isnan(value) or not held_out:
            assert np.isnan(of_sample)
            continue
        greatest = [max(values[(clusters == c) & ~np.isnan(values)]) for c in others]
        assert of_sample == pytest.approx((1 + sum(one >= value for one in greatest)) / (1 + len(greatest)))


def test_recognition_by_hand():
    """Of 19 held-out samples and one member; then of two, of which both must be surer, or none is found."""
    held_out, clusters = np.arange(19.0), np.arange(21)
    for of_members, number in (([19.0], 1), ([18.0], 0), ([19.0, 0.0], 0), ([19.0, 20.0], 2)):
        values = np.append(held_out, of_members)
        member = np.arange(len(values)) >= 19
        result, p = recognize({"loss": values}, member, clusters[: len(values)])
        assert (result.recognized, result.least, result.reason) == (number, len(of_members), None)
        assert result.cut == (0.05 if number else None) and (p[member] <= 0.05).sum() == np.sum(
            np.array(of_members) > 18
        )


@pytest.mark.parametrize(
    ("given", "held_out", "reason"),
    [
        ({}, 30, "no scores of suffixes were computed"),
        ({"loss": 1.0, "min_k": 1.0}, 0, "there are no held-out samples to compare with"),
        ({"loss": 1.0}, 18, "that takes 19 held-out samples that are no near-duplicates, and there are 18"),
        ({"loss": NAN}, 30, "no scores of suffixes were computed"),
        ({"loss": 1.0}, 19, None),
    ],
)
def test_where_no_record_can_be_recognized_the_reason_is_said(given, held_out, reason):
    member = np.arange(held_out + 1) >= held_out
    result, _ = recognize(
        {name: np.full(len(member), value) for name, value in given.items()},
        member,
        member * 1 + np.arange(len(member)),
    )
    assert result.reason == reason and result.recognized == 0 and result.cut is None


def test_the_score_that_decides_does_not_depend_on_its_values():
    given = {"loss": np.arange(30.0), "min_k_plus": np.zeros(30), "ez": np.full(30, NAN), "ratio": np.arange(30.0)}
    member = np.arange(30) >= 20
    assert recognize(given, member, np.arange(30))[0].score == "min_k_plus"
    assert recognize(given | {"ez": np.ones(30)}, member, np.arange(30))[0].score == "ez"
    del given["min_k_plus"]
    assert recognize(given, member, np.arange(30))[0].score == "loss"


@pytest.mark.parametrize("alike", [0, 0.7, 1])
@pytest.mark.parametrize(("clusters", "held_out"), [(60, 20), (60, 30), (400, 200), (300, 25)])
def test_of_a_null_run_at_most_5_percent_are_recognized(clusters, held_out, alike):
    """Scores that do not depend on the side; of clusters of 1 to 5 samples, more or less alike, some are held out."""
    rng, runs, shares, p_of_members = np.random.default_rng(held_out + clusters), 400, [], []
    for _ in range(runs):
        cluster = np.repeat(np.arange(clusters), rng.choice([1, 1, 1, 2, 5], clusters))
        values = np.round(alike * rng.normal(size=clusters)[cluster] + (1 - alike) * rng.normal(size=len(cluster)), 1)
        member = ~np.isin(cluster, rng.choice(clusters, held_out, replace=False))
        result, p = recognize({"loss": values}, member, cluster)
        shares.append(result.recognized / result.members)
        p_of_members.append(rng.choice(p[member]))
    error = 2.5 * (0.05 * 0.95 / runs) ** 0.5
    assert np.mean(np.array(shares) > 0) <= 0.05 + error  # in a null run every discovery is false
    for level in (0.05, 0.2, 0.5):
        assert np.mean(np.array(p_of_members) <= level) <= level + 2.5 * (level * (1 - level) / runs) ** 0.5


def test_members_that_were_learned_are_found_with_few_false_ones():
    rng, false = np.random.default_rng(3), []
    for _ in range(200):
        learned = np.arange(500) < 100
        values = rng.normal(size=500) + 5 * learned
        member = np.arange(500) < 300
        result, p = recognize({"loss": values}, member, np.arange(500))
        recognized = (p <= result.cut) & member
        assert result.recognized == recognized.sum() >= 90
        false.append((recognized & ~learned).sum() / recognized.sum())
    assert np.mean(false) <= 0.05 * 2 / 3 + 0.005  # a third of the members was learned


# ---- classes


def scored(log_prob, tokens=40, greedy=()):
    """Scores of a suffix of equally likely tokens."""
    is_greedy = np.isin(np.arange(tokens), greedy)
    log_probs = np.full(tokens, log_prob, np.float32)
    given = TokenScores(log_probs, is_greedy, log_probs, np.full(tokens, -3, np.float32), np.ones(tokens, np.float32))
    return scores(given, "text")


def records(tuned, before, **fields):
    """Detections of samples and of the same through the base model. tuned: id -> log probability of each token."""
    rows = [detection(id, scores=scored(value), **fields.get(f"of_{id}", {})) for id, value in tuned.items()]
    return measure(rows, facts(), [detection(id, scores=scored(before)) for id in tuned] if before else None)


def test_classes_by_hand():
    """1 says its e-mail address, 2 an own run; 3 needs 2,066 queries; 4 became likelier in all tokens, as did two of
    200 held-out samples, which are extractable too."""
    tuned = {1: -2.5, 2: -0.1, 3: -0.2, 4: -1.0, 5: -3.0, 6: -3.5} | {1000 + id: -4.0 for id in range(198)}
    tuned |= {1198: -0.15, 1199: -0.15}
    fields = {"of_1": {"personal": [item("email", (0, 9), "own")]}, "of_2": {"own": 60, "duplicates": 4}}
    measured = records(tuned, -2.0, **fields)
    classes = ["said", "said", "extractable", "recognizable", *["not seen by these attacks"] * 2]
    assert [CLASSES[place] for place in measured.records.classes[:6]] == classes
    counts = measured.summary.records.classes
    assert counts == {
        group: dict(zip(CLASSES, numbers, strict=True))
        for group, numbers in {
            "1 copy": (1, 1, 1, 2),
            "4 copies": (1, 0, 0, 0),
            "members": (2, 1, 1, 2),
            "held out": (0, 2, 0, 198),
        }.items()
    }
    recognition = measured.summary.records.recognition
    assert (recognition.score, recognition.recognized, recognition.cut) == ("ez", 3, 3 / 201)
    assert measured.summary.counts.figures["recognizable"].groups["members"].count == 3

    table = list(csv.DictReader(io.StringIO(records_csv({"a run": measured.records}).decode())))
    assert [row["class"] for row in table[:6]] == classes and len(table) == 206
    first, second = table[:2]
    assert (first["run"], first["id"], first["member"], first["copies"]) == ("a run", "1", "true", "1")
    assert (first["personal_kinds"], first["personal"], first["own"], second["own"]) == (
        "email",
        "true",
        "false",
        "true",
    )
    assert first["exact_match"] == first["matched_tokens"] == "" and float(second["p"]) == 3 / 201
    assert (second["ez"], second["wbc"], float(second["loss"])) == ("1", "1", pytest.approx(-0.1))


def test_without_a_base_model_or_scores_the_table_says_what_was_not_tried():
    """Chats of text-only engines are said or not seen; without a base model another score decides."""
    measured = records(dict.fromkeys((*range(5), *range(1000, 1030)), -2.0), None)
    assert measured.summary.records.recognition.score == "min_k_plus"
    lines = " ".join(" ".join(record_lines(measured.summary)).split())
    assert "told by min-k %++, the score named in advance, from 30 held-out samples" in lines
    assert "unless 4 members are surer than all of them" in lines
    alone = measure([detection(id, own=60) for id in (1, 2, 1000)], facts())
    lines = " ".join(" ".join(record_lines(alone.summary)).split())
    assert "No record could be recognized: no scores of suffixes were computed." in lines
    assert "What is extractable was not measured." in lines and "recognizable" not in alone.summary.counts.figures
    assert alone.summary.records.classes["members"] == dict(zip(CLASSES, (2, 0, 0, 0), strict=True))


def test_a_sample_of_several_turns_has_the_score_of_all_its_tokens():
    """A turn that changed little counts little for EZ; one of which all tokens are greedy not at all."""
    turns = [scored(-1.0), scored(-2.5), scored(-1.0, greedy=range(40))]
    rows = [detection(1, scores=one, turn=turn) for turn, one in enumerate(turns)]
    rows += [detection(2, scores=turns[2], turn=turn) for turn in range(2)]
    base = [detection(*row.key[:1], scores=scored(-2.0), turn=row.generation.turn) for row in rows]
    values = measure(rows, facts(), base).records.scores
    assert values["ez"].tolist() == [pytest.approx(1 / 1.5), 1.0]
    assert values["wbc"].tolist() == [pytest.approx(2 / 3), 1.0]
    with pytest.raises(ValueError, match="other probes"):
        measure(rows, facts(), base[:-1])
