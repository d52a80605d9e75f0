"""How good pseudo-labels are: against what training may know, and, for measuring only, against the true masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Votes:
    """How a raw prediction agrees with what is known of its image; kept in the text of the PNG file.

    Attributes:
        base_pixels: pixels with a true base class.
        base_hits: those of them that are predicted so.
        novel_pixels: other pixels that are predicted as a novel class.
        novel_tagged: those of them whose class is among the image's labels.
    """

    base_pixels: int
    base_hits: int
    novel_pixels: int
    novel_tagged: int

    @classmethod
    def count(
        cls, predicted: NDArray[np.uint8], labels: NDArray[np.uint8], known: NDArray[np.uint8], novel: Sequence[int]
    ) -> Votes:
        """Counts the votes of one image.

        Args:
            predicted: uint8 ``[h, w]``, ids 0..K-1.
            labels: uint8 ``[h, w]``, the pseudo-labels made of it.
            known: uint8 ``[h, w]``, ids of base classes and ``IGNORE``.
            novel: ids of the novel classes.
        """
        base = known != IGNORE
        return cls(
            int(base.sum()),
            int((base & (predicted == known)).sum()),
            int((~base & np.isin(predicted, novel)).sum()),
            int((~base & np.isin(labels, novel)).sum()),
        )

    @classmethod
    def read(cls, path: Path) -> Votes:
        """The votes in a PNG file.

        Raises:
            DataError: it has none.
        """
        with Image.open(path) as file:
            try:
                return cls(**json.loads(file.info[KEY]))
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{path} was not written by weakshot pseudo-label: remove it, and call that again"
                ) from error

    def png_text(self) -> PngInfo:
        """For ``save(..., pnginfo=...)``."""
        info = PngInfo()
        info.add_text(KEY, json.dumps(asdict(self)))
        return info


def measure(files: Sequence[Path], dataset: WeakShotDataset) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads all pseudo-labels.

    Args:
        files: the PNG file of each image.
        dataset: the training images.

    Returns:
        Agreement and quality, all in percent, None where there is nothing to count. Agreement: ``base_accuracy`` of the
        predictions on base pixels; ``tag_precision``, the share of the pixels predicted as novel (outside the base
        masks) whose class is among the image's labels; ``tags_found``, the share of these image-level labels that got a
        pixel; ``labelled``, the share of the pixels outside the base masks that got a class. Quality: ``novel_iou`` and
        its ``classes``, where a pixel without label counts as missed.

    Raises:
        DataError: a file is missing, broken or not of ours.
    """
    split = dataset.split
    num_classes = split.num_classes
    confusion = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
    counts = np.zeros(8, dtype=np.int64)
    for of_image, numbers in in_parallel(partial(_count, files, dataset), len(files), "measuring pseudo-labels"):
        confusion += of_image
        counts += numbers
    names = ("base_accuracy", "tag_precision", "tags_found", "labelled")
    agreement = {
        name: _percent(part, whole) for name, whole, part in zip(names, counts[::2], counts[1::2], strict=True)
    }
    hit, true, given = np.diag(confusion), confusion.sum(1), confusion[:, :num_classes].sum(0)
    iou = {c: _percent(hit[c], true[c] + given[c] - hit[c]) if true[c] else None for c in split.novel}
    classes = [
        {
            "id": c,
            "name": split.names[c],
            "iou": iou[c],
            "precision": _percent(hit[c], given[c]),
            "recall": _percent(hit[c], true[c]),
        }
        for c in split.novel
    ]
    known = [value for value in iou.values() if value is not None]
    return agreement, {"novel_iou": sum(known) / len(known) if known else None, "classes": classes}


def _count(files: Sequence[Path], dataset: WeakShotDataset, index: int) -> tuple[NDArray[np.int64], list[int]]:
    """Of one image: pixels by true class and label (the last column: none), and the numbers behind the agreement."""
    labels, votes = read_mask(files[index]), Votes.read(files[index])
    num_classes = dataset.split.num_classes
    truth = dataset.source.load(index)[1]
    if truth is None:
        truth = np.full_like(labels, IGNORE)
    counted, outside = truth != IGNORE, ~np.isin(truth, dataset.split.base)
    columns = np.minimum(labels[counted], num_classes).astype(np.int64)
    pairs = truth[counted].astype(np.int64) * (num_classes + 1) + columns
    table = np.bincount(pairs, minlength=num_classes * (num_classes + 1)).reshape(num_classes, num_classes + 1)
    tags = np.flatnonzero(dataset.known[index] & dataset.split.is_novel().numpy())
    found, labelled = np.isin(tags, labels).sum(), (labels[outside] != IGNORE).sum()
    return table, [*astuple(votes), len(tags), int(found), int(outside.sum()), int(labelled)]


def _percent(part: int, whole: int) -> float | None:
    return float(100 * part / whole) if whole else None
