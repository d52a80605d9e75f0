"""The two sources of a data module from what lies on disk: folders of photos, or a published data set as downloaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

from weakshot_seg.data.readers.folder import FolderImages
from weakshot_seg.data.readers.official import KnownDataset, OfficialImages
from weakshot_seg.data.tags import FILE as TAGS
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.ranges import LabelId


class FromDisk:
    """Constructors for a class whose own takes ``train`` and ``val``, which make the images when they are needed."""

    @classmethod
    def from_folders(
        cls,
        root: str | Path,
        *,
        tags: str | None = None,
        train_images: str = "images/training",
        train_annotations: str = "annotations/training",
        val_images: str = "images/validation",
        val_annotations: str = "annotations/validation",
        class_names: Sequence[str] | str | Path | None = None,
        label_offset: LabelId = 0,
        ignore_label: LabelId = IGNORE,
        verify: bool = True,
        **settings: Any,
    ) -> Self:
        """The data module of photos and masks in folders.

        Args:
            root: Folder of the data set; the next five are relative to it.
            tags: CSV file of the image-level labels of the training images; None: ``tags.csv``, if there is one.
            train_images: Folder of the training images.
            train_annotations: Their masks.
            val_images: Validation images; the folder may be missing.
            val_annotations: Their masks; the folder may be missing.
            class_names: See :class:`~weakshot_seg.data.readers.folder.FolderImages`, as for the next three.
            label_offset: Subtracted from the ids in the masks.
            ignore_label: Id of unlabelled pixels in the masks.
            verify: Decode every image once before training.
            **settings: All other arguments of the class.
        """
        ids = partial(FolderImages, label_offset=label_offset, ignore_label=ignore_label)
        images = partial(ids, root, class_names=class_names, verify=verify)
        root = Path(root).expanduser()
        if tags is None and os.path.lexists(root / TAGS):  # a broken link or a folder is an error when it is read
            tags = TAGS
        train = partial(images, images=train_images, annotations=train_annotations, tags=tags)
        val_masks = val_annotations if (root / val_annotations).is_dir() else None
        val = partial(images, images=val_images, annotations=val_masks)
        missing = root.is_dir() and not (root / val_images).is_dir()
        make: Callable[..., Self] = cls
        return make(train, None if missing else val, **settings)

    @classmethod
    def from_official(
        cls,
        dataset: KnownDataset,
        root: str | Path,
        class_names: Sequence[str],
        *,
        cache_dir: str | Path | None = None,
        **settings: Any,
    ) -> Self:
        """The data module of a published data set as downloaded.

        Args:
            dataset: Which one, such as :data:`~weakshot_seg.data.readers.ade20k.ADE20K`.
            root: Folder of the data set.
            class_names: Its names, by id.
            cache_dir: See :class:`~weakshot_seg.data.readers.official.OfficialImages`.
            **settings: All other arguments of the class.
        """
        images = partial(OfficialImages, dataset, root, class_names=class_names, cache_dir=cache_dir)
        make: Callable[..., Self] = cls
        return make(partial(images, part="train"), partial(images, part="val"), **settings)
