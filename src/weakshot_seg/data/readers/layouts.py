"""Data sets as they are downloaded: in which layouts they come, and how the one in a folder is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weakshot_seg.data.readers.label_files import BadFiles, LabelFormat, LabelledFile, listed_files, no_mask, pair_files
from weakshot_seg.errors import DataError

Part = Literal["train", "val"]


@dataclass(frozen=True)
class Layout:
    """Where images and labels lie, and how labels are stored.

    Attributes:
        title: In words, for messages.
        images: Folder of the images of each part, relative to the root.
        labels: Folder of the labels of each part; a layout may be that of one part only.
        format: How a label file is read.
        lists: Text file with the names of the images of each part; None: all files of the folders, paired by name.
        suffix: Of the label files.
        headers: How the first label file must begin; none: anyhow.
        copied: Labels take too long to read for training, so that PNG copies are kept.
    """

    title: str
    images: Mapping[Part, str]
    labels: Mapping[Part, str]
    format: LabelFormat
    lists: Mapping[Part, str] | None = None
    suffix: str = ".png"
    headers: tuple[bytes, ...] = ()
    copied: bool = False

    def needs(self, part: Part) -> tuple[str, ...]:
        """What must be in a root of this layout."""
        return (self.images[part], self.labels[part], *([self.lists[part]] if self.lists else []))

    def fits(self, root: Path, part: Part) -> bool:
        """Whether ``root`` has this layout."""
        if part not in self.labels or not all((root / path).exists() for path in self.needs(part)):
            return False
        if not self.headers:
            return True
        first = next((root / self.labels[part]).glob(f"[!.]*{self.suffix}"), None)
        if first is None:
            return False
        with first.open("rb") as file:
            return file.read(max(map(len, self.headers))).startswith(self.headers)

    def files(self, root: Path, part: Part) -> list[LabelledFile]:
        """All files of a part.

        Raises:
            DataError: a file is missing.
        """
        images, labels = root / self.images[part], root / self.labels[part]
        if self.lists is None:
            files, problems = pair_files(images, labels)
            problems += [no_mask(file, labels) for file in files if file.labels is None]
            if problems:
                raise BadFiles(problems)
            return files
        return listed_files(root / self.lists[part], images, labels, self.suffix)


@dataclass(frozen=True)
class Archive:
    """The official download.

    Attributes:
        url: Its address.
        checksum: "md5:..." or "sha1:..." of the file; None where none is known for certain.
        counts: Images of each part.
    """

    url: str
    checksum: str | None
    counts: Mapping[Part, int]


@dataclass(frozen=True)
class KnownDataset:
    """A data set and the layouts in which people have it.

    Attributes:
        name: As in ``data=name``.
        title: As people call it.
        num_classes: ``K``.
        layouts: The first that fits is taken.
        archive: The official download.
        inner: Folders within the root where it may lie instead, as its archive unpacks.
    """

    name: str
    title: str
    num_classes: int
    layouts: tuple[Layout, ...]
    archive: Archive
    inner: tuple[str, ...] = ()

    def recognise(self, root: Path, part: Part) -> tuple[Layout, Path]:
        """The layout of ``root``, and the folder it starts from.

        Raises:
            DataError: none fits; the message says what was looked for.
        """
        for folder in (root, *(root / inner for inner in self.inner)):
            for layout in self.layouts:
                if layout.fits(folder, part):
                    return layout, folder
        places = " or ".join(["there", *self.inner])
        wanted = "; or ".join(
            dict.fromkeys(" + ".join(layout.needs(part)) for layout in self.layouts if part in layout.labels)
        )
        raise DataError(
            f"{root.absolute()} does not hold {self.title}: looked {places} for {wanted}. Set data.root to the folder "
            f"that holds them, or fetch the data with scripts/prepare_data.py {self.name} --root DIR --download"
        )
