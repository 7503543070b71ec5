"""How a script and its worker processes end at Ctrl-C (SIGINT), SIGTERM or SIGHUP: with one line, cleared up.

A process has its signals changed only when a script asks: script.py as it starts, cli.run for the time of the work.
"""

import os
import signal
import sys
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from threading import Thread

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_speaker = os.getpid()  # not a process forked from it
_received, _said = None, False


class Ended(KeyboardInterrupt):
    """A signal, `number`, has asked the process to end."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


def say(number):
    """Say in one line, once, and on the first rank alone, that a signal ends the process; return the exit status."""
    global _said
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ALL)  # the next one may end the process
    if not _said and os.getpid() == _speaker and os.environ.get("RANK", "0") == "0":
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        with suppress(OSError):
            os.write(2, f"interrupted{by}; run the same command again to go on\n".encode())
        _said = True
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return 128 + number


def end(number, frame=None):
    """The handler of a script that has nothing to clear up: end at once."""
    os._exit(say(number))


def _raise(number, frame):
    global _received
    _received = number
    _handle(end)  # a second one is not waited for
    raise Ended(number)


def _handle(handler):
    # a launcher ends its ranks by SIGTERM, also where Python can't answer; what is ignored, as by nohup, stays so
    for number in ALL[:1] if "RANK" in os.environ else ALL:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def begin():
    """End at once from now on. Forked processes leave Ctrl-C to this one."""
    global _speaker
    _speaker = os.getpid()
    _handle(end)
    os.register_at_fork(after_in_child=_leave_to_parent)


def _leave_to_parent():
    for number in ALL:
        if signal.getsignal(number) in (end, _raise):
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)


@contextmanager
def raised():
    """Raise Ended at a signal in the block, so that what is temporary is cleared. A second ends at once."""
    global _speaker, _received, _said
    _speaker, _received, _said = os.getpid(), None, False
    before = {number: signal.getsignal(number) for number in ALL}, sys.unraisablehook
    sys.unraisablehook = lambda lost: end(lost.exc_value.number) if lost.exc_type is Ended else before[1](lost)
    _handle(_raise)
    try:
        yield
    except Exception:
        if _received:  # that is what all else comes from
            raise Ended(_received) from None
        raise
    finally:
        sys.unraisablehook = before[1]
        for number, handler in before[0].items():
            signal.signal(number, handler)


def end_with_parent():
    """Let this worker process end when the process that started it does, be that killed."""

    def wait():
        parent_process().join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
