"""Full, read-only and limited disks: one line, nothing half-written, and the same command works once there is room."""

import re
import resource
import subprocess

import pytest

from memorization.models.trained import SUMS
from support.stage_commands import STAGES, contents, renew, temporaries

stages = pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)


@pytest.fixture
def disk(zygote):
    """A function that makes zygote.work a disk of its own, of so many bytes, or changes that; other options follow."""
    mounted = False

    def mount(size, *more):
        nonlocal mounted
        options = ",".join(["remount"] * mounted + [f"size={size}", *more])
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", zygote.work], capture_output=True)
        if done.returncode:
            pytest.skip("needs leave to mount a tmpfs")
        mounted = True

    renew(zygote.work)
    yield mount
    if mounted:
        subprocess.run(["umount", zygote.work], check=True)


def check_one_line(run, said):
    """One line of the script's own, and status 2."""
    said_lines = run.said.replace("\x1b[A", "\n").splitlines()  # a second bar that ends moves up
    lines = [line for line in said_lines if re.match(r"\w+\.py: ", line)]
    assert run.status == 2 and len(lines) == 1 and "Traceback" not in run.said, run.said
    assert re.search(said, lines[0]), lines


@stages
def test_a_full_or_read_only_disk(zygote, disk, stage):
    work, command = zygote.work, stage(zygote.work, 1)
    assert zygote.run(command, work).status == 0
    wanted = contents(work)
    needed = sum(-(-path.stat().st_size // 4096) * 4096 for path in work.rglob("*"))
    renew(work)
    disk(1 << 30, "ro")
    check_one_line(zygote.run(command, work), "Read-only")
    for share in (0.02, 0.5, 0.9):
        disk(max(4096, int(needed * share)), "rw")
        run = zygote.run(command, work)
        if run.status or share < 0.9:
            check_one_line(run, "[Nn]o space left.*; free some")
        assert not temporaries(work)
        assert all((checkpoint / SUMS).is_file() for checkpoint in work.glob("model/checkpoint-*"))
    disk(1 << 30)
    again = zygote.run(command, work)
    assert again.status == 0, again.said
    assert contents(work) == wanted


LIMITS = [(resource.RLIMIT_FSIZE, 20_000, "File too large|no space left")]
LIMITS += [(resource.RLIMIT_NOFILE, more, "") for more in (0, 1, 3, 6)]


@stages
def test_limits_of_a_process(zygote, stage):
    """A file that grows too large, and too many open ones, without which a temporary directory can't go either."""
    work, command = zygote.work, stage(zygote.work, 1)
    renew(work)
    assert zygote.run(command, work).status == 0
    wanted = contents(work)
    renew(work)
    for what, value, said in LIMITS:
        run = zygote.run(command, work, limits=[(what, value)])
        if run.status:
            check_one_line(run, said)
            if what == resource.RLIMIT_FSIZE:
                assert not list(work.glob("model/checkpoint-*"))  # an unfinished one
    again = zygote.run(command, work)
    assert again.status == 0, again.said
    assert contents(work) == wanted
