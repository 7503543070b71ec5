"""Files between the stages are whole or absent, and a killed run goes on where it was."""

import json

import pytest
from shell import one_line

from memorization.cli import UserError, run
from memorization.encoding.probes import read_probes, write_probes
from memorization.extraction.listing import read_generations, read_listing, write_listing
from memorization.files import fingerprint, fingerprints, read_json, read_jsonl, replacing, write_manifest, write_text
from memorization.rows import Rows, run_key


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_full_disk_gets_one_line_that_names_the_file(tmp_path, capsys):
    rows = rows_of(tmp_path / "r.jsonl")
    rows._partial.symlink_to("/dev/full")
    with pytest.raises(SystemExit) as end:
        run(rows.append, [{"id": 1}])
    assert end.value.code == 2
    assert "r.jsonl: No space left on device; free some space" in one_line(capsys)


def test_a_directory_is_replaced_whole(tmp_path):
    for content in ("one", "two"):
        with replacing(tmp_path / "d") as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["two"]


def test_a_fingerprint_tells_contents_and_names_apart(tmp_path):
    for name, content in {"a": "1", "b": "1", "c": "2"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(content)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")
    (tmp_path / "b" / "file").rename(tmp_path / "b" / "other")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")


def test_a_manifest_holds_arguments_inputs_and_versions(tmp_path):
    (tmp_path / "in").write_text("x")
    write_manifest(tmp_path / "out", {"seed": 5, "path": tmp_path}, fingerprints([tmp_path / "in", "org/name"]), rows=3)
    manifest = read_json(tmp_path / "out.manifest.json")
    assert manifest["arguments"] == {"seed": 5, "path": str(tmp_path)}
    assert manifest["inputs"] == {str(tmp_path / "in"): fingerprint(tmp_path / "in"), "org/name": None}
    assert manifest["rows"] == 3
    assert {"torch", "transformers"} <= manifest["libraries"].keys()


def rows_of(path, rank=0, ranks=1, ids=(3, 1, 4, 15, 9), key="k"):
    return Rows(path, key, list(ids), 2, rank, ranks)


def fill(rows, batches):
    for _, batch in batches:
        rows.append({"id": rows.ids[i], "square": rows.ids[i] ** 2} for i in batch)


def test_rows_go_on_after_a_kill_and_end_as_without_one(tmp_path):
    whole = rows_of(tmp_path / "whole.jsonl")
    fill(whole, whole.mine)
    whole.finish({}, {})

    killed = rows_of(tmp_path / "r.jsonl")
    fill(killed, killed.mine[:2])
    partial = next(tmp_path.glob("r.jsonl.*.partial"))
    partial.write_bytes(partial.read_bytes()[:-3])  # the kill came in the middle of the row of 15
    again = rows_of(tmp_path / "r.jsonl")
    assert [list(batch) for _, batch in again.mine] == [[2, 3], [4]]
    fill(again, again.mine)
    again.finish({}, {})
    assert (tmp_path / "r.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not list(tmp_path.glob("*.partial"))
    assert rows_of(tmp_path / "r.jsonl").mine == []


def test_ranks_share_the_batches_and_rank_0_merges_them(tmp_path):
    ranks = [rows_of(tmp_path / "r.jsonl", rank, 2) for rank in range(2)]
    assert sorted(n for rows in ranks for n, _ in rows.mine) == [0, 1, 2]
    for rows in ranks:
        fill(rows, rows.mine)
    merged = ranks[0].finish({}, {})
    assert [row["id"] for row in merged] == [3, 1, 4, 15, 9] == [row["id"] for row in read_jsonl(tmp_path / "r.jsonl")]


def test_rows_of_other_settings_or_changed_inputs_are_not_used(tmp_path):
    (tmp_path / "in").write_text("x")
    keys = [run_key({"seed": seed}, fingerprints([tmp_path / "in"])) for seed in (5, 6)]
    (tmp_path / "in").write_text("y")
    keys.append(run_key({"seed": 5}, fingerprints([tmp_path / "in"])))
    assert len(set(keys)) == 3
    first = rows_of(tmp_path / "r.jsonl", key=keys[0])
    fill(first, first.mine)
    assert len(rows_of(tmp_path / "r.jsonl", key=keys[1]).mine) == 3


TEXTS = {0: "", 7: "one line", 12: "two\nlines", 3: "ends with a blank line\n", 9: "\r\n\0 ====== 👩‍👩‍👧 5=", 4: "\n"}


def test_a_listing_reads_back_as_written(tmp_path):
    write_listing(tmp_path / "l.txt", TEXTS)
    assert read_listing(tmp_path / "l.txt") == TEXTS
    assert (
        (tmp_path / "l.txt").read_text().startswith("0=======================\n\n7=======================\none line\n")
    )


@pytest.mark.parametrize("content", ["", "text\n0=======================\n", "0=====\ntext\n"])
def test_a_file_that_is_no_listing_is_refused(tmp_path, content):
    (tmp_path / "l.txt").write_text(content)
    with pytest.raises(UserError, match="0======================="):
        read_listing(tmp_path / "l.txt")


def probe(i):
    return {"id": i, "member": True, "prefix": "p", "suffix": "s", "duplicates": 1}


def test_a_listing_without_json_lines_takes_the_rest_from_the_probes(tmp_path):
    write_probes(tmp_path / "p.json", [probe(i) for i in TEXTS])
    write_listing(tmp_path / "l.txt", TEXTS)
    rows, files = read_generations(tmp_path / "l.txt", default_probes=tmp_path / "p.json")
    assert rows == [{**probe(i), "generation": text} for i, text in TEXTS.items()]
    assert files == [tmp_path / "l.txt", tmp_path / "p.json"]


def test_generations_of_other_ids_than_the_probes_are_refused(tmp_path):
    write_probes(tmp_path / "p.json", [probe(i) for i in TEXTS if i != 7])
    write_listing(tmp_path / "l.txt", TEXTS)
    with pytest.raises(UserError, match="differ in 1 ids, 7 for one"):
        read_generations(tmp_path / "l.txt", tmp_path / "p.json")
    (tmp_path / "l.jsonl").write_text("".join(json.dumps({**probe(i), "generation": ""}) + "\n" for i in (0, 7)))
    with pytest.raises(UserError, match="differ in 4 ids, 3 for one"):
        read_generations(tmp_path / "l.txt")


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"data": []},
        {"columns": ["id", "member", "prefix", "suffix", "duplicates"], "data": []},
        {"columns": ["id", "prefix"], "data": [[1, "a"]]},
    ],
)
def test_a_file_without_probes_is_refused(tmp_path, table):
    (tmp_path / "p.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="p.json"):
        read_probes(tmp_path / "p.json")
