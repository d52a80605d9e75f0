"""Photos with indexed masks or tags, in folders: ``data=folder``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from weakshot_seg.data.checks import BadFiles, survey_files
from weakshot_seg.data.class_names import read_classes
from weakshot_seg.data.readers.files import FileImages, data_folder, no_mask, pair_files
from weakshot_seg.data.readers.labels import LabelFormat
from weakshot_seg.data.tags import Tags
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.ranges import LabelId

REMEDY = "add class names, correct the mask, or set data.label_offset or data.ignore_label"


class FolderImages(FileImages):
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
        verify: Also decode every image once, to find broken files.
        tags: CSV file of image-level labels (see :class:`~weakshot_seg.data.tags.Tags`), relative to ``root``. An image
            that it lists needs no mask. None: no tags.

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
        label_offset: LabelId = 0,
        ignore_label: LabelId = IGNORE,
        verify: bool = True,
        tags: str | None = None,
    ) -> None:
        root = data_folder(root)
        classes = read_classes(class_names, root)
        names = tuple(classes.values())
        masks = None if annotations is None else root / annotations
        files, problems = pair_files(root / images, masks)
        table = Tags(root / tags, [file.name for file in files], names) if tags else None
        listed = np.zeros(len(files), dtype=bool) if table is None else table.listed
        problems += table.problems if table else []
        if masks is not None:
            remedy = f", or a line in {root / tags}," if tags else ""
            lacking = [file for file, known in zip(files, listed, strict=True) if not (file.labels or known)]
            problems += [no_mask(file, masks, remedy) for file in lacking]
        labels = LabelFormat([number + label_offset for number in classes], ignore_label, remedy=REMEDY)
        survey = survey_files(files, labels, "checking data", verify)
        super().__init__(names, files, labels, survey, table.classes if table else None)
        problems += survey.problems
        if problems:
            raise BadFiles(problems, self)
