"""Work shared among processes of this machine, its results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import active_children, parent_process
from threading import Thread
from typing import Any, TypeVar

from memorization.shell.cli import UserError

AHEAD = 3  # items for each process that are submitted before the first result is needed

Item = TypeVar("Item")
Result = TypeVar("Result")
_to_start: list[tuple[Callable[..., None], tuple[Any, ...]]] = []  # in a process of a pool, before its first item


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    jobs: int,
    start: Callable[..., None] | None = None,
    settings: tuple[Any, ...] = (),
    flag: str = "--jobs",
) -> Iterator[tuple[Item, Result]]:
    """(item, work(item)) for each of the items, in order, by `jobs` processes (1: by this one).

    start: called with the settings once in every process, before its first item. At most AHEAD times `jobs` items are
    taken in advance. flag: sets the number of processes. Raises UserError if a process dies.
    """
    if jobs == 1:
        if start:
            start(*settings)
        for item in items:
            yield item, work(item)
        return
    ahead: deque = deque()
    with ProcessPoolExecutor(jobs, initializer=_begin, initargs=(start, settings)) as pool:
        try:
            for item in items:
                ahead.append((item, pool.submit(_work, work, item)))
                if len(ahead) > AHEAD * jobs:
                    first, future = ahead.popleft()
                    yield first, future.result()
            for first, future in ahead:
                yield first, future.result()
        except BrokenProcessPool:
            raise UserError(f"a process of this run died, likely for want of memory; lower {flag}") from None
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            for process in active_children():  # if it came as they were started, the pool does not end them
                process.kill()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`; the last list may be shorter."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch


def cores() -> int:
    """How many processors this process may use; the ranks of this machine share them."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, available // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _begin(start: Callable[..., None] | None, settings: tuple[Any, ...]) -> None:
    if start:
        _to_start.append((start, settings))
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that started it ends, even by a kill."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(work: Callable[[Item], Result], item: Item) -> Result:
    while _to_start:  # not in _begin: an exception there would look like the death of the process
        start, settings = _to_start.pop()
        start(*settings)
    return work(item)
