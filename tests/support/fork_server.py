"""Runs stage scripts in forks of a process that has everything imported; kills or stops them at any instant.

ForkServer is the tests' side; `serve` is the process that forks.
"""

import ctypes
import gc
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from support.warm_python import ENVIRONMENT, finish

ROOT = Path(__file__).parents[2]
STEPS = ("os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link")


@dataclass
class Run:
    """A run of a script. status: its exit status, negative for a signal, None while it is stopped. steps: how many
    renames and removals it did. output: what it printed, standard error included."""

    pid: int
    status: int | None
    seconds: float
    steps: int
    output: str


class ForkServer:
    """Runs scripts in forks. In its directory lie `work`, for the tests, and `tmp`, the runs' TMPDIR."""

    def __init__(self, python, directory):
        """python: the program of warm_python."""
        self.work, self.tmp = directory / "work", directory / "tmp"
        for path in (self.work, self.tmp):
            path.mkdir()
        places = {"TMPDIR": str(self.tmp), "PYTHONPATH": str(ROOT / "tests")}
        self._process = subprocess.Popen(
            [python, "-c", "from support import fork_server; fork_server.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ENVIRONMENT | places,
            cwd=ROOT,
        )

    def run(self, command, below, at=None, after=None, number=signal.SIGKILL, again=None, limits=()):
        """Run a script with arguments; send it a signal in place of its `at`-th step, or `after` seconds.

        A step is a rename or removal of a file or directory below the directory `below`. again: seconds until the same
        signal is sent once more. SIGINT goes to the script's own processes too, as Ctrl-C does; none may outlive it.
        limits: (resource, value) pairs for setrlimit; of RLIMIT_NOFILE, so many files more than are open.
        """
        command = [str(part) for part in command]
        when = {"at": at, "after": after, "number": int(number), "again": again}
        return self._ask(command=command, below=str(below), limits=list(limits), **when)

    def go_on(self, run):
        """Let a run go on that SIGSTOP stopped; return it as it ended."""
        return self._ask(pid=run.pid)

    def _ask(self, **request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Run(**json.loads(self._process.stdout.readline()))

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def serve():
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: a killed run's processes become this one's
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    runs = {}  # pid -> when it began, its outputs, the count of its steps
    for line in sys.stdin:
        request = json.loads(line)
        if pid := request.get("pid"):
            os.kill(pid, signal.SIGCONT)
        else:
            files = [tempfile.TemporaryFile(dir=Path(os.environ["TMPDIR"]).parent) for _ in range(2)]  # noqa: SIM115
            if not (pid := os.fork()):
                work(*files, **request)
            os.setpgid(pid, pid)
            runs[pid] = time.perf_counter(), *files
            for wait in filter(None, (request["after"], request["again"])):
                time.sleep(wait)
                (os.killpg if request["number"] == signal.SIGINT else os.kill)(pid, request["number"])
        _, status = os.waitpid(pid, os.WUNTRACED)
        outlived = None if os.WIFSTOPPED(status) else wait_for_group(pid)
        began, output, steps = runs[pid]
        answer = {"pid": pid, "seconds": time.perf_counter() - began, "steps": os.fstat(steps.fileno()).st_size}
        answer["status"] = None if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
        answer["output"] = os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace")
        if outlived:
            answer |= {"status": 98, "output": "a process that it started outlived it"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def wait_for_group(group):
    """Wait for the processes that a run has started. Returns whether one was still there after 10 seconds."""
    late = time.monotonic() + 10
    while True:
        try:
            os.waitpid(-group, os.WNOHANG)
        except ChildProcessError:
            return time.monotonic() > late
        if time.monotonic() > late:
            os.killpg(group, signal.SIGKILL)
        time.sleep(0.001)


def work(output, steps, command, below, at, after, number, again, limits):
    """In the fork: run the script, as Python would from the shell."""
    gc.disable()  # it would touch, and so copy, all shared memory
    os.setpgid(0, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number_of_file in (1, 2):
        os.dup2(output.fileno(), number_of_file)
    count = 0

    def step(event, arguments):
        nonlocal count
        if event not in STEPS or not isinstance(name := arguments[0], (str, bytes, os.PathLike)):
            return
        path = Path(os.fsdecode(name))  # relative to a directory that is being removed, or absolute
        if not path.is_absolute() or path.is_relative_to(below) and os.path.lexists(path):
            count += 1
            os.write(steps.fileno(), b".")
            if count == at:
                os.kill(os.getpid(), number)

    for what, value in limits:
        most = value + len([*Path("/proc/self/fd").iterdir()]) if what == resource.RLIMIT_NOFILE else value
        resource.setrlimit(what, (most, most))
    sys.addaudithook(step)
    sys.argv = command
    status = 99
    try:
        runpy.run_path(command[0], run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finish(status)
