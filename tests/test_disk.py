"""Full, read-only and limited disks: one line, nothing half-written, and the same command works once there is room."""

import re
import resource
import subprocess

import pytest

from memorization.models.trained import SUMS
from support.stage_commands import STAGES, contents, renew, temporaries

stages = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)


@pytest.fixture
def disk(fork_server):
    """A function that mounts a disk of a size in bytes as fork_server.work, or changes it; other options follow."""
    mounted = False

    def mount(size, *more):
        nonlocal mounted
        options = ",".join(["remount"] * mounted + [f"size={size}", *more])
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", fork_server.work], capture_output=True)
        if done.returncode:
            pytest.skip("needs leave to mount a tmpfs")
        mounted = True

    renew(fork_server.work)
    yield mount
    if mounted:
        subprocess.run(["umount", fork_server.work], check=True)


def check_one_line(run, message):
    """One line of the script's own, and status 2."""
    lines_of_output = run.output.replace("\x1b[A", "\n").splitlines()  # a second bar that ends moves up
    lines = [line for line in lines_of_output if re.match(r"\w+\.py: ", line)]
    assert run.status == 2 and len(lines) == 1 and "Traceback" not in run.output, run.output
    assert re.search(message, lines[0]), lines


@stages
def test_a_full_or_read_only_disk(fork_server, disk, stage):
    work, command = fork_server.work, stage(fork_server.work, 1)
    assert fork_server.run(command, work).status == 0
    wanted = contents(work)
    needed = sum(-(-path.stat().st_size // 4096) * 4096 for path in work.rglob("*"))
    renew(work)
    disk(1 << 30, "ro")
    check_one_line(fork_server.run(command, work), "Read-only")
    for share in (0.02, 0.5, 0.9):
        disk(max(4096, int(needed * share)), "rw")
        run = fork_server.run(command, work)
        if run.status or share < 0.9:
            check_one_line(run, "[Nn]o space left.*; free some")
        assert not temporaries(work)
        assert all((checkpoint / SUMS).is_file() for checkpoint in work.glob("model/checkpoint-*"))
    disk(1 << 30)
    again = fork_server.run(command, work)
    assert again.status == 0, again.output
    assert contents(work) == wanted


LIMITS = [(resource.RLIMIT_FSIZE, 20_000, "File too large|no space left")]
LIMITS += [(resource.RLIMIT_NOFILE, more, "") for more in (0, 1, 3, 6)]


@stages
def test_limits_of_a_process(fork_server, stage):
    """A file that grows too large, and too many open ones, without which a temporary directory can't go either."""
    work, command = fork_server.work, stage(fork_server.work, 1)
    renew(work)
    assert fork_server.run(command, work).status == 0
    wanted = contents(work)
    renew(work)
    for what, value, message in LIMITS:
        run = fork_server.run(command, work, limits=[(what, value)])
        if run.status:
            check_one_line(run, message)
            if what == resource.RLIMIT_FSIZE:
                assert not list(work.glob("model/checkpoint-*"))  # an unfinished one
    again = fork_server.run(command, work)
    assert again.status == 0, again.output
    assert contents(work) == wanted
