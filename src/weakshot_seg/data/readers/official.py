"""Published data sets as downloaded: ``data=coco_stuff_10k``, ``data=ade20k``, ``data=voc2012``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.images import read_image
from weakshot_seg.data.readers.label_cache import cached_labels
from weakshot_seg.data.readers.label_files import data_folder
from weakshot_seg.data.readers.layouts import KnownDataset, Part
from weakshot_seg.errors import DataError

log = logging.getLogger(__name__)

CACHE = ".weakshot_seg"
"""Folder of the caches within the root of a data set."""


class OfficialImages:
    """One part of a data set in any of its layouts; implements ``LabelledImages``.

    At first use every file is read once, see :func:`~weakshot_seg.data.readers.label_cache.cached_labels`.

    Args:
        dataset: Which one.
        root: Its folder.
        part: "train" or "val".
        class_names: ``K`` names; the position is the class id.
        cache_dir: Folder of the caches; None: ``.weakshot_seg`` in ``root``.

    Attributes:
        class_names: As given.

    Raises:
        DataError: the root has none of the layouts, a file is missing or broken, or the cache cannot be written.
    """

    def __init__(
        self,
        dataset: KnownDataset,
        root: str | Path,
        part: Part,
        class_names: Sequence[str],
        cache_dir: str | Path | None = None,
    ) -> None:
        root = data_folder(root)
        self.class_names = tuple(class_names)
        if len(self.class_names) != dataset.num_classes:
            raise DataError(
                f"{len(self.class_names)} class names given, but {dataset.title} has {dataset.num_classes} classes: "
                "correct data.class_names"
            )
        layout, folder = dataset.recognise(root, part)
        files = layout.files(folder, part)
        log.info("%s (%s): %d images for %s", dataset.title, layout.title, len(files), part)
        caches = root / CACHE if cache_dir is None else Path(cache_dir).expanduser()
        self._labels = cached_labels(files, layout.format, layout.copied, caches, f"{dataset.name}-{part}")

    def __len__(self) -> int:
        return len(self._labels.files)

    def name(self, index: int) -> str:
        """The image's file name without suffix."""
        return self._labels.files[index].name

    def load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """The RGB image uint8 ``[h, w, 3]`` and the label map uint8 ``[h, w]`` of ids 0..K-1 and ``IGNORE``."""
        file = self._labels.files[index]
        return read_image(file.image), self._labels.format.load(file.labels)

    def presence(self) -> NDArray[np.bool_]:
        """Which classes each image shows: bool ``[len, K]``, a copy."""
        return self._labels.presence.copy()
