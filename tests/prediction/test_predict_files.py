"""Work in threads: in order, at the same time, never far ahead."""

import threading
import time

import pytest

from weakshot_seg.prediction.predict_files import in_threads


def test_tasks_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)
    assert len(list(in_threads(lambda _: meeting.wait(), range(6), 3))) == 6  # a single thread would wait for ever


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_and_items_are_drawn_shortly_before(threads: int) -> None:
    drawn = []

    def task(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number**2

    for done, result in enumerate(in_threads(task, (drawn.append(i) or i for i in range(50)), threads)):
        assert result == done**2
        assert len(drawn) - done <= threads + 1


def test_an_error_is_raised_and_what_follows_is_not_begun() -> None:
    begun = []

    def task(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise ValueError("three")
        return number

    seen = []
    with pytest.raises(ValueError, match="three"):
        for number in in_threads(task, range(100), 2):
            seen.append(number)
    assert seen == [0, 1, 2]
    assert len(begun) < 10
