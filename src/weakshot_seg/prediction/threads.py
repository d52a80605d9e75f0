"""Files are read and written beside the network: Pillow and NumPy let other threads work meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(task: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """``task`` of each item, in order.

    Items are drawn in the calling thread, and at most ``threads + 1`` ahead of the results: few are in memory at
    any time. What ``task`` raises is raised here, in its turn.

    Args:
        task: may run in several threads at once.
        items: finite or not.
        threads: 1 or more; 1 still works beside the caller.
    """
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[R]] = deque()
        try:
            for item in items:
                pending.append(pool.submit(task, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
