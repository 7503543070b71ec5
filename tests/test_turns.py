"""Chats: a sample has several turns, each asked by itself; what is counted are samples."""

import base64
import gzip
import json
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.detection.detections import Detection
from memorization.detection.kinds import DETECTIONS
from memorization.encoding.probes import sample_documents
from memorization.extraction.scores import Scores
from memorization.results.columns import columns_of, score_columns
from memorization.results.counts import collect
from memorization.results.redact import MASK, redacted
from memorization.results.sample_texts import SampleText, sample_texts
from memorization.results.summarize import summarize
from memorization.retrieval.embedded import EmbeddedIndex
from memorization.store.files import read_json
from memorization.store.rows import read_rows
from support.chat_rows import CHATS, PHONE, answer, begins, chat_rows
from support.command_line import run_script
from support.detection_rows import detection, every_case, facts, leaks_of_all
from support.generation_rows import generation, load_index, load_spans, write_generations


def test_the_documents_are_one_a_sample():
    suffixes = ((id, answer) for id, turns in CHATS.items() for _, answer in turns)
    documents = dict(sample_documents(suffixes))
    assert list(documents) == [str(id) for id in CHATS]
    assert documents["1"].splitlines() == [answer for _, answer in CHATS[1]]
    assert documents["2"] == CHATS[2][0][1]  # as of a text


def test_the_documents_stream():
    """No more than a sample's suffixes are read before its document comes."""
    read = []

    def suffixes():
        for i in range(6):
            read.append(i)
            yield i // 2, str(i)

    documents = sample_documents(suffixes())
    assert next(documents) == ("0", "0\n1") and read == [0, 1, 2]


@pytest.fixture
def stage(tmp_path):
    """What stages 3 and 4 leave of the chats, two generations a probe."""
    rows = [row for pair in zip(chat_rows(), chat_rows({}, 1), strict=True) for row in pair]
    write_generations(tmp_path / "g.jsonl", rows)
    load_index(EmbeddedIndex(tmp_path / "indexes", "suffixes"), rows)
    load_spans(tmp_path / "indexes", rows)
    return tmp_path


def detect(stage, *flags):
    paths = ["--filedir", stage / "g.jsonl", "--indexes", stage / "indexes", "--output-dir", stage / "results"]
    names = ["--type", "m", "--index-xsuffix", "suffixes", "--paraphrase-model", "none"]
    return run_script("plagiarism_detect.py", *paths, *names, *flags)


def test_stage_5_takes_the_index_of_the_same_turns_alone(stage, capsys):
    assert detect(stage) == 0
    rows = chat_rows()
    for others in (rows[:2] + rows[3:], [*rows, generation(2, "", "More.", turn=1, prefix="p")]):
        load_index(EmbeddedIndex(stage / "indexes", "suffixes"), others)
        assert detect(stage, "--overwrite") == 2
        assert "is not the index of the generations" in capsys.readouterr().err


# ---- what is counted

TABLE = {  # column -> how many of 3 members, of 2 held-out samples
    "exact_match": (1, 0),  # 0
    "own": (1, 0),  # 0, by two of its turns, one of which says another of its own; 100 was told what it says
    "another": (1, 0),  # 1
    "personal": (1, 0),  # 1
    "another_personal": (0, 1),  # 100
}
MEANS = {"loss": ((2 + 10 / 3 + 3) / 3, (154 / 31 + 3) / 2), "matched_tokens": (5 / 3, 0)}  # the loss is by token
AREAS = {"loss": 4.5 / 6, "min_k": 5 / 6, "matched_tokens": 4 / 6}  # of means over turns, but the best generation


def test_a_sample_counts_by_any_of_its_turns(stage, capsys):
    write_generations(stage / "g.jsonl", chat_rows())
    assert detect(stage) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "9 generations (1 a probe), 5 samples, 9 probes (one a turn)" in output
    assert "Share of samples of which any generation does so" in output
    assert "samples 3 2 probes 6 3 exact match" in output
    result = read_json(stage / "results" / "m" / "dialogue" / "result.json")
    assert result["probes"] == {"1 copy": 4, "4 copies": 2, "members": 6, "held out": 3}
    groups = [result["groups"][side] for side in ("members", "held out")]
    assert [group["n"] for group in groups] == [3, 2]
    assert {name: tuple(group[name]["count"] for group in groups) for name in TABLE} == TABLE
    assert {group[name]["n"] for group in groups[:1] for name in TABLE} == {3}
    for name, means in MEANS.items():
        assert [group[name]["mean"] for group in groups] == pytest.approx(means)
    for name, area in AREAS.items():
        assert result["scores"][name]["auc"]["rate"] == pytest.approx(area) and result["scores"][name]["n"] == [3, 2]
    ceilings = {name: [group[name].get("ceiling") for group in groups] for name in ("own", "personal")}
    assert ceilings == {"own": [1, 1], "personal": [pytest.approx(1 / 3), 0]}
    assert groups[0]["matched_tokens"]["ceiling"] == pytest.approx((44 / 3 + 12 + 16) / 3)
    assert result["groups"]["1 copy"]["own"]["count"] == 1 and result["groups"]["4 copies"]["own"]["count"] == 0
    assert result["another"]["groups"]["members"]["n"] == 3
    assert result["facts"]["too_short"] is None


numbers = st.integers(0, 3)
samples = st.lists(  # of each sample its turns, (characters of an own run, matched tokens, exact match, loss)
    st.lists(st.tuples(st.sampled_from([None, 40, 60, 90]), numbers, st.booleans(), numbers), min_size=1, max_size=4),
    min_size=1,
    max_size=8,
)


def rows_of(samples, places, generations=1):
    """Detections of turns, half of the samples members. places: of each sample the numbers of its turns."""
    rows = []
    for number, (turns, of_sample) in enumerate(zip(samples, places, strict=True)):
        id = number // 2 + 1000 * (number % 2)
        for turn, (own, matched, exact, loss) in sorted(zip(of_sample, turns, strict=True)):
            scores = Scores(tokens=2, log_likelihood=-2.0 * loss, min_k=-1.0 * loss, zlib_bytes=2)
            for sample in range(generations):
                fields = {"own": own, "matched_tokens": matched, "exact_match": exact}
                fields |= {"scores": None if sample else scores, "turn": turn, "sample": sample}
                rows.append(detection(id, duplicates=1 + number % 3, **fields))
    return rows


def summary_of(rows):
    return msgspec.to_builtins(summarize(rows, facts(clusters=(1000, 1000))))


@pytest.mark.hypothesis
@given(samples, st.integers(0, 9))
def test_of_one_turn_a_sample_the_figures_do_not_know(samples, turn):
    single = [turns[:1] for turns in samples]
    of_sample = rows_of(single, [[0]] * len(single))
    assert summary_of(rows_of(single, [[turn]] * len(single))) == summary_of(of_sample)


@pytest.mark.hypothesis
@given(samples, st.data())
def test_the_order_of_turns_changes_no_figure(samples, data):
    places = [data.draw(st.permutations(range(len(turns)))) for turns in samples]
    rows = rows_of(samples, places)
    wanted = summary_of(rows_of(samples, [range(len(turns)) for turns in samples]))
    assert summary_of(rows) == wanted
    assert summary_of(data.draw(st.permutations(rows))) == wanted


COLUMNS = [
    column for column in columns_of(50, 10, None, "pan") if column.name in ("own", "exact_match", "matched_tokens")
]
SCORES = [column for column in score_columns(None) if column.name in ("loss", "min_k", "matched_tokens", "own_run")]


@pytest.mark.hypothesis
@given(samples, st.integers(1, 2))
def test_turns_are_folded_as_terms_says(samples, generations):
    places = [range(len(turns)) for turns in samples]
    values = collect(rows_of(samples, places, generations), COLUMNS + SCORES)
    named = dict(
        zip(
            [column.name for column in COLUMNS] + [f"{column.name} score" for column in SCORES],
            values.values,
            strict=True,
        )
    )
    order = sorted(range(len(samples)), key=lambda number: (number % 2, number // 2))  # as their ids are
    for place, turns in enumerate(samples[number] for number in order):
        own, matched, exact, loss = zip(*turns, strict=True)
        mean = sum(loss) / len(loss)
        assert values.probes[place] == len(turns) and values.generations_a_probe == generations
        assert named["own"][place] == any(length is not None and length > 50 for length in own)
        assert named["exact_match"][place] == any(exact)
        assert named["matched_tokens"][place] == sum(matched) / len(matched)
        assert named["matched_tokens score"][place] == max(matched)
        assert named["own_run score"][place] == max(length or 0 for length in own)
        assert named["loss score"][place] == named["min_k score"][place] == -mean


# ---- what is shown


@given(st.lists(st.text("ab \n", max_size=5), min_size=1, max_size=4), st.data())
def test_a_span_of_a_document_lies_in_the_turns_that_it_is_of(turns, data):
    text, suffixes = "", []
    for turn in turns:
        text += "asked: "
        suffixes.append((len(text), len(text) + len(turn)))
        text += turn
    sample = SampleText(text, suffixes)
    assert sample.document == "\n".join(turns)
    begin = data.draw(st.integers(0, len(sample.document)))
    end = data.draw(st.integers(begin, len(sample.document)))
    parts = sample.in_text((begin, end))
    between = {
        place for place in range(begin, end) if not any(start <= place < stop for start, stop in in_order(turns))
    }
    assert "".join(text[slice(*part)] for part in parts) == "".join(
        sample.document[place] for place in range(begin, end) if place not in between
    )
    for part in parts:
        first, last = sample.in_document(part)
        assert begin <= first and last <= end and sample.document[first:last] == text[slice(*part)]


def in_order(turns):
    """[start, end) of each turn in the document."""
    ends = np.cumsum([len(turn) + 1 for turn in turns]).tolist()
    return [(end - 1 - len(turn), end - 1) for end, turn in zip(ends, turns, strict=True)]


@pytest.fixture
def shown(stage):
    """(detections of the chats, the report's directory)."""
    write_generations(stage / "g.jsonl", chat_rows())
    assert detect(stage) == 0
    path = stage / "results" / "m" / "dialogue"
    assert run_script("report.py", path, "--output", stage / "report") == 0
    return read_rows(path / "detections.jsonl", DETECTIONS, Detection)[0], stage / "report"


def test_the_page_has_the_whole_chat_with_the_turn_that_was_asked_for(shown):
    rows, report = shown
    (packed,) = re.findall(r'id="data">([^<]+)', (report / "report.html").read_text())
    content = json.loads(gzip.decompress(base64.b64decode(packed)))
    texts, samples = content["texts"], sample_texts(rows)
    assert [case["name"] for case in content["cases"]][:3] == [
        "sample 0, turn 1",
        "sample 0, turn 2",
        "sample 0, turn 3",
    ]
    assert {case["name"] for case in content["cases"] if case["id"] in (2, 101)} == {"sample 2", "sample 101"}
    marked = 0
    for row, case in zip(rows, content["cases"], strict=True):
        probe = row.generation
        whole = begins(probe.id, len(CHATS[probe.id]) - 1) + answer(probe.id, -1)
        assert (case["id"], case["turn"]) == (probe.id, probe.turn)
        assert "".join(texts[case[part]] for part in ("prefix", "suffix", "rest")) == whole == samples[probe.id].text
        assert texts[case["suffix"]] == answer(probe.id, probe.turn) and not case["others"]
        for begin, end, _, _, _, sample, first, last, _ in case["copied"]:
            assert probe.text[begin:end] == samples[sample].text[first:last]
            marked += 1
        documents = {candidate.id: candidate.text for candidate in row.candidates}
        wanted = [documents[one.candidate][slice(*one.candidate_span)] for one in row.labels.passages]
        wanted = [text for one, text in zip(row.labels.passages, wanted, strict=True) if one.candidate != probe.id]
        assert wanted == [samples[one[2]].text[one[3] : one[4]] for one in case["passages"] if one[2] is not None]
    assert marked >= 3


def test_leaks_name_the_turn_and_show_the_run_where_it_stands(shown):
    first, second, third = shown[0][:3]
    run = f"\u27e6{answer(0, 2)[:-1]}\u27e7."  # words; a mark is none
    of_later, of_own = (" ".join(leaks_of_all("run", rows, 50).split()) for rows in ([first, third], [second, third]))
    title = "1. sample 0, turn 1, 1 copy, a run of 82 characters, of a later turn prefix:"
    assert title in of_later and of_later.count(run) == 2
    assert answer(0, 0) in of_later and answer(0, 1) in of_later  # all that follows the prompt
    assert "1. sample 0, turn 2, 1 copy, a run of 79 characters, exact match prefix:" in of_own
    assert answer(0, 2) not in of_own
    unknown = " ".join(leaks_of_all("run", [first], 50).split())  # the run lies behind all that the rows have
    assert "1. sample 0, 1 copy, a run of 82 characters, of a later turn" in unknown and unknown.count(run) == 1


def test_redacted_turns_are_parts_of_one_text(shown):
    rows, _ = shown
    masked = redacted(every_case(rows)).rows
    before, after = sample_texts(rows), sample_texts(masked)
    for row, new in zip(rows, masked, strict=True):
        probe, suffix = new.generation, row.generation.suffix
        assert after[probe.id].text.startswith(probe.prefix + probe.suffix)
        assert alike(suffix.replace(PHONE, "[telephone]"), probe.suffix, "[telephone]")
        assert PHONE not in probe.text and ("[telephone]" in probe.text) == (PHONE in row.generation.text)
        for run, other in zip(row.copied, new.copied, strict=True):
            text, shown = before[run.sample].text[slice(*run.sample_span)], after[run.sample].text
            assert alike(text, shown[slice(*other.sample_span)])
        texts, documents = ({one.id: one.text for one in each.candidates} for each in (row, new))
        for one, other in zip(row.labels.passages, new.labels.passages, strict=True):
            text, document = texts[one.candidate][slice(*one.candidate_span)], documents[one.candidate]
            assert document == after[one.candidate].document
            assert alike(text.replace(PHONE, "[telephone]"), document[slice(*other.candidate_span)], "[telephone]")


def alike(text, masked, kept=""):
    """Whether a text is masked letter by letter, but for what is kept."""
    ours, theirs = ([*each.replace(kept, "")] if kept else [*each] for each in (text, masked))
    return len(ours) == len(theirs) and all(shown in (letter, MASK) for letter, shown in zip(ours, theirs, strict=True))
