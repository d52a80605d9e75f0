"""How good pseudo-labels are: against what training may know, and, for measuring only, against the true masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
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
class Quality:
    """IoU of the labels of novel classes in percent, each and mean; a pixel without label counts as missed."""

    novel_iou: Percent
    iou: dict[str, Percent] = field(default_factory=dict)


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
    areas, counts = np.zeros((3, len(dataset.split.novel)), np.int64), np.zeros((4, 2), np.int64)
    for of_image in in_parallel(partial(_count, files, dataset), range(len(files)), "measuring pseudo-labels"):
        areas += of_image[0]
        counts += of_image[1]
    shares = [_percent(part, whole) for part, whole in counts]
    iou = [_percent(hits, true + labelled - hits) if true else None for hits, true, labelled in areas.T]
    known = [value for value in iou if value is not None]
    quality = Quality(
        sum(known) / len(known) if known else None, dict(zip(dataset.split.novel_names, iou, strict=True))
    )
    return Agreement(*(shares if free else [None, None, *shares[2:]])), quality


def _count(files: Sequence[Path], dataset: WeakShotDataset, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of one image: right, true and labelled pixels of the novel classes ``[3, N]``, and its agreement ``[4, 2]``."""
    labels, novel = read_mask(files[index]), list(dataset.split.novel)
    with Image.open(files[index]) as file:
        try:
            counts = np.array(json.loads(file.info[KEY]), dtype=np.int64).reshape(4, 2)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{files[index]} was not written by weakshot pseudo-label: remove it, and call that again"
            ) from error
    truth = dataset.source.load(index)[1]
    if truth is None:
        return np.zeros((3, len(novel)), np.int64), counts
    counted = truth != IGNORE
    areas = (truth[counted & (truth == labels)], truth[counted], labels[counted])
    return np.stack([np.bincount(ids, minlength=IGNORE + 1)[novel] for ids in areas]), counts


def _percent(part: int, whole: int) -> Percent:
    return float(100 * part / whole) if whole else None
