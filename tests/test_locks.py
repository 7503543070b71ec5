"""One process at a time writes a result: while a stage is held, a second one of the same result is refused."""

import errno
import fcntl
import os
import signal

import pytest

from memorization.extraction.kinds import GENERATIONS
from memorization.shell import cli
from memorization.store.files import locked
from memorization.store.rows import Keyed, Rows
from support.command_line import one_line
from support.stage_commands import STAGES, contents, renew


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_the_second_of_two_is_refused_and_changes_nothing(fork_server, stage):
    work = fork_server.work
    command = stage(work, 1)
    renew(work)
    whole = fork_server.run(command, work)
    wanted = contents(work)
    for step in sorted({1, (whole.steps + 1) // 2, whole.steps}):  # the last: as the lock goes
        renew(work)
        first = fork_server.run(command, work, at=step, number=signal.SIGSTOP)
        assert first.status is None, first.output
        before = contents(work)
        second = fork_server.run(command, work)
        assert second.status == 2 and "another process is writing it" in second.output.splitlines()[-1], second.output
        assert contents(work) == before
        ended = fork_server.go_on(first)
        assert ended.status == 0, ended.output
        assert contents(work) == wanted


class Row(Keyed):
    pass


def test_the_lock_of_a_killed_rank_goes_with_its_rows(tmp_path):
    """Where the run goes on with fewer ranks."""
    run = tmp_path / "rows.jsonl", GENERATIONS, Row, {}, [(0, 0, 0), (1, 0, 0)], 1
    if not (child := os.fork()):
        rows = Rows(*run, rank=1, ranks=2)
        rows.append([Row(id=1, turn=0, sample=0)])
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 2
    with Rows(*run) as rows:
        rows.append([Row(id=0, turn=0, sample=0)])
        rows.finish({}, {})
    assert {path.name for path in tmp_path.iterdir()} == {"rows.jsonl", "rows.jsonl.manifest.json"}


def refusing(number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_one_line(tmp_path, monkeypatch, capsys, number):
    def work():
        with locked(tmp_path / "result"):
            raise AssertionError("the work must not begin")

    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with pytest.raises(SystemExit) as end:
        cli.run(work)
    line = one_line(capsys)
    assert end.value.code == 2 and str(tmp_path) in line and "its file system can't do that" in line
    assert not list(tmp_path.iterdir())
