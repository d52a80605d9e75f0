"""Paired timing: contestants take turns, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

Run = Callable[[], object]

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""The second counts what this process computes only, on all its threads: for a machine that does other work as well."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles.

    Attributes:
        median: of the measurements.
        low: lower quartile.
        high: upper quartile.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of one value or more."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


class PhaseTimer:
    """Seconds by phase. While it is off, its hooks do nothing; while on, every phase waits for the device.

    Args:
        device: the device of the work.
        clock: see :data:`CLOCKS`.
    """

    def __init__(self, device: torch.device, clock: str) -> None:
        self._clock = CLOCKS[clock]
        self.on = False
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._open: list[float] = []

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time within to a phase."""
        self._start()
        yield
        self._stop(name)

    def watch(self, name: str, module: nn.Module) -> None:
        """Adds all calls of ``module`` to a phase."""
        module.register_forward_pre_hook(lambda *_: self._start())
        module.register_forward_hook(lambda *_: self._stop(name))

    def _start(self) -> None:
        if self.on:
            synchronise(self._device)
            self._open.append(self._clock())

    def _stop(self, name: str) -> None:
        if self.on:
            synchronise(self._device)
            self.seconds[name] += self._clock() - self._open.pop()


def synchronise(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alternate(
    runs: Mapping[str, Run], rounds: int, warmup: int, device: torch.device, clock: str
) -> dict[str, list[float]]:
    """Seconds of every run in every round, the runs taking turns: A B A B ..."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-warmup, rounds):
        for name, run in runs.items():
            synchronise(device)
            start = CLOCKS[clock]()
            run()
            synchronise(device)
            if number >= 0:
                seconds[name].append(CLOCKS[clock]() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], first: str, second: str) -> Spread:
    """Of the quotients first / second, round by round."""
    return Spread.of([a / b for a, b in zip(seconds[first], seconds[second], strict=True)])


def peak_bytes(run: Run, device: torch.device) -> int:
    """The most that ``run`` holds at once beyond what was there before (without oneDNN's scratch memory on CPUs)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    results: Any = profiler.profiler
    events = [e for e in results.kineto_results.events() if e.name() == "[memory]"]
    level = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        level += event.nbytes()
        peak = max(peak, level)
    if not peak:
        raise RuntimeError("the profiler of this version of PyTorch records no allocations")
    return peak


def host_waits(run: Run, device: torch.device) -> int | None:
    """How often ``run`` waits for the GPU on the way; None on CPUs."""
    if device.type != "cuda":
        return None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(warning.message) for warning in caught)
