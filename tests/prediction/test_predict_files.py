"""Work in threads: in order, at the same time, never far ahead."""

import threading
import time

import pytest

from weakshot_seg.prediction.predict_files import in_threads


def test_tasks_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=10)
    assert len(list(in_threads(lambda _: meeting.wait(), range(6), 3))) == 6  # a single thread would wait for ever


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_shortly_after_their_items_and_an_error_in_its_turn(threads: int) -> None:
    drawn = []

    def task(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        if number == 40:
            raise ValueError("forty")
        return number**2

    results = in_threads(task, (drawn.append(i) or i for i in range(100)), threads)
    for done in range(40):
        assert next(results) == done**2
        assert len(drawn) - done <= threads + 1
    with pytest.raises(ValueError, match="forty"):
        next(results)
    assert len(drawn) < 50  # what follows is not begun
