"""How good pseudo-labels are: against what training may know, and, for measuring only, against the true masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from weakshot_seg.data.images import read_mask
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

KEY = "weakshot_seg"
"""Of the text in a PNG file: what its pixels do not show of the prediction they were made of."""

Percent = float | None
"""None where there is nothing to count."""


@dataclass(frozen=True)
class Agreement:
    """How predictions and labels agree with what training may know, in percent.

    Attributes:
        base_accuracy: of the predictions on pixels with a base mask; None unless all classes were candidates.
        tag_precision: of the other pixels predicted as novel those whose class is among the image's labels; likewise.
        tags_found: of the image-level labels of novel classes those that got a pixel.
        labelled: of the pixels outside the base masks those that got a class.
    """

    base_accuracy: Percent
    tag_precision: Percent
    tags_found: Percent
    labelled: Percent


@dataclass(frozen=True)
class ClassQuality:
    """Of the labels of one novel class, in percent; a pixel without label counts as missed."""

    id: int
    name: str
    iou: Percent
    precision: Percent
    recall: Percent


@dataclass(frozen=True)
class Quality:
    """Of the labels of all novel classes: their mean IoU in percent, and each by itself."""

    novel_iou: Percent
    classes: tuple[ClassQuality, ...]


def prediction_counts(predicted: NDArray[np.uint8], known: NDArray[np.uint8], novel: Sequence[int]) -> tuple[int, int]:
    """Pixels ``[h, w]`` predicted as their ``known`` base class, and others predicted as a novel one."""
    base = known != IGNORE
    return int((base & (predicted == known)).sum()), int((~base & np.isin(predicted, novel)).sum())


def png_text(counts: tuple[int, int]) -> PngInfo:
    """Holds the counts: ``save(..., pnginfo=...)``."""
    info = PngInfo()
    info.add_text(KEY, json.dumps(counts))
    return info


def measure(files: Sequence[Path], dataset: WeakShotDataset, free: bool = True) -> tuple[Agreement, Quality]:
    """Reads all pseudo-labels.

    Args:
        files: the PNG file of each image.
        dataset: the training images.
        free: the predictions were free to choose any class.

    Raises:
        DataError: a file is missing, broken or not of ours.
    """
    split = dataset.split
    table = np.zeros((split.num_classes, split.num_classes + 1), dtype=np.int64)
    counts = np.zeros((4, 2), dtype=np.int64)
    for of_image in in_parallel(partial(_count, files, dataset), range(len(files)), "measuring pseudo-labels"):
        table += of_image[0]
        counts += of_image[1]
    shares = [_percent(part, whole) for part, whole in counts]
    agreement = Agreement(*(shares if free else [None, None, *shares[2:]]))
    hits, true, labelled = np.diag(table), table.sum(1), table[:, :-1].sum(0)
    classes = tuple(
        ClassQuality(
            c,
            split.names[c],
            _percent(hits[c], true[c] + labelled[c] - hits[c]) if true[c] else None,
            _percent(hits[c], labelled[c]),
            _percent(hits[c], true[c]),
        )
        for c in split.novel
    )
    known = [c.iou for c in classes if c.iou is not None]
    return agreement, Quality(sum(known) / len(known) if known else None, classes)


def _count(
    files: Sequence[Path], dataset: WeakShotDataset, index: int
) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
    """Of one image: pixels ``[K, K + 1]`` by true class and label (last: none), and (part, whole) of the agreement."""
    labels, split = read_mask(files[index]), dataset.split
    base_hits, predicted_novel = _read_counts(files[index])
    truth = dataset.source.load(index)[1]
    if truth is None:
        truth = np.full_like(labels, IGNORE)
    table = np.zeros((split.num_classes, split.num_classes + 1), dtype=np.int64)
    counted = truth != IGNORE
    np.add.at(table, (truth[counted], np.minimum(labels[counted], split.num_classes)), 1)
    outside = ~np.isin(truth, split.base)
    labelled = outside & (labels != IGNORE)
    tags = np.flatnonzero(dataset.known[index] & split.is_novel().numpy())
    return table, [
        (base_hits, int((~outside).sum())),
        (int((labelled & np.isin(labels, split.novel)).sum()), predicted_novel),
        (int(np.isin(tags, labels).sum()), len(tags)),
        (int(labelled.sum()), int(outside.sum())),
    ]


def _read_counts(path: Path) -> tuple[int, int]:
    with Image.open(path) as file:
        try:
            base_hits, predicted_novel = map(int, json.loads(file.info[KEY]))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} was not written by weakshot pseudo-label: remove it, and call that again"
            ) from error
    return base_hits, predicted_novel


def _percent(part: int, whole: int) -> Percent:
    return float(100 * part / whole) if whole else None
