"""Work shared among processes: in order, a few items ahead, and what ends badly is told as what it is."""

import os
import signal
from multiprocessing import active_children

import pytest

from memorization.shell.cli import UserError
from memorization.shell.parallel import AHEAD, in_order

FACTOR = 1


def start(factor):
    global FACTOR
    if factor < 0:
        raise UserError("no factor; give one")
    FACTOR = factor


def times(item):
    if item == 13:
        raise UserError("13 is no good")
    if item == 17:
        os.kill(os.getpid(), signal.SIGKILL)
    return FACTOR * item, os.getpid()


@pytest.mark.parametrize("jobs", [1, 3])
def test_results_come_in_order_and_items_are_taken_a_few_ahead(jobs):
    taken = []
    items = (taken.append(i) or i for i in range(100, 140))
    results = in_order(times, items, jobs, start, (7,))
    item, (first, process) = next(results)
    assert (item, first) == (100, 700) and len(taken) <= jobs * AHEAD + 1
    processes = {process}
    for item, (product, process) in results:
        assert product == 7 * item
        processes.add(process)
    assert len(taken) == 40 and (processes == {os.getpid()}) == (jobs == 1) and len(processes) <= jobs


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("factor", "message"), [(1, "13 is no good"), (-1, "no factor; give one")])
def test_a_mistake_in_any_process_is_told(jobs, factor, message):
    with pytest.raises(UserError, match=message):
        list(in_order(times, range(12, 15), jobs, start, (factor,)))


def test_a_signal_as_processes_are_started_leaves_none(monkeypatch):
    """Python would wait for them as it ends."""

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.process._ExecutorManagerThread", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(in_order(times, range(3), 2))
    for process in active_children():
        process.join(10)
        assert not process.is_alive()


def test_a_process_that_dies_is_told():
    with pytest.raises(UserError, match="a process of this run died.*lower --num-proc"):
        list(in_order(times, range(16, 20), 2, flag="--num-proc"))
