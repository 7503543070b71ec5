"""Ctrl-C, SIGTERM and SIGHUP end the work with one line, cleared up; importing the library changes no signal."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.command_line import ROOT
from support.stage_commands import STAGES, contents, renew, train_over

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def started(*command, caught=signal.SIGTERM, ignored=(), **environment):
    """A process that has come to handle a signal; it ignores some from its start, whatever these tests do."""

    def prepare():
        for number in STATUS:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = os.environ | environment
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, preexec_fn=prepare, env=environment, **outputs)
    while not handles(process.pid, caught):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    return process


def handles(pid, number):
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize(
    "stage", [stage for stage in STAGES if stage is not train_over], ids=lambda stage: stage.__name__
)
def test_a_signal_in_the_midst_of_the_work(fork_server, stage):
    """One line; the same command then ends as if there had been none. A second signal may follow at once."""
    work, draw = fork_server.work, random.Random(7)
    renew(work)
    command = stage(work, 1)
    run = fork_server.run(command, work)
    whole = contents(work)
    renew(work)
    for number, again in [(signal.SIGINT, None), (signal.SIGTERM, None), (signal.SIGHUP, None), (signal.SIGINT, 0.002)]:
        ended = fork_server.run(command, work, after=draw.uniform(0.05, 0.9) * run.seconds, number=number, again=again)
        if ended.status == -number:  # before the work began, or when it was done
            assert "interrupted" not in ended.output, ended.output
        elif ended.status:
            assert ended.status == STATUS[number], ended.output
            assert ended.output.count("interrupted") == 1 and "Traceback" not in ended.output, ended.output
    assert fork_server.run(command, work).status == 0
    assert contents(work) == whole
    assert not list(fork_server.tmp.iterdir())


WORK = """
import sys, time
from contextlib import suppress
from memorization.shell.cli import run

class Lost:
    def __del__(self):
        print("begun", flush=True)
        time.sleep(60)

def main(how):
    try:
        if how == "swallowed":  # by Python, which raises nothing out of __del__
            Lost()
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("cleared", flush=True)
        if how == "replaced":  # as by a pool that can't be shut down before it has begun
            raise RuntimeError

run(main, sys.argv[1])
"""


@pytest.mark.parametrize(
    ("number", "how", "environment", "status", "message"),
    [
        (signal.SIGINT, "raised", {}, 130, "cleared"),
        (signal.SIGTERM, "raised", {}, 143, "cleared"),
        (signal.SIGTERM, "replaced", {}, 143, "cleared"),
        (signal.SIGINT, "swallowed", {}, 130, ""),
        (signal.SIGINT, "raised", {"RANK": "0"}, 130, "cleared"),
        (signal.SIGINT, "raised", {"RANK": "1"}, 130, "cleared"),
        (signal.SIGTERM, "raised", {"RANK": "0"}, -15, ""),  # its launcher's, which a hanging rank must not outlive
    ],
)
def test_work_is_cleared_up_and_one_rank_speaks(number, how, environment, status, message):
    process = started("-c", WORK, how, caught=signal.SIGINT, **environment)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    out, err = process.communicate()
    speaks = status > 0 and environment != {"RANK": "1"}
    assert (process.returncode, out.strip(), len(err.splitlines())) == (status, message, speaks), err


def test_what_is_ignored_stays_so():
    """As nohup ignores SIGHUP, and a shell Ctrl-C for what it runs in the background."""
    process = started("-c", WORK, "raised", ignored=[signal.SIGHUP])
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143 and "SIGTERM" in process.communicate()[1]


def test_the_library_changes_no_signal():
    """Imported in a notebook, say, or by these tests; nor does run, once it has ended."""
    code = """
import signal
before = [signal.getsignal(number) for number in range(1, 32)]
import memorization.shell.cli, memorization.store.files, memorization.alignment.pair_files, memorization.encoding.encode
import encode_dialogue, load_to_elastic, plagiarism_detect, report
try:
    memorization.shell.cli.run(lambda: None)
except SystemExit:
    pass
assert before == [signal.getsignal(number) for number in range(1, 32)]
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
