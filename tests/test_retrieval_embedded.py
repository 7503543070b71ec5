"""The embedded index: built aside, one writer, checked when opened."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from memorization.retrieval.embedded import EmbeddedIndex
from memorization.shell.cli import UserError
from memorization.store.files import read_json, write_json
from memorization.store.manifests import identity
from support.indexes import MADE_OF

MARK = "memorization-index.json"
ROOT = Path(__file__).parents[1]
OLD = [("1", "old words"), ("2", "more of them")]


@pytest.fixture
def index(tmp_path):
    index = EmbeddedIndex(tmp_path, "test")
    index.load(OLD, MADE_OF)
    return index


def start_endless_load(directory):
    """A process that loads without an end; returns it when it is in the midst of that."""
    code = """
        import itertools, sys, time
        from memorization.retrieval.embedded import EmbeddedIndex
        def documents():
            for i in itertools.count():
                if i == 1000:
                    print("loading", flush=True)
                yield str(i), "new words"
        EmbeddedIndex(sys.argv[1], "test").load(documents(), {})
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), directory],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    process.stdout.readline()
    return process


def test_a_killed_load_leaves_the_old_index_and_the_next_clears_its_remains(index, tmp_path):
    process = start_endless_load(tmp_path)
    with pytest.raises(UserError, match="another process is writing it"):
        EmbeddedIndex(tmp_path, "test").load(OLD, MADE_OF)
    assert EmbeddedIndex(tmp_path, "test").search(["old"])[0][0].id == "1"  # searched while the other loads
    process.kill()
    process.wait()
    assert EmbeddedIndex(tmp_path, "test").texts(["1", "2"]) == dict(OLD)
    assert any(path.name.endswith("-new") for path in tmp_path.iterdir())
    EmbeddedIndex(tmp_path, "test").load([("3", "newest words")], MADE_OF)
    assert {path.name for path in tmp_path.iterdir()} == {"test"}
    assert EmbeddedIndex(tmp_path, "test").texts(["3"]) == {"3": "newest words"}


def test_a_load_that_fails_leaves_the_old_index(index, tmp_path):
    def failing():
        yield "1", "new words"
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        index.load(failing(), MADE_OF)
    assert EmbeddedIndex(tmp_path, "test").texts(["1", "2"]) == dict(OLD)
    assert {path.name for path in tmp_path.iterdir()} == {"test"}


def test_a_full_disk_is_one_line_and_leaves_the_old_index(index, tmp_path):
    code = """
        import random, resource, sys
        from memorization.shell.cli import run
        from memorization.retrieval.embedded import EmbeddedIndex
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        random.seed(1)
        documents = ((str(i), random.randbytes(2000).hex(" ", 8)) for i in range(2000))
        run(EmbeddedIndex(sys.argv[1], "test").load, documents, {})
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 2
    assert "free some space" in ended.stderr.splitlines()[-1] and "Traceback" not in ended.stderr
    assert EmbeddedIndex(tmp_path, "test").texts(["1", "2"]) == dict(OLD)
    assert {path.name for path in tmp_path.iterdir()} == {"test"}


def test_a_kill_between_the_two_renames_loses_nothing(index, tmp_path):
    (tmp_path / "test").rename(tmp_path / ".test.memorization-old")
    assert EmbeddedIndex(tmp_path, "test").texts(["1", "2"]) == dict(OLD)
    assert (tmp_path / "test").is_dir()


def test_a_load_leaves_another_index_of_a_longer_name_alone(index, tmp_path):
    loading = tmp_path / ".test.two.memorization-new"
    loading.mkdir()
    index.load(OLD, MADE_OF)
    assert loading.is_dir()


def test_the_mark_counts_wherever_the_directory_lies(index, tmp_path):
    shutil.copytree(tmp_path / "test", tmp_path / "copy")
    (tmp_path / "test").rename(tmp_path / "renamed")
    made_of = EmbeddedIndex(tmp_path, "copy").made_of()
    assert made_of == EmbeddedIndex(tmp_path, "renamed").made_of()
    assert made_of | MADE_OF == made_of and len(made_of["documents"]) == 64


def edit(index, change):
    """Edit the mark as one who recomputes its checksum."""
    mark = read_json(index.path / MARK)
    del mark["checksum"]
    mark = change(mark)
    write_json(index.path / MARK, mark | {"checksum": identity(mark)} if isinstance(mark, dict) else mark)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mark: mark | {"count": 3}, "holds 2 documents, by its metadata 3; make it with"),
        (lambda mark: mark | {"count": None}, "its load has not finished"),
        (
            lambda mark: {"format": mark["format"]},
            "metadata is damaged .*missing required field `made_of`.*make it with",
        ),
        (lambda mark: mark | {"count": "2"}, "metadata is damaged .*Expected `int | null`, got `str`.*make it with"),
        (lambda mark: mark | {"count": True}, "metadata is damaged .*got `bool`.*make it with"),
        (lambda mark: mark | {"count": -1}, "metadata is damaged .*>= 0.*make it with"),
        (
            lambda mark: mark | {"made_of": {"encoding": "0"}},
            "metadata is damaged .*hash of the documents.*make it with",
        ),
        (lambda mark: mark | {"made_of": [1]}, "metadata is damaged .*got `array`.*make it with"),
        (lambda mark: mark | {"counts": 2}, "metadata is damaged .*unknown field `counts`.*make it with"),
        (lambda mark: mark | {"files": None}, "ids.utf8: is missing or damaged; make it with"),
        (
            lambda mark: mark | {"files": {"ids.utf8": "", "../test/terms.utf8": ""}},
            "ids.utf8: is missing or damaged; make it with",
        ),
        (lambda mark: mark | {"format": 0}, "has format 0, this version reads [0-9]+; make it with"),
        (lambda mark: mark | {"format": [3]}, r"has format \[3\], this version reads [0-9]+; make it with"),
        (lambda mark: [], "is no index of ours"),
        (lambda mark: {}, "is no index of ours"),
    ],
)
def test_a_mark_that_does_not_fit_is_one_line_and_can_be_built_anew(index, tmp_path, change, message):
    edit(index, change)
    with pytest.raises(UserError, match=message):
        EmbeddedIndex(tmp_path, "test").search(["old"])
    index.load(OLD, MADE_OF)
    EmbeddedIndex(tmp_path, "test").open()


def flipped(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


DAMAGES = [
    lambda data: flipped(data, 0),
    lambda data: flipped(data, len(data) // 2, bit=128),
    lambda data: flipped(data, len(data) - 1),
    lambda data: data[: len(data) // 2],
    lambda data: data + b"x",
    lambda data: b"",
]
STRINGS = ("ends.npy", "hashes.npy", "order.npy")
FILES = ["ids.utf8", "texts.zlib", "text-ends.npy", MARK, "terms.utf8"]
FILES += [f"{name}-{file}" for name in ("ids", "terms") for file in STRINGS]
FILES += [f"{name}.csc.index.npy" for name in ("data", "indices", "indptr")]


def test_these_are_all_files(index, tmp_path):
    assert {path.name for path in (tmp_path / "test").iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_or_missing_file_is_one_line_before_any_number(index, tmp_path, name):
    file = tmp_path / "test" / name
    data = file.read_bytes()
    for damage in DAMAGES:
        file.write_bytes(damage(data))
        with pytest.raises(UserError, match=f"{file.name}: "):
            EmbeddedIndex(tmp_path, "test").search(["old"])
    file.unlink()
    with pytest.raises(UserError, match="is missing|is no index of ours"):
        EmbeddedIndex(tmp_path, "test").search(["old"])
    file.write_bytes(data)
    assert EmbeddedIndex(tmp_path, "test").search(["old"])[0][0].id == "1"


def test_every_byte_of_the_mark_counts(index, tmp_path):
    mark = tmp_path / "test" / MARK
    data = mark.read_bytes()
    for at in range(len(data)):
        mark.write_bytes(flipped(data, at))
        if not data[at : at + 1].isspace():
            with pytest.raises(UserError):
                EmbeddedIndex(tmp_path, "test").made_of()


def test_a_directory_that_is_no_index_is_neither_searched_nor_replaced(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no index of ours"):
        EmbeddedIndex(tmp_path, "test").search(["x"])
    with pytest.raises(UserError, match="is no index of ours"):
        EmbeddedIndex(tmp_path, "test").load(OLD, MADE_OF, recreate=True)
    assert (tmp_path / "test" / "thesis.txt").read_text() == "years of work"


def test_an_index_is_not_replaced_with_what_else_lies_in_it(index, tmp_path):
    (tmp_path / "test" / "notes").mkdir()
    (tmp_path / "test" / "notes" / "thesis.npy.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds notes/thesis.npy.txt, which is not of the index in it"):
        index.load(OLD, MADE_OF, recreate=True)
    assert (tmp_path / "test" / "notes" / "thesis.npy.txt").read_text() == "years of work"


def test_memory_stays_bounded_while_documents_stream_in(tmp_path):
    code = """
        import re, sys
        from pathlib import Path
        from memorization.retrieval.embedded import EmbeddedIndex
        def peak():  # MiB
            return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
        def load(count):
            EmbeddedIndex(sys.argv[1], "test").load(((str(i), f"text {i} " + "-" * 40_000) for i in range(count)), {})
        load(200)
        before = peak()
        load(4000)
        print(peak() - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), tmp_path]
    grown = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert float(grown) < 75  # of 153 MiB of text
