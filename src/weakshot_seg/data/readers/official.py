"""Published data sets as downloaded, in any of their layouts: ``data=coco_stuff_10k``, ``ade20k``, ``voc2012``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.readers.files import FileImages, data_folder, listed_files, no_mask, pair_files
from weakshot_seg.data.readers.label_cache import cached_labels
from weakshot_seg.data.readers.labels import LabelFormat, LabelledFile
from weakshot_seg.errors import DataError

log = logging.getLogger(__name__)

Part = Literal["train", "val"]

CACHE = ".weakshot_seg"
"""Folder of the caches within the root of a data set."""


@dataclass(frozen=True)
class Layout:
    """Where images and labels lie, and how labels are stored.

    Attributes:
        title: In words, for messages.
        parts: What the layout calls the parts that it has; replaces ``{}`` in the paths.
        images: Folder of the images, relative to the root.
        labels: Folder of the labels: PNG, or else ``.mat``.
        format: How a label file is read.
        names: Text file with the names of the images; None: all files of the folders, paired by name.
        accepts: Whether a label file may be of this layout, asked of one; None: any.
    """

    title: str
    parts: Mapping[Part, str]
    images: str
    labels: str
    format: LabelFormat
    names: str | None = None
    accepts: Callable[[Path], bool] | None = None

    def needs(self, part: Part) -> tuple[str, ...]:
        """What must be in a root of this layout."""
        return tuple(path.format(self.parts[part]) for path in (self.images, self.labels, self.names) if path)

    def fits(self, root: Path, part: Part) -> bool:
        """Whether ``root`` has this layout."""
        if part not in self.parts or not all((root / path).exists() for path in self.needs(part)):
            return False
        labels = (root / self.needs(part)[1]).glob("[!.]*.mat")
        return self.accepts is None or any(map(self.accepts, islice(labels, 1)))

    def files(self, root: Path, part: Part) -> list[LabelledFile]:
        """All files of a part.

        Raises:
            DataError: a file is missing.
        """
        images, labels, *names = (root / path for path in self.needs(part))
        if names:
            return listed_files(names[0], images, labels, ".png" if self.format.is_png else ".mat")
        files, problems = pair_files(images, labels)
        problems += [no_mask(file, labels) for file in files if file.labels is None]
        if problems:
            raise BadFiles(problems)
        return files


@dataclass(frozen=True)
class KnownDataset:
    """A data set, the layouts in which people have it, and its official download.

    Attributes:
        name: As in ``data=name``.
        title: As people call it.
        num_classes: ``K``.
        layouts: The first that fits is taken.
        url: Address of the archive.
        checksum: "md5:..." or "sha1:..." of the archive; None where none is known for certain.
        counts: Images of each part.
        inner: Folders within the root where it may lie instead, as its archive unpacks.
    """

    name: str
    title: str
    num_classes: int
    layouts: tuple[Layout, ...]
    url: str
    checksum: str | None
    counts: Mapping[Part, int]
    inner: tuple[str, ...] = ()

    def recognise(self, root: Path, part: Part) -> tuple[Layout, Path]:
        """The layout of ``root``, and the folder it starts from.

        Raises:
            DataError: none fits; the message names what was searched for.
        """
        for folder in (root, *(root / inner for inner in self.inner)):
            for layout in self.layouts:
                if layout.fits(folder, part):
                    return layout, folder
        places = " or ".join(["there", *self.inner])
        wanted = dict.fromkeys(" + ".join(layout.needs(part)) for layout in self.layouts if part in layout.parts)
        raise DataError(
            f"{root.absolute()} does not hold {self.title}: looked {places} for {'; or '.join(wanted)}. Set data.root "
            "to the folder that holds them, or fetch the data with "
            f"scripts/prepare_data.py {self.name} --root DIR --download"
        )


class OfficialImages(FileImages):
    """One part of a data set in any of its layouts.

    At first use every file is read once, see :func:`~weakshot_seg.data.readers.label_cache.cached_labels`.

    Args:
        dataset: Which one.
        root: Its folder.
        part: "train" or "val".
        class_names: ``K`` names; the position is the class id.
        cache_dir: Folder of the caches; None: ``.weakshot_seg`` in ``root``.

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
        if len(class_names) != dataset.num_classes:
            raise DataError(
                f"{len(class_names)} class names given, but {dataset.title} has {dataset.num_classes} classes: "
                "correct data.class_names"
            )
        layout, folder = dataset.recognise(root, part)
        files = layout.files(folder, part)
        log.info("%s (%s): %d images for %s", dataset.title, layout.title, len(files), part)
        caches = root / CACHE if cache_dir is None else Path(cache_dir).expanduser()
        super().__init__(class_names, *cached_labels(files, layout.format, caches, f"{dataset.name}-{part}"))
