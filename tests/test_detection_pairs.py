"""Given pairs in JSON lines: order, spans, mistakes."""

import io
import json
import re
from itertools import count, islice

import pytest

from memorization.alignment import align, longest_common_run
from memorization.alignment.pair_files import align_pairs, run_pairs
from memorization.shell.cli import UserError

TEXT = "The grey cat chased seven mice. It slept beside the stove. Nobody saw the old dog there."
ROWS = [{"id": i, "suspicious": f"{TEXT} Number{i} came later today.", "source": TEXT[i % 7 :]} for i in range(150)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_line_comes_out_for_each_that_goes_in_and_in_order(tmp_path, jobs):
    run_pairs(write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl", "paper", jobs)
    results = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["id"] for row in results] == list(range(150))
    for row, given in zip(results[:20], ROWS, strict=False):
        kind, passages = align(given["suspicious"], given["source"], "paper")
        run = longest_common_run(given["suspicious"], given["source"])
        expected = {"id": given["id"], "kind": kind, "passages": passages, "longest_common_run": run}
        assert row == json.loads(json.dumps(expected))


def test_given_sentence_spans_are_used_instead_of_our_own():
    row = {"id": "x", "suspicious": TEXT, "source": TEXT}
    (own,) = align_pairs([("a row", row)], "paper")
    whole = [[0, len(TEXT)]]
    (given,) = align_pairs([("a row", row | {"suspicious_sentences": whole, "source_sentences": whole})], "paper")
    assert own["kind"] == "verbatim" and given["kind"] == "none"
    (none,) = align_pairs([("a row", row | {"suspicious_sentences": []})], "paper")
    assert none["kind"] == "none" and none["longest_common_run"] is None


def test_an_endless_stream_is_read_as_results_are_taken():
    rows = (("a row", {"id": i, "suspicious": TEXT, "source": TEXT}) for i in count())
    assert [row["id"] for row in islice(align_pairs(rows, "paper"), 200)] == list(range(200))


def test_standard_input_and_output(monkeypatch, capsys):
    lines = json.dumps(ROWS[0]) + "\n\n" + json.dumps(ROWS[1]) + "\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    run_pairs("-", "-", "paper", 1)
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [0, 1]


NO_IDS = ("null", "true", "1.5", "[1]", "{}")
PAIR = '{"id": 1, "suspicious": "a", "source": "b"'
SPANS = '{"id": 1, "suspicious": "a", "source": "b", "source_sentences": %s}'


@pytest.mark.parametrize(
    "line, says",
    [
        ("{", "line 3 is not valid JSON"),
        ("[1]", "line 3 is not a JSON object"),
        ('{"id": 1, "suspicious": "a"}', "line 3: Object missing required field `source`; a line has id, "),
        (
            '{"id": 1, "suspicious": "a", "source": "b", "sources": 1}',
            "line 3: Object contains unknown field `sources`",
        ),
        ('{"id": 1, "suspicious": "a", "source": "b", "\\ud800": 1}', "line 3: 'utf-8' codec can't encode"),
        (
            '{"id": 1, "suspicious": "a", "source": "b", "source": "c"}',
            "line 3 is not valid JSON: 'source' stands twice",
        ),
        ('{"id": 1, "suspicious": "a", "source": null}', "line 3: Expected `str`, got `null` - at `$.source`"),
        ('{"id": 1, "suspicious": ["a"], "source": "b"}', "line 3: Expected `str`, got `array` - at `$.suspicious`"),
        (f'{{"id": 1, "suspicious": {"[" * 9999}', "line 3 is not valid JSON: nested too deeply"),
        *((f'{{"id": {id}, "suspicious": "a", "source": "b"}}', "line 3: Expected `int | str`") for id in NO_IDS),
        *((SPANS % spans, "line 3: Expected `") for spans in ("7", '[[0, "1"]]', "[[0, 1.5]]", "[[0]]", "[[0, 1, 2]]")),
        *((SPANS % spans, "line 3: source_sentences: ") for spans in ("[[0, 2]]", "[[-1, 1]]", "[[1, 0]]")),
    ],
)
def test_a_mistake_names_its_line_and_leaves_no_file(tmp_path, line, says):
    path = tmp_path / "in.jsonl"
    path.write_text(f"{json.dumps(ROWS[0])}\n\n{line}\n")
    with pytest.raises(UserError, match=re.escape(f"in.jsonl: {says}")):
        run_pairs(path, tmp_path / "out.jsonl", "paper", 1)
    assert [file.name for file in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_line_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(json.dumps(ROWS[0]).encode() + b'\n{"id": "\xff"}\n')
    with pytest.raises(UserError, match="in.jsonl: line 2 is not UTF-8"):
        run_pairs(tmp_path / "in.jsonl", tmp_path / "out.jsonl", "paper")


@pytest.mark.parametrize("id", ["", "\ud800", "é\n", "9", -1, 2**200])
def test_an_id_comes_back_as_it_is_and_half_characters_do_no_harm(tmp_path, id):
    row = {"id": id, "suspicious": f"{TEXT}\ud800 \udc00", "source": f"\udfff {TEXT}"}
    run_pairs(write(tmp_path / "in.jsonl", [row]), tmp_path / "out.jsonl", "paper")
    (result,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    plain = {"id": "x", "suspicious": f"{TEXT}? ?", "source": f"? {TEXT}"}
    assert result == json.loads(json.dumps(next(align_pairs([("a row", plain)], "paper")))) | {"id": id}


def test_a_missing_file_and_an_unknown_profile_are_mistakes(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        run_pairs(tmp_path / "none.jsonl", tmp_path / "out.jsonl", "paper", 1)
    with pytest.raises(UserError, match="no such profile"):
        run_pairs(write(tmp_path / "in.jsonl", ROWS), tmp_path / "out.jsonl", "best", 1)


def test_the_output_replaces_neither_its_input_nor_a_directory(tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text("{}\n")
    (tmp_path / "thesis").mkdir()
    with pytest.raises(UserError, match="which is read"):
        run_pairs(str(pairs), str(tmp_path / "." / "pairs.jsonl"), "paper")
    with pytest.raises(UserError, match="is a directory"):
        run_pairs(str(pairs), str(tmp_path / "thesis"), "paper")
    assert pairs.read_text() == "{}\n"
