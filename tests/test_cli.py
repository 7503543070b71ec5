"""Flags at the shell: each in the documented spelling and in the published one."""

import base64
import errno
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import torch

from memorization.shell.cli import Parser, is_out_of_memory, run
from support.command_line import ROOT, one_line


@pytest.mark.parametrize(
    "args",
    [
        ["--output-name", "a_b", "--top-k", "3"],
        ["--output_name", "a_b", "--top_k=3"],
        ["--output_name=a_b", "--top-k=3"],
        ["--output_n", "a_b", "--top_k", "3"],
    ],
)
def test_every_flag_has_the_documented_and_the_published_spelling(args):
    parser = Parser("")
    parser.add_argument("--output-name")
    parser.add_argument_group("sampling").add_argument("--top-k", type=int)
    assert vars(parser.parse_args(args)) == {"output_name": "a_b", "top_k": 3}


def test_a_value_keeps_its_underscores_and_an_unknown_flag_gets_one_line(capsys):
    parser = Parser("")
    parser.add_argument("--output-name")
    assert parser.parse_args(["--output_name=a_b=c_d"]).output_name == "a_b=c_d"
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--no_such_flag"])
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def raising(error):
    raise error


def refused(capsys, error):
    """The line that a script ends with whose main raises this, and its exit status."""
    with pytest.raises(SystemExit) as end:
        run(raising, error)
    return one_line(capsys), end.value.code


ERRORS = "EACCES EDQUOT EEXIST EIO EISDIR ELOOP EMFILE ENAMETOOLONG ENOENT ENOSPC ENOTDIR ENOTEMPTY EPERM EROFS ESTALE"


@pytest.mark.parametrize("name", ERRORS.split())
def test_an_error_of_the_system_is_one_line_with_a_remedy(capsys, name):
    number = getattr(errno, name)
    line, status = refused(capsys, OSError(number, os.strerror(number), "some/file"))
    assert status == 2 and f"some/file: {os.strerror(number)}; " in line


def test_links_in_a_circle_are_one_line(capsys, tmp_path):
    (tmp_path / "a's").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a's")
    with pytest.raises(SystemExit) as end:
        run(lambda: [(tmp_path / "a's" / "c").resolve(), (tmp_path / "b").stat()])  # the latter: from Python 3.13 on
    assert end.value.code == 2 and f"{tmp_path}" in (line := one_line(capsys)) and "symbolic links; check" in line


@pytest.mark.parametrize("name", [b"caf\xe9", "caf\udce9", None, 3])
def test_any_name_can_be_shown(capsys, name):
    line, status = refused(capsys, OSError(errno.ENOENT, "gone", name) if name != 3 else OSError(errno.ENOENT, "gone"))
    assert status == 2 and "No such file or directory; check the path" in line
    line.encode()


@pytest.mark.parametrize("error", [ValueError("of the library"), OSError("without a number"), KeyError("x")])
def test_a_mistake_of_ours_names_the_file_with_its_traceback(capsys, error, monkeypatch):
    monkeypatch.setenv("ELASTIC_PASSWORD", "without")
    line, status = refused(capsys, error)
    report = Path(line.split()[-1])
    assert status == 1 and "mistake of ours" in line
    text = report.read_text()
    report.unlink()
    assert "Traceback" in text and type(error).__name__ in text and "without" not in text


SECRET = "Zö $x'\\"


@pytest.mark.parametrize("name", ["ELASTIC_API_KEY", "ELASTIC_PASSWORD", "HF_TOKEN", "OPENAI_API_KEY"])
def test_no_character_of_a_secret_is_in_the_traceback(capsys, monkeypatch, name):
    """However a library spells it in its message: each is replaced as a whole."""
    monkeypatch.setenv("ELASTIC_USER", "me")
    monkeypatch.setenv(name, SECRET)
    data = SECRET.encode()
    spellings = [SECRET, repr(SECRET)[1:-1], ascii(SECRET)[1:-1], repr(data)[2:-1], quote(data)]
    spellings.append(base64.b64encode(b"me:" + data).decode())
    line, status = refused(capsys, ValueError("".join(f"<{spelling}>" for spelling in spellings)))
    report = Path(line.split()[-1])
    assert status == 1 and f"ValueError: {'<***>' * len(spellings)}" in report.read_text()
    report.unlink()


SAYING = "from memorization.shell.cli import run; run(lambda: print('x' * int({})))"


@pytest.mark.parametrize("size", [1, 100_000], ids=["when it ends", "in the midst"])
def test_a_full_standard_output_is_one_line(size):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", SAYING.format(size)], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1 and "No space left" in ended.stderr


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory: you tried"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
        (OSError(errno.EIO, "Input/output error"), False),
    ],
)
def test_want_of_memory_is_told_from_other_errors(error, memory, capsys):
    def fail():
        raise error

    assert is_out_of_memory(error) == memory
    with pytest.raises(SystemExit) as stop:
        run(fail)
    assert ("out of memory; lower the batch size" in capsys.readouterr().err) == memory
    assert not memory or stop.value.code == 2


WRITING = """
import os, sys
from memorization.shell.cli import UserError, run

def main():
    with open("result", "w") as file:
        file.write("whole")
        print("said")
        print("told", file=sys.stderr)
        os.write(1, b"noise"), os.write(2, b"noise")  # as a library in C does
    sys.stdin.read()
    raise UserError("mistaken")

run(main)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_as_good_as_none(tmp_path, closed):
    """And nothing that is printed there gets into a result."""
    command = ["bash", "-c", f'exec "$@" {closed}', "bash", sys.executable, "-c", WRITING]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    ended = subprocess.run(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    assert ended.returncode == 2 and (tmp_path / "result").read_text() == "whole"
    assert (b"said" in ended.stdout) == (" >" not in f" {closed}") and b"mistaken" not in ended.stdout
    assert (b"mistaken" in ended.stderr) == ("2>" not in closed) and b"Traceback" not in ended.stderr


def test_a_working_directory_that_is_gone_is_named(tmp_path):
    code = "import os, pathlib; from memorization.shell.cli import run; os.rmdir(os.getcwd()); run(pathlib.Path.cwd)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2 and "the working directory: No such file" in ended.stderr


def test_a_name_that_is_not_utf8_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script.py", "caf\udce9"])
    with pytest.raises(SystemExit) as end:
        run(lambda: sys.argv[1].encode())
    assert end.value.code == 2 and "caf?: not UTF-8" in one_line(capsys)
