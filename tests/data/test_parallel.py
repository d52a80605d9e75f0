"""Many calls of one function in processes."""

import os
import signal

import pytest
import torch

from weakshot_seg.data import parallel
from weakshot_seg.data.parallel import PER_PROCESS, in_parallel
from weakshot_seg.errors import DataError


def square_and_process(item):
    return item * item, os.getpid()


def die(item):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(item):
    raise ZeroDivisionError(f"item {item}")


@pytest.mark.parametrize("cpus", [1, 2])
def test_results_come_in_order_from_that_many_processes(cpus, monkeypatch):
    """And the random numbers of what follows are as if nothing had been computed."""
    monkeypatch.setattr(parallel, "num_cpus", lambda: cpus)
    state = torch.get_rng_state()
    items = range(3, 4 * PER_PROCESS)
    results = list(in_parallel(square_and_process, items, ""))
    assert [result for result, _ in results] == [i * i for i in items]
    processes = {process for _, process in results}
    assert len(processes) <= cpus
    assert (os.getpid() in processes) == (cpus == 1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("count", [1, 2 * PER_PROCESS])
def test_errors_arrive(count):
    with pytest.raises(ZeroDivisionError, match="item 0"):
        list(in_parallel(fail, range(count), ""))


def test_a_killed_process_is_reported(monkeypatch):
    monkeypatch.setattr(parallel, "num_cpus", lambda: 2)
    with pytest.raises(DataError, match="reading: a process was killed"):
        list(in_parallel(die, range(2 * PER_PROCESS), "reading"))
