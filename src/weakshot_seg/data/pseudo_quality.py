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

from weakshot_seg.data.images import read_mask
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.data.weak_labels import WeakShotDataset
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

KEY = "weakshot_seg"
"""Of the text in a PNG file of pseudo-labels that holds its :func:`agreement_counts`."""

Map = NDArray[np.uint8]
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


def agreement_counts(
    predicted: Map, labels: Map, known: Map, tags: NDArray[np.bool_], is_novel: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Part and whole of each share in :class:`Agreement`, of one image.

    ``labels`` are the pseudo-labels made of the other arguments, see
    :func:`~weakshot_seg.data.pseudo_labels.pseudo_map`.
    """
    base, novel, wanted = known != IGNORE, np.flatnonzero(is_novel), np.flatnonzero(tags & is_novel)
    counts = (
        (base & (predicted == known), base),
        (~base & np.isin(labels, novel), ~base & np.isin(predicted, novel)),
        (np.isin(wanted, labels), np.ones_like(wanted)),
        (~base & (labels != IGNORE), ~base),
    )
    return [(int(part.sum()), int(whole.sum())) for part, whole in counts]


def measure(files: Sequence[Path], dataset: WeakShotDataset, free: bool = True) -> tuple[Agreement, Quality]:
    """Reads the pseudo-labels of all training images; ``free``: the predictions could be of any class.

    Raises:
        DataError: a file is missing, broken or not of ours.
    """
    split = dataset.split
    table, counts = np.zeros((split.num_classes, split.num_classes + 1), np.int64), np.zeros((4, 2), np.int64)
    for of_image in in_parallel(partial(_count, files, dataset), range(len(files)), "measuring pseudo-labels"):
        table += of_image[0]
        counts += of_image[1]
    shares = [_percent(part, whole) for part, whole in counts]
    hits, true, labelled = np.diag(table), table.sum(1), table[:, :-1].sum(0)
    classes = []
    for c in split.novel:
        iou = _percent(hits[c], true[c] + labelled[c] - hits[c]) if true[c] else None
        recall = _percent(hits[c], true[c])
        classes.append(ClassQuality(c, split.names[c], iou, _percent(hits[c], labelled[c]), recall))
    known = [c.iou for c in classes if c.iou is not None]
    quality = Quality(sum(known) / len(known) if known else None, tuple(classes))
    return Agreement(*(shares if free else [None, None, *shares[2:]])), quality


def _count(files: Sequence[Path], dataset: WeakShotDataset, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of one image: pixels ``[K, K + 1]`` by true class and label (last: none), and its agreement ``[4, 2]``."""
    labels, num_classes = read_mask(files[index]), dataset.split.num_classes
    with Image.open(files[index]) as file:
        try:
            counts = np.array(json.loads(file.info[KEY]), dtype=np.int64).reshape(4, 2)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{files[index]} was not written by weakshot pseudo-label: remove it, and call that again"
            ) from error
    table = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    truth = dataset.source.load(index)[1]
    if truth is not None:
        counted = truth != IGNORE
        np.add.at(table, (truth[counted], np.minimum(labels[counted], num_classes)), 1)
    return table, counts


def _percent(part: int, whole: int) -> Percent:
    return float(100 * part / whole) if whole else None
