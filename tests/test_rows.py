"""Work that is gone on with is the same work: rows after kills, of several ranks, of other runs."""

import os
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memorization.extraction.kinds import GENERATIONS
from memorization.shell.cli import UserError, run
from memorization.store.files import fingerprint
from memorization.store.manifests import manifest_path, read_manifest, write_manifest
from memorization.store.rows import Keyed, Rows, StoredRows, read_rows
from support.command_line import ROOT, one_line, read_jsonl


class Square(Keyed):
    square: int


KEYS = [(3, 0, 0), (3, 0, 1), (1, 0, 0), (4, 2, 0), (15, 0, 0)]
MADE_OF = {
    "seed": 5,
    "model": "a" * 64,
    "encoding": "e" * 16,
    "prefix_length": 50,
    "trained_on": None,
    "unchecked": False,
    "temperature": 0.0,
    "top_k": 0,
    "top_p": 1.0,
}
FACTS = {"listing": "", "documents": None, "training": None, "base": None, "canaries": None}


def rows_of(path, rank=0, ranks=1, keys=KEYS, made_of=MADE_OF, overwrite=False):
    return Rows(path, GENERATIONS, Square, made_of, keys, 2, rank, ranks, overwrite)


def fill(rows, batches=None):
    shift = 1000 * (rows.made_of["seed"] - 5)
    for _, batch in rows.mine if batches is None else batches:
        keys = [rows.keys[i] for i in batch]
        rows.append(Square(id=id, turn=turn, sample=sample, square=id**2 + sample + shift) for id, turn, sample in keys)


def finished(path, **options):
    with rows_of(path, **options) as rows:
        fill(rows)
        rows.finish({}, {}, **FACTS)
    return path


def names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("whole") / "r.jsonl")


def test_a_finished_result_holds_each_row_in_order_and_says_what_it_is(whole):
    rows, manifest = read_rows(whole, GENERATIONS, Square)
    assert [row.key for row in rows] == KEYS
    assert [row.square for row in rows] == [9, 10, 1, 16, 225]
    assert (manifest.rows, manifest.made_of, manifest.contents) == (5, MADE_OF, fingerprint(whole))
    assert names(whole.parent) == ["r.jsonl", "r.jsonl.manifest.json"]


def test_a_torn_last_line_is_made_again(whole, tmp_path):
    with rows_of(tmp_path / "r.jsonl") as rows:
        fill(rows, rows.mine[:2])
    partial = next(tmp_path.glob("r.jsonl.*.partial"))
    partial.write_bytes(partial.read_bytes()[:-3])
    with rows_of(tmp_path / "r.jsonl") as rows:
        assert "3 of them done before" in rows.progress
        assert [list(batch) for _, batch in rows.mine] == [[2, 3], [4]]
        fill(rows)
        rows.finish({}, {}, **FACTS)
    assert fingerprint(tmp_path / "r.jsonl") == fingerprint(whole)


def killed_at(step, work):
    """Run work() in a process of its own that dies before its step-th change to the disk. Whether it died."""
    child = os.fork()
    if not child:
        left = [step]

        def hook(event, arguments):
            if (
                event in ("os.rename", "os.remove", "os.truncate")
                or event == "open"
                and arguments[1] not in ("r", "rb")
            ):
                if not left[0]:
                    os._exit(9)
                left[0] -= 1

        sys.addaudithook(hook)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@pytest.mark.parametrize("before", [None, MADE_OF | {"seed": 6}])
def test_a_run_killed_at_any_moment_goes_on_and_ends_as_without_a_kill(whole, tmp_path, before):
    """before: what the result was made of that it replaces, which stays whole until it is replaced whole."""
    for step in range(100):
        path = tmp_path / str(step) / "r.jsonl"
        if before:
            finished(path, made_of=before)
        killed = killed_at(step, lambda path=path: finished(path, overwrite=True))
        if manifest_path(path).exists():
            _, manifest = read_rows(path, GENERATIONS, Square)
            assert manifest.made_of in (before, MADE_OF)
        elif path.exists():
            with pytest.raises(UserError, match="has no manifest"):
                read_rows(path, GENERATIONS, Square)
        finished(path, overwrite=True)
        assert fingerprint(path) == fingerprint(whole)
        assert read_manifest(path, GENERATIONS).made_of == MADE_OF
        assert not list(path.parent.glob("*.partial"))
        if not killed:
            break
    assert 10 < step < 99


def test_killed_between_the_rows_and_their_manifest_it_needs_no_overwrite(whole, tmp_path):
    path = tmp_path / "r.jsonl"
    with rows_of(path) as rows:
        fill(rows)
        path.write_bytes(b"".join(rows._merged()))
    finished(path)
    assert fingerprint(path) == fingerprint(whole)


def test_the_same_again_makes_nothing_anew(tmp_path):
    path = finished(tmp_path / "r.jsonl")
    before = path.stat().st_mtime_ns
    with rows_of(path, overwrite=True) as rows:
        assert (rows.mine, rows.finished) == ([], True)
        assert [row.square for row in rows] == [9, 10, 1, 16, 225]
        rows.finish({"other": "spelling"}, {}, **FACTS)
    assert path.stat().st_mtime_ns == before
    assert read_manifest(path, GENERATIONS).arguments == {}


MORE_KEYS = [(id, turn, sample) for id in range(7) for turn in range(1 + id % 2) for sample in range(2)]


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("more") / "r.jsonl", keys=MORE_KEYS)


@given(st.data())
def test_any_number_of_ranks_killed_anywhere_gives_the_same_bytes(more, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("ranks") / "r.jsonl"
    for _ in range(data.draw(st.integers(0, 3), label="kills")):
        ranks = data.draw(st.integers(1, 4), label="ranks")
        opened = [rows_of(path, rank, ranks, MORE_KEYS) for rank in range(ranks)]
        batches = [n for rows in opened for n, _ in rows.mine]
        assert len(batches) == len(set(batches))
        for rows in opened:
            fill(rows, rows.mine[: data.draw(st.integers(0, 3), label="batches")])
            if rows._partial.exists():
                torn = data.draw(st.integers(0, 30), label="torn")
                rows._partial.write_bytes(rows._partial.read_bytes()[: -torn or None])
            rows._stack.close()
    finished(path, keys=MORE_KEYS)
    assert fingerprint(path) == fingerprint(more)


def test_ranks_share_the_batches_and_rank_0_merges_them(whole, tmp_path):
    ranks = [rows_of(tmp_path / "r.jsonl", rank, 2) for rank in range(2)]
    assert sorted(n for rows in ranks for n, _ in rows.mine) == [0, 1, 2]
    for rows in ranks:
        fill(rows)
    assert [row.id for row in ranks[0]] == [3, 3, 1, 4, 15]  # before it is finished, too
    ranks[0].finish({}, {}, **FACTS)
    assert fingerprint(tmp_path / "r.jsonl") == fingerprint(whole)
    for rows in ranks:
        rows.__exit__()
    assert names(tmp_path) == names(whole.parent)


def test_ranks_without_a_disk_in_common_are_told(tmp_path):
    ranks = [rows_of(tmp_path / str(rank) / "r.jsonl", rank, 2) for rank in range(2)]
    for rows in ranks:
        fill(rows)
    with pytest.raises(UserError, match="only 3 of its 5 rows are here; give all processes a disk in common"):
        ranks[0].finish({}, {}, **FACTS)
    assert not (tmp_path / "0" / "r.jsonl").exists()


def test_rows_that_vanished_while_it_ran_are_missed(tmp_path):
    with rows_of(tmp_path / "r.jsonl") as rows:
        fill(rows, rows.mine[:1])
        rows._partial.unlink()
        fill(rows, rows.mine[1:])
        with pytest.raises(UserError, match="only 3 of its 5 rows"):
            rows.finish({}, {}, **FACTS)
        assert not rows.path.exists()


def test_another_run_in_the_directory_leaves_unfinished_rows_alone(whole, tmp_path):
    path = tmp_path / "r.jsonl"
    with rows_of(path) as rows:
        fill(rows, rows.mine[:2])
    finished(path, made_of={**MADE_OF, "seed": 6})
    finished(tmp_path / "r.jsonl.2", made_of=MADE_OF)
    with pytest.raises(UserError, match="seed"):
        rows_of(path)
    with rows_of(path, overwrite=True) as rows:
        assert "4 of them done before" in rows.progress
        fill(rows)
        rows.finish({}, {}, **FACTS)
    assert fingerprint(path) == fingerprint(whole)


def test_a_result_of_other_settings_is_replaced_only_when_told(whole, tmp_path):
    path = finished(tmp_path / "r.jsonl", made_of={**MADE_OF, "seed": 6, "model": "b" * 64})
    before = fingerprint(path)
    with pytest.raises(UserError) as refused:
        rows_of(path)
    assert str(refused.value) == (
        f"{path}: is the result of another run, of other seed (6, not 5) and model ({'b' * 12}, not {'a' * 12}); "
        "replace it with --overwrite, or write elsewhere"
    )
    with rows_of(path, overwrite=True) as rows:
        assert len(rows.mine) == 3
        fill(rows, rows.mine[:2])
        assert fingerprint(path) == before  # until the other is whole
        fill(rows, rows.mine[2:])
        rows.finish({}, {}, **FACTS)
    assert fingerprint(path) == fingerprint(whole)
    assert read_manifest(path, GENERATIONS).made_of == MADE_OF


def test_stored_rows_are_those_of_the_result_that_was_opened(tmp_path):
    path = finished(tmp_path / "r.jsonl")
    stored, rows = StoredRows(path, GENERATIONS, Square), read_rows(path, GENERATIONS, Square)[0]
    finished(path, keys=KEYS[::-1], made_of=MADE_OF | {"seed": 6}, overwrite=True)
    assert list(stored) == rows and len(stored) == len(rows)
    for where in (slice(1, 3), slice(3, 99), slice(None, None, -2)):
        assert stored[where] == rows[where]
    assert stored[-1] == rows[-1]
    with pytest.raises(IndexError):
        stored[len(rows)]


EDITS = {
    "a value": lambda text: text.replace("225", "226"),
    "a row less": lambda text: text[: text.index("\n") + 1],
    "a row twice": lambda text: text + text[: text.index("\n") + 1],
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_rows_are_refused_and_made_anew_only_when_told(whole, tmp_path, edit):
    path = finished(tmp_path / "r.jsonl")
    path.write_text(EDITS[edit](path.read_text()))
    for read in (lambda: read_rows(path, GENERATIONS, Square), lambda: rows_of(path)):
        with pytest.raises(UserError, match="r.jsonl: has changed since it was written .*inference_prefix.py again"):
            read()
    with pytest.raises(UserError, match="again, with --overwrite$"):
        rows_of(path)
    finished(path, overwrite=True)
    assert fingerprint(path) == fingerprint(whole)


@pytest.mark.parametrize(("edit", "message"), [("a row less", "1 rows of 1 ids"), ("a row twice", "6 rows of 5 ids")])
@pytest.mark.parametrize("count", [5, 6])
def test_rows_fewer_than_the_manifest_says_or_one_twice_are_refused(tmp_path, edit, message, count):
    path = finished(tmp_path / "r.jsonl")
    path.write_text(EDITS[edit](path.read_text()))
    write_manifest(path, GENERATIONS, MADE_OF, {}, rows=count, **FACTS)
    with pytest.raises(UserError, match=f"{message}, by its manifest {count}"):
        read_rows(path, GENERATIONS, Square)


NO_ROWS = [
    b'{"id": 1, "turn": 0, "sample": 0}',
    b'{"id": 1,',
    b'{"id": 1, "turn": 0, "sample": 0, "square": 1, "more": 2}',
]
NO_ROWS += [b'{"id": 1, "sample": 0, "square": 1}']
NO_ROWS += [
    b'{"id": 1, "turn": 0, "sample": 0, "square": "1"}',
    b'{"id": 1, "turn": 0, "sample": 0, "\xe9": 1}',
    b"[" * 100_000,
]


@pytest.mark.parametrize("line", NO_ROWS, ids=range(len(NO_ROWS)))
def test_rows_of_another_type_are_refused_by_number(tmp_path, line):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"id": 3, "turn": 0, "sample": 0, "square": 9}\n' + line + b"\n")
    write_manifest(path, GENERATIONS, MADE_OF, {}, rows=2, **FACTS)
    with pytest.raises(UserError, match="r.jsonl: row 2: "):
        read_rows(path, GENERATIONS, Square)


def test_rows_without_their_manifest_are_refused(tmp_path):
    path = finished(tmp_path / "r.jsonl")
    manifest_path(path).unlink()
    with pytest.raises(UserError, match="r.jsonl: has no manifest.*run inference_prefix.py"):
        read_rows(path, GENERATIONS, Square)
    with pytest.raises(UserError, match="is there without a manifest; replace it with --overwrite"):
        rows_of(path)
    finished(path, overwrite=True)
    assert read_rows(path, GENERATIONS, Square)[1].rows == 5


DAMAGED = [
    b'{"id": 99, "turn": 0, "sample": 0, "square": 1}',
    b'{"id": 3, "turn": 0, "sample": 0, "square": 9.5}',
    b"\0\0\0",
    *NO_ROWS,
]


@pytest.mark.parametrize("line", [line + b"\n" for line in DAMAGED], ids=range(len(DAMAGED)))
def test_a_damaged_partial_file_is_named(tmp_path, line):
    with rows_of(tmp_path / "r.jsonl") as rows:
        fill(rows, rows.mine[:1])
    begin = rows._partial.stat().st_size
    with rows._partial.open("ab") as file:
        file.write(line)
    with pytest.raises(UserError, match=f"partial: is damaged at byte {begin}; remove it"):
        rows_of(tmp_path / "r.jsonl")


def test_one_process_writes_a_result_at_a_time(tmp_path):
    with rows_of(tmp_path / "r.jsonl"), pytest.raises(UserError, match="r.jsonl: another process is writing it"):
        rows_of(tmp_path / "r.jsonl", made_of=MADE_OF | {"seed": 6})
    with rows_of(tmp_path / "r.jsonl", 1, 2), pytest.raises(UserError, match="partial: another process"):
        rows_of(tmp_path / "r.jsonl", 1, 2)
    rows_of(tmp_path / "r.jsonl").__exit__()


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = "import sys; from test_rows import *; rows = rows_of(Path(sys.argv[1])); print(1, flush=True); input()"
    code = code.replace("import sys;", "import sys; from pathlib import Path;")
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "r.jsonl"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert holder.stdout.readline() == b"1\n"
    with pytest.raises(UserError, match="another process"):
        rows_of(tmp_path / "r.jsonl")
    holder.kill()
    holder.wait()
    finished(tmp_path / "r.jsonl")


def test_a_full_disk_gets_one_line_that_names_the_file(tmp_path, capsys):
    with rows_of(tmp_path / "r.jsonl") as rows:
        rows._partial.symlink_to("/dev/full")
        with pytest.raises(SystemExit) as end:
            run(rows.append, [Square(id=1, turn=0, sample=0, square=1)])
    assert end.value.code == 2
    assert "r.jsonl: No space left on device; free some space" in one_line(capsys)


class Long(Keyed):
    text: str


def test_a_result_is_finished_and_read_row_by_row(tmp_path):
    keys = [(i, 0, 0) for i in range(2_000)]
    with Rows(tmp_path / "r.jsonl", GENERATIONS, Long, {}, keys, 50) as rows:
        for _, batch in rows.mine:
            rows.append(Long(id=i, turn=0, sample=0, text="x" * 10_000) for i in batch)
        tracemalloc.start()
        rows.finish({}, {}, **FACTS)
        assert sum(len(row.text) for row in rows) == 20_000_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3_000_000  # of 20 MB
    assert len(read_jsonl(tmp_path / "r.jsonl")) == 2_000


def test_a_file_of_another_that_would_be_written_with_the_result_is_refused(tmp_path):
    path, listing = tmp_path / "r.jsonl", tmp_path / "r.txt"

    def rows(overwrite=False):
        return Rows(path, GENERATIONS, Square, MADE_OF, KEYS, 2, overwrite=overwrite, companions=[listing])

    listing.write_text("somebody's")
    with pytest.raises(UserError, match=r"r.txt: is there without r.jsonl, so it is not ours; .*--overwrite, or write"):
        rows()
    rows(overwrite=True).close()
    listing.unlink()
    with rows() as begun:
        fill(begun)
    listing.write_text("ours, by a run that was killed before it finished")
    with rows() as again:
        again.finish({}, {}, **FACTS)
    path.unlink()  # its manifest still says whose the listing is
    rows().close()
