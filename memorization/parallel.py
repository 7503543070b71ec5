"""Work shared among processes of this machine, its results in order."""

import os
import signal
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread

from memorization.cli import UserError

AHEAD = 3  # items for each process that are begun before the first is asked for


def in_order(work, items, jobs, start=None, settings=()):
    """work(item) of each of the items, in order, in `jobs` processes (1: in this one); a generator.

    start: is called with the settings before the first item, once in every process. Items are taken as results are
    asked for, AHEAD times `jobs` of them in advance. Raises UserError if a process dies.
    """
    if jobs == 1:
        if start:
            start(*settings)
        yield from map(work, items)
        return
    ahead = deque()
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (start, settings)) as pool:
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > AHEAD * jobs:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            raise UserError("a process of this run died, likely for want of memory; use fewer (--jobs)") from None
        finally:
            pool.shutdown(cancel_futures=True)


def cores():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _begin(start, settings):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business
    Thread(target=_end_with, args=[parent_process()], daemon=True).start()
    if start:
        start(*settings)


def _end_with(parent):
    parent.join()
    os._exit(1)
