"""Photos and indexed label masks in two folders: ``data=folder``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.class_names import read_class_names
from weakshot_seg.data.images import read_image, read_mask
from weakshot_seg.data.label_files import Inspection, LabelFormat, LabelIds, data_folder, inspect, pair_files
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE

REMEDY = "add class names, correct the mask, or set data.label_offset or data.ignore_label"


class FolderImages:
    """Image and mask files that belong together by name: ``images/a.jpg`` and ``annotations/a.png``.

    Every mask is read at construction: for the table of classes per image, and to find everything wrong with the data
    before training starts.

    Args:
        root: Folder of the data set.
        images: Folder of the images, relative to ``root``; sub-folders are searched too.
        annotations: Folder of the masks (PNG with one channel of class ids), with the same layout as ``images``.
        class_names: Names, or a file of them, or None: see :func:`~weakshot_seg.data.class_names.read_class_names`.
        label_offset: Subtracted from the ids in the masks; ids below it are unlabelled. 1 for ADE20K, where 0 is
            unlabelled.
        ignore_label: Id in the masks of unlabelled pixels.
        verify: Also decode every image once, to find truncated files.

    Attributes:
        class_names: ``K`` names; the position is the class id.

    Raises:
        DataError: see :mod:`~weakshot_seg.data.label_files`; the message names the first culprit, the remedy, and how
            many more there are.
    """

    def __init__(
        self,
        root: str | Path,
        images: str,
        annotations: str,
        class_names: Sequence[str] | str | Path | None = None,
        label_offset: int = 0,
        ignore_label: int = IGNORE,
        verify: bool = True,
    ) -> None:
        if not 0 <= ignore_label <= IGNORE or not 0 <= label_offset <= IGNORE:
            raise ConfigError(
                f"label_offset and ignore_label must be 0 to {IGNORE}, got {label_offset} and {ignore_label}"
            )
        root = data_folder(root)
        self.class_names = read_class_names(class_names, root)
        self._files = pair_files(root / images, root / annotations)
        ids = LabelIds.contiguous(len(self.class_names), label_offset, ignore_label)
        self._labels = LabelFormat(read_mask, ids, REMEDY)
        self._presence = inspect(Inspection(self._files, self._labels, verify), "checking data")

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The image's path within its folder, without the suffix."""
        return self._files[index].name

    def load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The RGB image uint8 ``[h, w, 3]`` and the label map uint8 ``[h, w]`` of ids 0..K-1 and ``IGNORE``."""
        file = self._files[index]
        return read_image(file.image), self._labels.load(file.labels)

    def presence(self) -> NDArray[np.bool_]:
        """Which classes each image shows: bool ``[len, K]``, a copy."""
        return self._presence.copy()
