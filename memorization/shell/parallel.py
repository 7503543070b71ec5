"""Work shared among processes of this machine, its results in order."""

import os
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

from memorization.shell.cli import UserError
from memorization.shell.signals import end_with_parent

AHEAD = 3  # items for each process that are begun before the first is asked for


def in_order(work, items, jobs, start=None, settings=(), flag="--jobs"):
    """(item, work(item)) for each of the items, in order, by `jobs` processes (1: by this one); a generator.

    start: is called with the settings once in every process, before its first item. Items are taken as results are
    asked for, AHEAD times `jobs` of them in advance. flag: how many processes there are. Raises UserError if one dies.
    """
    if jobs == 1:
        if start:
            start(*settings)
        for item in items:
            yield item, work(item)
        return
    ahead = deque()
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(start, settings)) as pool:
        try:
            for item in items:
                ahead.append((item, pool.submit(_work, work, item)))
                if len(ahead) > AHEAD * jobs:
                    first, result = ahead.popleft()
                    yield first, result.result()
            while ahead:
                first, result = ahead.popleft()
                yield first, result.result()
        except BrokenProcessPool:
            raise UserError(f"a process of this run died, likely for want of memory; lower {flag}") from None
        finally:
            pool.shutdown(cancel_futures=True)


def batches(items, size):
    """The items in lists of `size`, the last one of what is left."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def _begin(start, settings):
    global _not_begun  # of a process of the pool
    _not_begun = [(start, settings)] if start else []
    end_with_parent()


def _work(work, item):
    while _not_begun:  # not in _begin, whose mistakes would pass for the death of the process
        start, settings = _not_begun.pop()
        start(*settings)
    return work(item)


def cores():
    """How many processors this process may use, of those that the ranks of this machine share."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, here // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
