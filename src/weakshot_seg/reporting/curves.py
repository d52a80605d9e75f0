"""What was logged over the steps of a training: ``csv/version_*/metrics.csv``."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Values = dict[str, dict[int, float]]
"""By name of the column and step."""
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

    Cells that are no finite numbers are left out.

    Raises:
        Exception: a log is damaged, see :func:`~weakshot_seg.utils.files.noting_damage`.
    """
    values: Values = defaultdict(dict)
    sessions = {path.parent.name.removeprefix("version_"): path for path in folder.glob("version_*/metrics.csv")}
    for number in sorted(filter(str.isdecimal, sessions), key=int):  # others are copies of the user's
        session = _read(sessions[number])
        start = min((step for cells in session.values() for step in cells), default=0)
        for name in values | session:
            before = {step: value for step, value in values[name].items() if step < start}
            values[name] = before | session.get(name, {})
    curves = {name: np.array(sorted(cells.items()), dtype=float) for name, cells in values.items() if cells}
    return {name: (points[:, 0], points[:, 1]) for name, points in curves.items()}


def _read(path: Path) -> Values:
    values: Values = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            step = _number(row.get("step"))
            for name, cell in row.items():
                value = _number(cell)
                if step is not None and value is not None and name not in ("step", "epoch"):
                    values[name][int(step)] = value
    return values


def _number(cell: object) -> float | None:
    """The number in a cell; None if it is none, such as one that a killed run wrote half, or not finite."""
    try:
        number = float(str(cell))
    except ValueError:
        return None
    return number if abs(number) < LARGEST else None


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
