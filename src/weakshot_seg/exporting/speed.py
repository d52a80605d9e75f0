"""How fast is an exported file beside the model?"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from weakshot_seg.exporting.formats import Images, Run

ROUNDS = 21
PAUSE = 0.05
"""Seconds before each run, in which the waiting threads of the other runtime leave the cores."""


@dataclass(frozen=True)
class Speed:
    """Seconds of wall time for one batch on the CPU.

    Attributes:
        images: In the batch.
        height: Of each.
        width: Of each.
        threads: Of both.
        file: Median.
        model: Median, in PyTorch.
        ratio: Median of the quotients file / model of runs one after the other.
    """

    images: int
    height: int
    width: int
    threads: int
    file: float
    model: float
    ratio: float


def measure(run: Run, model: Run, images: Images) -> Speed:
    """Times a file and the model, taking turns, after a round that does not count."""
    rounds = [(_seconds(run, images), _seconds(model, images)) for _ in range(ROUNDS + 1)][1:]
    file, ours = (statistics.median(times) for times in zip(*rounds, strict=True))
    ratio = statistics.median(a / b for a, b in rounds)
    return Speed(len(images), images.shape[2], images.shape[3], torch.get_num_threads(), file, ours, ratio)


def _seconds(run: Run, images: Images) -> float:
    time.sleep(PAUSE)
    start = time.perf_counter()
    run(images)
    return time.perf_counter() - start
