"""What was logged over the steps of a training: ``csv/version_*/metrics.csv``."""

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Curve = tuple[FloatArray, FloatArray]
"""Steps and values, each float ``[n]``."""
BINS = 150
"""Points of a line at most: what was logged more often is averaged."""
LARGEST = float(np.finfo(np.float32).max)
"""What a training can log at most, so that sums and axes are finite too."""


class Line(NamedTuple):
    """The mean of some curves and the range they span, each float ``[n]``, over ascending steps."""

    steps: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def read_curves(folder: Path) -> dict[str, Curve]:
    """All columns of the logs in a folder ``csv``; a resumed session replaces what was logged from its first step on.

    Cells that are no finite numbers are left out. A damaged log raises an exception of any kind.
    """
    values: dict[str, dict[int, float]] = defaultdict(dict)  # by column and step
    sessions = {path.parent.name.removeprefix("version_"): path for path in folder.glob("version_*/metrics.csv")}
    for number in sorted(filter(str.isdecimal, sessions), key=int):  # others are copies of the user's
        cells = list(_cells(sessions[number]))
        start = min((step for _, step, _ in cells), default=math.inf)
        for name, curve in values.items():
            values[name] = {step: value for step, value in curve.items() if step < start}
        for name, step, value in cells:
            values[name][step] = value
    curves = {name: np.array(sorted(curve.items()), dtype=float) for name, curve in values.items() if curve}
    return {name: (points[:, 0], points[:, 1]) for name, points in curves.items()}


def _cells(path: Path) -> Iterator[tuple[str, int, float]]:
    """Column, step and value of all cells with a finite number; a killed run may have written half a row."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            numbers: dict[str, float] = {}
            for name, cell in row.items():
                with suppress(ValueError):
                    if abs(number := float(str(cell))) < LARGEST:
                        numbers[name] = number
            step = numbers.pop("step", None)
            yield from ((n, int(step), v) for n, v in numbers.items() if step is not None and n != "epoch")


def mean_line(curves: Sequence[Curve]) -> Line:
    """Mean, lowest and highest of several curves, each averaged within at most :data:`BINS` ranges of steps."""
    edges = np.unique(np.concatenate([steps for steps, _ in curves]))
    if len(edges) > BINS:
        edges = np.linspace(edges[0], edges[-1], BINS + 1)[:-1]
    table = np.full((len(curves), len(edges)), np.nan)
    for row, (steps, values) in zip(table, curves, strict=True):
        bins = np.searchsorted(edges, steps, side="right") - 1
        count, total = np.bincount(bins, minlength=len(edges)), np.bincount(bins, values, minlength=len(edges))
        row[count > 0] = total[count > 0] / count[count > 0]
    some = np.isfinite(table).any(0)
    table = table[:, some]
    return Line(edges[some], np.nanmean(table, 0), np.nanmin(table, 0), np.nanmax(table, 0))
