"""Reading ``metrics.json`` of a training or an evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import ClassSplit

Percent = float | None
"""0..100; None without ground truth."""


@dataclass(frozen=True)
class Measured:
    """What was measured of a model, see :class:`~weakshot_seg.training.metrics.SegmentationReport`.

    Attributes:
        step: optimiser steps it had been trained for.
        iou: of each of the ``K`` classes.
        accuracy: of each of the ``K`` classes.
    """

    step: int
    iou: tuple[Percent, ...]
    accuracy: tuple[Percent, ...]
    base_iou: Percent
    novel_iou: Percent
    miou: Percent
    base_accuracy: Percent
    novel_accuracy: Percent
    mean_accuracy: Percent
    pixel_accuracy: Percent
    frequency_weighted_iou: Percent


def read_metrics(path: Path, split: ClassSplit) -> Measured:
    """Reads the metrics of a model with the classes ``split``.

    Raises:
        ConfigError: the file is missing, broken, or about other classes.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        classes = content["classes"]
        named = tuple((entry["name"], entry["novel"]) for entry in classes)
        per_class = {key: tuple(entry[key] for entry in classes) for key in ("iou", "accuracy")}
        measured = Measured(**{field.name: (content | per_class)[field.name] for field in fields(Measured)})
    except OSError as error:
        raise ConfigError(f"metrics={path}: {error.strerror}; weakshot evaluate writes such a file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"metrics={path} is no metrics.json of weakshot_seg ({error!r})") from error
    if named != tuple((name, index in split.novel) for index, name in enumerate(split.names)):
        raise ConfigError(f"metrics={path} is about other classes or another split than the checkpoint")
    return measured
