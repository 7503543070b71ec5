"""Files between the stages are whole or absent, and written by one process at a time."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memorization.shell.cli import UserError
from memorization.store.files import (
    check_apart,
    fingerprint,
    fingerprints,
    locked,
    naming,
    parse_jsonl,
    read_json,
    read_text,
    replacing,
    write_json,
    write_text,
)
from support.command_line import ROOT


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_failed_write_leaves_the_old_directory_and_nothing_else(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").touch()
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "d", directory=True) as temporary:
        temporary.mkdir()
        (temporary / "half").touch()
        1 / 0  # noqa: B018
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["d", "d/old"]


def test_a_directory_is_replaced_whole(tmp_path):
    for content in ("one", "two"):
        with replacing(tmp_path / "d", directory=True) as temporary:
            temporary.mkdir()
            (temporary / content).touch()
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["two"]


def test_a_system_error_names_the_file(tmp_path):
    with pytest.raises(OSError) as error, naming(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert error.value.filename == str(tmp_path / "a")


def test_a_lock_has_one_holder_and_leaves_nothing(tmp_path):
    """Four processes come and go; a flag that exists in the lock alone is never there twice."""
    children = []
    for _ in range(4):
        if not (child := os.fork()):
            status, held = 1, 0
            try:
                while held < 50:
                    try:
                        with locked(tmp_path / "r"):
                            (tmp_path / "flag").touch(exist_ok=False)
                            (tmp_path / "flag").unlink()
                            held += 1
                    except UserError:
                        pass
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    assert not list(tmp_path.iterdir())


def test_a_fingerprint_tells_contents_and_names_apart(tmp_path):
    for name, content in {"a": "1", "b": "1", "c": "2"}.items():
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file").write_text(content)
    assert fingerprint(tmp_path / "a") == fingerprint(tmp_path / "b") != fingerprint(tmp_path / "c")
    (tmp_path / "b" / "below" / "file").rename(tmp_path / "b" / "below" / "other")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    (tmp_path / "b" / "below" / "other").rename(tmp_path / "b" / "file")
    assert fingerprint(tmp_path / "a") != fingerprint(tmp_path / "b")
    assert fingerprints([tmp_path / "a", "org/name"]) == {
        str(tmp_path / "a"): fingerprint(tmp_path / "a"),
        "org/name": None,
    }


def test_text_and_json_come_back_as_written(tmp_path):
    text = "a\r\n\0\u2028 👩‍👩‍👧 é\n"
    write_text(tmp_path / "t", text)
    assert read_text(tmp_path / "t") == text
    write_json(tmp_path / "j", {"é": [1, None, text]})
    assert read_json(tmp_path / "j") == {"é": [1, None, text]}
    for half in ("\ud800", "a\udce9é", "\udfff\ud800"):
        write_json(tmp_path / "j", {half: half})
        assert read_json(tmp_path / "j") == {half: half}


def test_json_is_read_as_what_it_is_to_be(tmp_path):
    (tmp_path / "j").write_text('{"a": 1, "b": NaN}')
    assert read_json(tmp_path / "j", dict[str, float], foreign=True)["a"] == 1
    with pytest.raises(UserError, match=r"j: Expected `int`, got `float` - at `\$\[...\]`; mend"):
        read_json(tmp_path / "j", dict[str, int], foreign=True)
    (tmp_path / "j").write_text("[]")
    with pytest.raises(UserError, match="j: Expected `object`, got `array`"):
        read_json(tmp_path / "j", dict)
    with pytest.raises(UserError, match="is a directory; name a file"):
        read_json(tmp_path)


NO_JSON = [
    (b'{"a": NaN}', "NaN is no number"),
    (b'{"a": [-Infinity]}', "-Infinity is no number"),
    (b'{"a": 1e999}', "1e999 is no finite number"),
    (b'{"b": {"a": 1, "c": 2, "a": 1}}', "'a' stands twice"),
    (b'{"a": ' + b"[" * 100_000, "nested too deeply"),
    (b'{"a": ' + b"9" * 5000 + b"}", "a number of too many digits"),
    (b'{"a": "\x07"}', "Invalid control character"),
    (b"{} {}", "Extra data"),
]


def read_rows(path):
    with path.open("rb") as file:
        return list(parse_jsonl(file, path))


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_text, b"ab\xff", "byte 2 is not UTF-8"),
        (read_json, b'{\n"a": 1,,}', "not valid JSON at line 2"),
        (read_rows, b'{}\n\n{"a": }\n', "line 3 is not valid JSON"),
        (read_rows, b"{}\n[1]\n", "line 2 is not a JSON object"),
        (read_rows, b'{}\n{"a": "\xff"}\n', "line 2 is not UTF-8"),
        *((read_json, wrong, f"not valid JSON.*: {message}") for wrong, message in NO_JSON),
        *((read_rows, b"{}\n" + wrong, f"line 2 is not valid JSON: {message}") for wrong, message in NO_JSON),
    ],
)
def test_a_malformed_file_is_named_with_the_place(tmp_path, read, content, message):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(UserError, match=f"f: {message}"):
        read(tmp_path / "f")


def test_a_file_that_is_missing_is_named(tmp_path):
    for read in (read_text, read_json):
        with pytest.raises(UserError, match="nothing: no such file"):
            read(tmp_path / "nothing")


def test_json_lines_come_with_their_numbers():
    assert list(parse_jsonl([b'\xef\xbb\xbf{"a": 1}\n', b"\n", b'{"b": 2}'], "-")) == [(1, {"a": 1}), (3, {"b": 2})]


def test_a_directory_is_never_replaced_by_a_file_nor_a_file_by_a_directory(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("1")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="thesis: is a directory"):
        write_text(tmp_path / "thesis", "new")
    with pytest.raises(UserError, match="file: is no directory"), replacing(tmp_path / "file", directory=True):
        raise AssertionError("the work must not begin")
    assert (tmp_path / "thesis" / "chapter").read_text() == "1" and (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"thesis", "file"}


def test_devices_and_pipes_are_written_to_as_they_are(tmp_path):
    write_text("/dev/null", "nothing")
    assert Path("/dev/null").is_char_device()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "through")
    assert os.read(reader, 100) == b"through" and (tmp_path / "pipe").is_fifo()
    os.close(reader)


def test_an_output_that_is_an_input_or_holds_one_is_refused(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    for output, read in [("a", "a"), ("a", "a/b"), ("link", "a/b"), ("a/../a", "a")]:
        with pytest.raises(UserError, match="which is read"):
            check_apart([tmp_path / output], [tmp_path / read])
    check_apart([tmp_path / "a" / "b"], [tmp_path / "a", "org/name"])


@pytest.mark.parametrize("directory", [False, True])
@pytest.mark.parametrize("call", range(1, 6))
def test_a_kill_at_any_rename_or_removal_leaves_one_of_the_two_whole_and_the_next_run_nothing_else(
    tmp_path, directory, call
):
    """The process ends at once in the place of its call-th rename, removal or replacement, of files or directories."""
    program = f"""
import os, shutil, sys
from pathlib import Path
from memorization.store.files import replacing
calls = 0
def at(event, arguments):
    global calls
    if event in ("os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
        calls += 1
        if calls == int(sys.argv[1]):
            os._exit(9)
sys.addaudithook(at)
path = Path({str(tmp_path / "result")!r})
with replacing(path, directory={directory}) as new:
    if {directory}:
        new.mkdir()
        (new / "part").write_text(sys.argv[2])
    else:
        new.write_text(sys.argv[2])
"""

    def write(text, killed_at=0):
        return subprocess.run([sys.executable, "-c", program, str(killed_at), text], cwd=ROOT).returncode

    def content():
        return (tmp_path / "result" / "part" if directory else tmp_path / "result").read_text()

    assert write("old") == 0
    killed = write("new", call) == 9
    assert killed or call > 1
    if (tmp_path / "result").exists():
        assert content() in ("old", "new")
    else:  # it waits to be put back
        assert (tmp_path / ".result.memorization-old" / "part").read_text() == "old"
    assert write("newer") == 0 and content() == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_directories_that_were_made_for_nothing_go_with_the_lock(tmp_path):
    with pytest.raises(UserError), locked(tmp_path / "a" / "b" / "c"):
        raise UserError("no")
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    with locked(tmp_path / "a" / "b" / "c"):
        (tmp_path / "a" / "b" / "c").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]
    with locked(tmp_path / "d" / "c"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
