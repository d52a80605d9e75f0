"""One function on many items, in processes, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from tqdm import tqdm

from weakshot_seg.errors import DataError
from weakshot_seg.utils.signals import leave_signals_to_parent

T = TypeVar("T")
R = TypeVar("R")

PER_PROCESS = 32
"""Fewer items than this are not worth another process."""


def num_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(task: Callable[[T], R], items: Sequence[T], title: str) -> Iterator[R]:
    """``task(item)`` of each item, in order, computed by as many processes as there are CPUs.

    Both can be pickled; each process gets the task once. ``title`` is that of the progress bar, which appears after a
    second. A ``DataError`` if a process was killed.
    """
    bar = partial(tqdm, desc=title, total=len(items), delay=1, leave=False, disable=None)
    processes = min(num_cpus(), len(items) // PER_PROCESS)
    if processes < 2:
        yield from bar(map(task, items))
        return
    try:
        with ProcessPoolExecutor(processes, initializer=_start_worker, initargs=(task,)) as pool:
            yield from bar(pool.map(_work, items, chunksize=8))
    except BrokenProcessPool as error:
        raise DataError(
            f"{title}: a process was killed, most often because the memory is full: allow fewer CPUs (taskset -c 0 ...)"
        ) from error


class _Worker:
    task: Callable[[Any], Any]


def _start_worker(task: Callable[[Any], Any]) -> None:
    leave_signals_to_parent()
    _Worker.task = staticmethod(task)


def _work(item: Any) -> Any:
    return _Worker.task(item)
