"""Reading ``metrics.json`` of a training or an evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from weakshot_seg.errors import ConfigError
from weakshot_seg.metrics import SegmentationReport
from weakshot_seg.structures import ClassSplit


@dataclass(frozen=True)
class Measured:
    """What was measured of a model on validation images.

    Attributes:
        step: optimiser steps it had been trained for.
        report: the numbers.
    """

    step: int
    report: SegmentationReport


def read_metrics(path: Path, split: ClassSplit) -> Measured:
    """Reads the metrics of a model with the classes ``split``.

    Raises:
        ConfigError: the file is missing, broken, or about other classes.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        classes = content["classes"]
        named = tuple((entry["name"], entry["novel"]) for entry in classes)
        columns = {key: tuple(entry[key] for entry in classes) for key in ("iou", "accuracy", "pixels")}
        means = {
            field.name: content[field.name] for field in fields(SegmentationReport) if field.type == "float | None"
        }
        measured = Measured(content["step"], SegmentationReport(split, **columns, **means))
    except OSError as error:
        raise ConfigError(f"metrics={path}: {error.strerror}; weakshot_seg.evaluate writes such a file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"metrics={path} is no metrics.json of weakshot_seg ({error!r})") from error
    if named != tuple((name, index in split.novel) for index, name in enumerate(split.names)):
        raise ConfigError(f"metrics={path} is about other classes or another split than the checkpoint")
    return measured
