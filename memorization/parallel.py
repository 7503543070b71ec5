"""Work shared among processes of this machine, its results in order."""

import os
import signal
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread

from memorization.cli import UserError

WORLD_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # of launchers
AHEAD = 3  # items for each process that are begun before the first is asked for


def in_order(work, items, jobs, start=None, settings=()):
    """(item, work(item)) for each of the items, in order, by `jobs` processes (1: by this one); a generator.

    work, start: functions of modules. start is called with the settings once in every process, before its first item.
    Items are taken as results are asked for, AHEAD times `jobs` of them in advance. Raises UserError if a process dies.
    """
    if jobs == 1:
        if start:
            start(*settings)
        for item in items:
            yield item, work(item)
        return
    context, ahead = get_context("forkserver"), deque()  # each begins with the modules, and without our threads
    context.set_forkserver_preload([work.__module__])
    with ProcessPoolExecutor(jobs, context, _begin, (start, settings)) as pool:
        try:
            for item in items:
                ahead.append((item, pool.submit(work, item)))
                if len(ahead) > AHEAD * jobs:
                    first, result = ahead.popleft()
                    yield first, result.result()
            while ahead:
                first, result = ahead.popleft()
                yield first, result.result()
        except BrokenProcessPool:
            raise UserError("a process of this run died, likely for want of memory; use fewer (--jobs)") from None
        finally:
            pool.shutdown(cancel_futures=True)


def cores():
    """How many processors this process may use, of those that the ranks of this machine share."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, here // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


class Alone:
    """The state of a run that is one process without a device, as accelerate's PartialState tells it."""

    process_index, num_processes, is_main_process, device = 0, 1, True, "cpu"

    def wait_for_everyone(self):
        pass


def ranks(needed):
    """The PartialState of this run, which takes seconds to import, if a device is needed or it has several ranks."""
    if not needed and all(os.environ.get(name, "1") == "1" for name in WORLD_SIZES):
        return Alone()
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.accelerator.is_available())


def _begin(start, settings):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's business
    Thread(target=_end_with, args=[parent_process()], daemon=True).start()
    if start:
        start(*settings)


def _end_with(parent):
    parent.join()
    os._exit(1)
