"""What was logged over the steps of a training: ``csv/version_*/metrics.csv``."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Line:
    """The mean of some curves and the range they span, each float ``[n]``, over ascending steps."""

    steps: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray


def read_curves(folder: Path) -> dict[str, Curve]:
    """All columns of the logs of a run by name; a resumed session replaces what was logged from its first step on.

    Cells that are no finite numbers are left out.

    Raises:
        Exception: a log is damaged, see :func:`~weakshot_seg.utils.files.noting_damage`.
    """
    values: Values = defaultdict(dict)
    sessions = {path.parent.name.removeprefix("version_"): path for path in folder.glob("csv/version_*/metrics.csv")}
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
            try:
                step = int(float(row["step"] or ""))
            except (KeyError, ValueError, OverflowError):
                continue  # the last line of a killed run
            for name, cell in row.items():
                try:
                    number = float(cell)
                except (TypeError, ValueError):
                    continue
                if name not in ("step", "epoch") and abs(number) < LARGEST:
                    values[name][step] = number
    return values


def mean_line(curves: Sequence[Curve]) -> Line:
    """Mean, lowest and highest of several curves, each averaged within at most :data:`BINS` ranges of steps."""
    steps = np.unique(np.concatenate([x for x, _ in curves]))
    edges = steps if len(steps) <= BINS else np.linspace(steps[0], steps[-1], BINS + 1)[:-1]
    table = np.full((len(curves), len(edges)), np.nan)
    for row, (x, y) in zip(table, curves, strict=True):
        bins = np.searchsorted(edges, x, side="right") - 1
        count = np.bincount(bins, minlength=len(edges))
        total = np.bincount(bins, y, minlength=len(edges))
        row[count > 0] = total[count > 0] / count[count > 0]
    some = np.isfinite(table).any(0)
    table, edges = table[:, some], edges[some]
    return Line(edges, np.nanmean(table, 0), np.nanmin(table, 0), np.nanmax(table, 0))


def names_of(curves: Sequence[Mapping[str, Curve]], prefix: str, without: Sequence[str] = ()) -> list[str]:
    """Sorted names with the prefix, and none of the others, in any of the runs."""
    names = {name for run in curves for name in run if name.startswith(prefix)}
    return sorted(name for name in names if not name.startswith(tuple(without)))
