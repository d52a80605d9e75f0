"""Photos with indexed masks or tags, in folders: ``data=folder``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import Inspection, survey_files
from weakshot_seg.data.class_names import read_classes
from weakshot_seg.data.images import read_image, read_mask
from weakshot_seg.data.readers.label_files import BadFiles, LabelFormat, LabelIds, data_folder, no_mask, pair_files
from weakshot_seg.data.tags import Tags
from weakshot_seg.errors import ConfigError
from weakshot_seg.structures import IGNORE

REMEDY = "add class names, correct the mask, or set data.label_offset or data.ignore_label"


class FolderImages:
    """Image and mask files that belong together by name: ``images/a.jpg`` and ``annotations/a.png``; and tags.

    Every mask is read at construction: for the table of classes per image, and to find everything wrong with the data
    before training starts.

    Args:
        root: Folder of the data set.
        images: Folder of the images, relative to ``root``; sub-folders are searched too.
        annotations: Folder of the masks (PNG with one channel of class ids), with the same layout as ``images``; None:
            there are only images.
        class_names: Names, or a file of them, or None: see :func:`~weakshot_seg.data.class_names.read_classes`.
        label_offset: Subtracted from the ids in the masks; ids below the first class are unlabelled. 1 for ADE20K,
            where 0 is unlabelled.
        ignore_label: Id in the masks of unlabelled pixels.
        verify: Also decode every image once, to find truncated files.
        tags: CSV file of image-level labels (see :class:`~weakshot_seg.data.tags.Tags`), relative to ``root``. An image
            that it lists needs no mask. None: no tags.

    Attributes:
        class_names: ``K`` names; the position is the class id.
        survey: What the files hold.

    Raises:
        BadFiles: see :mod:`~weakshot_seg.data.checks`; the message names the first culprit, the remedy, and how many
            more there are.
        DataError: a folder, the class names or the tags cannot be read.
    """

    def __init__(
        self,
        root: str | Path,
        images: str,
        annotations: str | None,
        class_names: Sequence[str] | str | Path | None = None,
        label_offset: int = 0,
        ignore_label: int = IGNORE,
        verify: bool = True,
        tags: str | None = None,
    ) -> None:
        if not 0 <= ignore_label <= IGNORE or not 0 <= label_offset <= IGNORE:
            raise ConfigError(
                f"label_offset and ignore_label must be 0 to {IGNORE}, got {label_offset} and {ignore_label}"
            )
        root = data_folder(root)
        classes = read_classes(class_names, root)
        self.class_names = tuple(classes.values())
        masks = None if annotations is None else root / annotations
        self._files, problems = pair_files(root / images, masks)
        listed = np.zeros(len(self), dtype=bool)
        tagged = np.zeros((len(self), len(classes)), dtype=bool)
        remedy = ""
        if tags is not None:
            table = Tags(root / tags, [file.name for file in self._files], self.class_names)
            listed, tagged = table.listed, table.classes
            problems += table.problems
            remedy = f", or a line in {root / tags},"
        if masks is not None:
            unlabelled = (file for file, known in zip(self._files, listed, strict=True) if not (file.labels or known))
            problems += [no_mask(file, masks, remedy) for file in unlabelled]
        ids = LabelIds.ascending([number + label_offset for number in classes], ignore_label)
        self._labels = LabelFormat(read_mask, ids, REMEDY)
        self.survey = survey_files(Inspection(self._files, self._labels, verify), "checking data")
        self._by_tag = tagged & ~self.survey.presence
        problems += self.survey.problems
        if problems:
            raise BadFiles(problems, self)

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The image's path within its folder, without the suffix."""
        return self._files[index].name

    def load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """The RGB image uint8 ``[h, w, 3]`` and the label map uint8 ``[h, w]`` of ids 0..K-1 and ``IGNORE``.

        The map is None if the image has no mask.
        """
        file = self._files[index]
        return read_image(file.image), self._labels.load(file.labels)

    def presence(self) -> NDArray[np.bool_]:
        """Which classes each image shows, by its mask or its tags: bool ``[len, K]``, a copy."""
        return self.survey.presence | self._by_tag

    def by_tag(self) -> NDArray[np.bool_]:
        """Which classes each image shows by its tags alone: bool ``[len, K]``, a copy."""
        return self._by_tag.copy()
