"""A program that does what `python` does, in a fork of a process that has everything imported.

A new interpreter takes seconds to import torch and transformers, and a launch of two ranks starts four of them. Not for
what an import depends on: the variables of the hub's library, a module that is missing.

This file, run as a script, is the process that forks.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPTS = "audit encode_dialogue run_clm run_seq2seq inference_prefix load_to_elastic plagiarism_detect report".split()
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PROGRAM = """#!{python} -ES
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
socket.send_fds(server, [b"."], [0, 1, 2])
server.sendall(json.dumps([os.getcwd(), dict(os.environ), sys.argv]).encode() + b"\\n")
answers = server.makefile()
pid = int(answers.readline())
for number in {signals}:
    signal.signal(number, lambda number, _: os.kill(pid, number))
status = int(answers.readline())
if status < 0:
    signal.signal(-status, signal.SIG_DFL) if status != -9 else None
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


def start(directory: Path, until: int) -> Path:
    """Start the process, which ends with the process `until`; return the directory of the programs.

    They are `python`, `torchrun` and `deepspeed`, which start further ones likewise.
    """
    programs, path = directory / "programs", str(directory / "socket")
    programs.mkdir(parents=True)
    text = PROGRAM.format(python=sys.executable, path=path, signals=[int(number) for number in PASSED_ON])
    (programs / "python").write_text(text)
    for name, module in (("torchrun", "torch.distributed.run"), ("deepspeed", "deepspeed.launcher.runner")):
        (programs / name).write_text(f'#!/bin/sh\nexec {programs}/python -m {module} "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    caches = {"HF_HOME": str(directory / "cache"), "XDG_CACHE_HOME": str(directory / "cache")}
    process = subprocess.Popen(
        [sys.executable, __file__, path, str(until), programs / "python"],
        env=os.environ | ENVIRONMENT | caches,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=(directory / "output").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    while not Path(path).exists():
        assert process.poll() is None, (directory / "output").read_text()
        time.sleep(0.05)
    return programs


def serve(path, until, program):
    sys.path[0] = str(ROOT)
    warm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # which reaps
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(64)
    Path(f"{path}.new").rename(path)
    with suppress(ProcessLookupError):
        end = os.pidfd_open(int(until))
        while end not in select.select([listener, end], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                answer(connection, program)
            connection.close()


def warm():
    """Import all that the scripts import, now or later, and compile; start no thread."""
    import accelerate.state  # noqa: F401
    import datasets  # noqa: F401
    import torch.distributed.run  # noqa: F401
    import transformers.models.auto.modeling_auto  # noqa: F401
    import transformers.models.gpt2.modeling_gpt2  # noqa: F401
    import transformers.models.gpt_neo.modeling_gpt_neo  # noqa: F401
    import transformers.models.t5.modeling_t5  # noqa: F401
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer  # noqa: F401

    with suppress(ImportError):  # as accelerate does where it is installed
        import deepspeed.launcher.runner  # noqa: F401
    import memorization.detection.paraphrase  # noqa: F401
    from memorization.alignment import align, longest_common_run, prepare
    from memorization.encoding.words import words
    from memorization.results.drawing import draw
    from memorization.results.plots import Plot, Series

    for script in SCRIPTS:
        runpy.run_path(f"{script}.py", run_name="imported")
    text = "The doctor said that the patient should take two pills a day. Then we will see how it goes from here."
    align(text, text, "paper")
    longest_common_run(prepare(text), prepare(text))
    words(text)
    draw(Plot("warm", "", "", "", [Series("", *[[0.1, 0.2]] * 5, 0, 0)]))
    tqdm.set_lock(threading.RLock())  # its own is of all forks: a killed one would hold it for ever
    for number in PASSED_ON:
        signal.signal(number, signal.SIG_DFL)
    gc.collect()
    gc.freeze()


def answer(connection, program):
    """Fork a process for what is asked for; tell its id and how it ended. It is killed if who asked is."""
    _, files, *_ = socket.recv_fds(connection, 1, 3)
    directory, environment, words = json.loads(connection.makefile().readline())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not (pid := os.fork()):
        connection.close()
        become(directory, environment, words[1:], files, program)
    for file in files:
        os.close(file)
    connection.sendall(b"%d\n" % pid)
    if connection in select.select([connection, os.pidfd_open(pid)], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    with suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def become(directory, environment, words, files, program):
    """Do what `python *words` does."""
    gc.disable()  # it would touch, and so copy, all shared memory
    os.setpgid(0, 0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    while words[0] in ("-u", "-ES"):
        del words[0]
    first, *rest = words
    if first == "-m":
        sys.executable = program  # for the ranks of a launcher
    sys.path[0] = "" if first in ("-c", "-m") else str(Path(first).resolve().parent)
    sys.path[1:1] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    status = 0
    try:
        if first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), sys.modules["__main__"].__dict__)
        elif first == "-m":
            sys.argv = rest
            warnings.filterwarnings("ignore", "'.*' found in sys.modules after import")
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = words
            runpy.run_path(first, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        status = 1 if isinstance(end.code, str) else int(end.code or 0)
    except BaseException:
        traceback.print_exc()
        status = 1
    finish(status)


def finish(status):
    """End a fork, as Python ends."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(*sys.argv[1:])
