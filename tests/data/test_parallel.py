"""Many calls of one function in processes."""

import os

import pytest

from weakshot_seg.data import parallel
from weakshot_seg.data.parallel import PER_PROCESS, in_parallel


def square_and_process(index: int) -> tuple[int, int]:
    return index * index, os.getpid()


def fail(index: int) -> int:
    raise ZeroDivisionError(f"item {index}")


@pytest.mark.parametrize("cpus", [1, 2])
def test_results_come_in_order_from_that_many_processes(cpus: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "num_cpus", lambda: cpus)
    count = 4 * PER_PROCESS + 1
    results = list(in_parallel(square_and_process, count, ""))
    assert [result for result, _ in results] == [i * i for i in range(count)]
    assert len({process for _, process in results} - {os.getpid()}) == cpus


def test_few_items_stay_in_this_process() -> None:
    assert {process for _, process in in_parallel(square_and_process, PER_PROCESS - 1, "")} == {os.getpid()}


@pytest.mark.parametrize("count", [1, 2 * PER_PROCESS])
def test_errors_arrive(count: int) -> None:
    with pytest.raises(ZeroDivisionError, match="item 0"):
        list(in_parallel(fail, count, ""))
