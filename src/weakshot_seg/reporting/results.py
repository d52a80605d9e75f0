"""Reading ``metrics.json`` of a training or an evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Percent = float | None
"""0..100; None without ground truth."""


@dataclass(frozen=True)
class ClassScore:
    """IoU and accuracy of a class; ``novel`` as the run saw it."""

    name: str
    novel: bool
    iou: Percent
    accuracy: Percent


@dataclass(frozen=True)
class Result:
    """What was measured after ``step`` steps, see :class:`~weakshot_seg.training.metrics.SegmentationReport`."""

    step: int
    seconds: float
    classes: tuple[ClassScore, ...]
    base_iou: Percent
    novel_iou: Percent
    miou: Percent
    base_accuracy: Percent
    novel_accuracy: Percent
    mean_accuracy: Percent
    pixel_accuracy: Percent
    frequency_weighted_iou: Percent

    @property
    def novel(self) -> frozenset[str]:
        """Names of the novel classes."""
        return frozenset(c.name for c in self.classes if c.novel)

    @property
    def class_names(self) -> tuple[str, ...]:
        """All names, by id."""
        return tuple(c.name for c in self.classes)


NEEDED = ("base_iou", "novel_iou", "miou")
OTHERS = ("base_accuracy", "novel_accuracy", "mean_accuracy", "pixel_accuracy", "frequency_weighted_iou")
"""Means that files of other programs may lack."""


def read_result(path: Path) -> tuple[Result, dict[str, Any]]:
    """The numbers of a ``metrics.json``, and all that it holds.

    Raises:
        Exception: one of :data:`~weakshot_seg.utils.damage.DAMAGE`.
    """
    content = json.loads(path.read_text("utf-8"))
    novel = set(content["novel_classes"])
    classes = tuple(
        ClassScore(str(c["name"]), c["name"] in novel, _percent(c["iou"]), _percent(c.get("accuracy")))
        for c in content["classes"]
    )
    if not classes:
        raise ValueError("no classes")
    means = {key: _percent(content[key]) for key in NEEDED} | {key: _percent(content.get(key)) for key in OTHERS}
    return Result(int(content["step"]), float(content["seconds"]), classes, **means), content


def _percent(value: Any) -> Percent:
    number = None if value is None else float(value)
    if number is not None and not 0 <= number <= 101:  # rounding may exceed 100
        raise ValueError(f"{number} is no percentage")
    return number
