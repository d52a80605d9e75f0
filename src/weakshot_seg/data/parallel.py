"""One function on many items, in processes, with a progress bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

R = TypeVar("R")

PER_PROCESS = 32
"""Fewer items than this are not worth another process."""


class _Results(Dataset[R], Generic[R]):
    def __init__(self, task: Callable[[int], R], count: int) -> None:
        self._task = task
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> R:
        return self._task(index)


def num_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(task: Callable[[int], R], count: int, title: str) -> Iterator[R]:
    """``task(0)``, ``task(1)``, ... in order, computed by as many processes as there are CPUs.

    Args:
        task: Can be pickled.
        count: How many.
        title: Of the progress bar, which appears after a second.
    """
    processes = min(num_cpus(), count // PER_PROCESS)
    loader: DataLoader[Any] = DataLoader(
        _Results(task, count),
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=processes,
        prefetch_factor=16 if processes else None,
        generator=torch.Generator(),  # not the global one: the training that follows must not depend on this
    )
    yield from tqdm(loader, title, count, delay=1, leave=False, disable=None)


def _as_it_is(item: R) -> R:
    return item
