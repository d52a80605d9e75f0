"""Segmentation quality from one confusion matrix: base, novel and all classes (method section 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from statistics import harmonic_mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.utils.tables import aligned, number_text

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class SegmentationReport:
    """What follows from a confusion matrix; all numbers are percentages, None where there is no ground truth.

    A class without ground truth has no IoU and no accuracy and takes part in no mean, even if it was predicted.

    Attributes:
        iou: of each of the ``K`` classes; ``base_iou``, ``novel_iou`` and ``miou`` are means.
        accuracy: share of each class's pixels that got its label (recall).
        pixels: each class's share of the evaluated pixels.
        harmonic_iou: harmonic mean of ``base_iou`` and ``novel_iou``.
        pixel_accuracy: share of all evaluated pixels that got their label.
        frequency_weighted_iou: IoU weighted by ``pixels``.
        miou_strict: mean IoU in which a class that was predicted but has no ground truth counts as 0; this is what
            other tools (Detectron2) call mIoU.
        confusion: int64 ``[K, K]`` on the CPU, row = true class, column = predicted class.
    """

    split: ClassSplit
    iou: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]
    pixels: tuple[float | None, ...]
    base_iou: float | None
    novel_iou: float | None
    miou: float | None
    harmonic_iou: float | None
    base_accuracy: float | None
    novel_accuracy: float | None
    mean_accuracy: float | None
    pixel_accuracy: float | None
    frequency_weighted_iou: float | None
    miou_strict: float | None
    confusion: Tensor = field(repr=False, compare=False)

    @classmethod
    def from_confusion(cls, confusion: Tensor, split: ClassSplit) -> SegmentationReport:
        """Of the counts int64 ``[K, K]`` of all pixels but the ignored ones."""
        confusion = confusion.clone().cpu()
        counts = confusion.numpy().astype(np.float64)
        hit, true, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
        with np.errstate(invalid="ignore"):  # 0 / 0 = NaN marks what has no ground truth
            iou = 100 * hit / np.where(true > 0, true + predicted - hit, 0)
            accuracy = 100 * hit / true
            pixels = 100 * true / true.sum()
        base, novel = list(split.base), list(split.novel)
        base_iou, novel_iou = _mean(iou[base]), _mean(iou[novel])
        return cls(
            split=split,
            iou=_optional(iou),
            accuracy=_optional(accuracy),
            pixels=_optional(pixels),
            base_iou=base_iou,
            novel_iou=novel_iou,
            miou=_mean(iou),
            harmonic_iou=None if base_iou is None or novel_iou is None else harmonic_mean((base_iou, novel_iou)),
            base_accuracy=_mean(accuracy[base]),
            novel_accuracy=_mean(accuracy[novel]),
            mean_accuracy=_mean(accuracy),
            pixel_accuracy=float(100 * hit.sum() / true.sum()) if true.any() else None,
            frequency_weighted_iou=float(np.nansum(pixels * iou) / 100) if true.any() else None,
            miou_strict=_mean(np.nan_to_num(iou)[(true > 0) | (predicted > 0)]),
            confusion=confusion,
        )

    def summary(self) -> dict[str, float | None]:
        """The means, by name, for loggers."""
        others = ("split", "iou", "accuracy", "pixels", "confusion")
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in others}

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain Python, ready for JSON: the means and ``classes``, a list with one entry per class."""
        columns = zip(self.split.names, self.iou, self.accuracy, self.pixels, strict=True)
        classes = [
            {"id": i, "name": name, "novel": i in self.split.novel, "iou": iou, "accuracy": accuracy, "pixels": pixels}
            for i, (name, iou, accuracy, pixels) in enumerate(columns)
        ]
        return {**self.summary(), "classes": classes}

    def table(self) -> str:
        """Two aligned plain text tables: the means of base, novel and all classes, then every class (novel: ``*``)."""
        split = self.split
        means = [
            ("", "IoU", "accuracy", "classes"),
            ("base", number_text(self.base_iou), number_text(self.base_accuracy), str(len(split.base))),
            ("novel *", number_text(self.novel_iou), number_text(self.novel_accuracy), str(len(split.novel))),
            ("all", number_text(self.miou), number_text(self.mean_accuracy), str(split.num_classes)),
            ("harmonic", number_text(self.harmonic_iou), "", ""),
            ("per pixel", number_text(self.frequency_weighted_iou), number_text(self.pixel_accuracy), ""),
        ]
        classes: list[tuple[str, ...]] = [("id", "class", "kind", "IoU", "accuracy", "pixels")]
        for index, (name, *values) in enumerate(zip(split.names, self.iou, self.accuracy, self.pixels, strict=True)):
            kind = (f"{name} *", "novel") if index in split.novel else (name, "base")
            classes.append((str(index), *kind, *map(number_text, values)))
        return aligned(means, "<>>>") + "\n\n" + aligned(classes, "><<>>>")


class SegmentationMetrics(Metric):
    """Counts predicted against true classes over a validation set; summed over processes under DDP."""

    full_state_update = False
    confusion: Tensor  # int64 [K, K], row = true class, column = predicted class

    def __init__(self, split: ClassSplit) -> None:
        super().__init__()
        self.split = split
        counts = torch.zeros(split.num_classes, split.num_classes, dtype=torch.int64)
        self.add_state("confusion", counts, dist_reduce_fx="sum")

    def update(self, predictions: Sequence[Tensor], truths: Sequence[Tensor]) -> None:
        """Counts the pixels of a batch of label maps of any shapes; waits for the device once.

        Class ids are 0..K-1, true ones also :data:`IGNORE` (not counted); else, or if shapes differ, a
        :class:`DataError` is raised.
        """
        for prediction, truth in zip(predictions, truths, strict=True):
            if prediction.shape != truth.shape:
                raise DataError(f"the predicted map is {list(prediction.shape)}, but the true one {list(truth.shape)}")
        predicted, true = (torch.cat([m.flatten() for m in maps]).cpu().numpy() for maps in (predictions, truths))
        counted = true != IGNORE
        true, predicted, num_classes = true[counted], predicted[counted], self.split.num_classes
        for ids, what in ((true, "true"), (predicted, "predicted")):
            if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
                raise DataError(f"a {what} map holds class id {ids.max()}, not 0..{num_classes - 1} or {IGNORE}")
        counts = np.bincount(true.astype(np.int64) * num_classes + predicted, minlength=num_classes**2)
        self.confusion += torch.from_numpy(counts).view(num_classes, num_classes).to(self.confusion.device)

    def compute(self) -> Tensor:
        """The confusion matrix, summed over processes."""
        return self.confusion

    def report(self) -> SegmentationReport:
        """What was counted since the last reset; under DDP every process must call it, and each gets the same."""
        counts: Tensor = self.compute()
        return SegmentationReport.from_confusion(counts.view(self.confusion.shape), self.split)  # a scalar of one class


def on_host(maps: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of any shapes and one dtype on the CPU, by one copy."""
    flat = torch.cat([m.flatten() for m in maps]).cpu()
    return [part.view(m.shape) for part, m in zip(flat.split([m.numel() for m in maps]), maps, strict=True)]


def image_miou(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float | None:
    """Mean IoU of one image in percent, over the classes with ground truth in it; None if there is none.

    Maps are uint8 ``[h, w]``; a true class :data:`IGNORE` is not counted.
    """
    pairs = np.bincount(256 * truth.ravel().astype(np.int64) + prediction.ravel(), minlength=256**2).reshape(256, 256)
    pairs[IGNORE] = 0
    hit, true, predicted = np.diag(pairs), pairs.sum(1), pairs.sum(0)
    present = true > 0
    return float(100 * (hit / np.maximum(true + predicted - hit, 1))[present].mean()) if present.any() else None


def _optional(values: FloatArray) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in values)


def _mean(values: FloatArray) -> float | None:
    """Mean over the classes that have a value."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
