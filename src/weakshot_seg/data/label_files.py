"""Image and label files that belong together: how their ids are read, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.images import IMAGE_SUFFIXES, image_size, read_image
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE


class BadFiles(DataError):
    """Files that cannot be used; the message is the first problem and the number of the others.

    Attributes:
        problems: one line for each, with file and remedy.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        more = len(problems) - 1
        super().__init__(problems[0] + (f" (and {more} more)" if more else ""))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class LabelledFile:
    """An image and its labels; ``name`` is short, without suffix, and unlike all others."""

    name: str
    image: Path
    labels: Path


@dataclass(frozen=True)
class LabelIds:
    """What the ids in label files mean.

    Attributes:
        classes: uint8 ``[256]``, for each stored id its class id or ``IGNORE``.
        known: bool ``[256]``, whether the id may occur at all.
        num_classes: ``K``.
    """

    classes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    num_classes: int

    @classmethod
    def contiguous(cls, num_classes: int, offset: int = 0, ignore_label: int = IGNORE) -> LabelIds:
        """Class c is stored as c + ``offset``; ids below ``offset`` and ``ignore_label`` are unlabelled."""
        stored = np.arange(IGNORE + 1)
        classes = stored - offset
        is_class = (classes >= 0) & (classes < num_classes) & (stored != ignore_label)
        known = is_class | (stored == ignore_label) | (classes < 0)
        return cls(np.where(is_class, classes, IGNORE).astype(np.uint8), known, num_classes)

    @classmethod
    def listed(cls, stored: Sequence[int], unlabelled: int) -> LabelIds:
        """Class c is stored as ``stored[c]``; ``unlabelled`` is no class, and no other id may occur."""
        classes = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
        classes[list(stored)] = np.arange(len(stored))
        known = classes != IGNORE
        known[unlabelled] = True
        return cls(classes, known, len(stored))


@dataclass(frozen=True)
class LabelFormat:
    """How a label file becomes a map of class ids.

    Attributes:
        read: Gives the ids as stored, uint8 ``[h, w]``; raises ``DataError``.
        ids: What they mean.
        remedy: What to do about an unknown id.
    """

    read: Callable[[Path], NDArray[np.uint8]]
    ids: LabelIds
    remedy: str = "replace it by the original"

    def load(self, path: Path) -> NDArray[np.uint8]:
        """The map of class ids and ``IGNORE``, uint8 ``[h, w]``; unknown ids are unlabelled."""
        return np.take(self.ids.classes, self.read(path))


def data_folder(root: str | Path) -> Path:
    """``root`` with the user's home filled in.

    Raises:
        DataError: there is no such folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"the data folder {root.absolute()} does not exist: set data.root")
    return root


def present_classes(label_map: NDArray[np.uint8], num_classes: int) -> NDArray[np.bool_]:
    """Which classes a map of class ids shows: bool ``[num_classes]``."""
    present = np.zeros(IGNORE + 1, dtype=bool)
    present[label_map] = True
    return present[:num_classes]


def load_checked(file: LabelledFile, labels: LabelFormat, verify: bool) -> NDArray[np.uint8]:
    """The map of class ids of a file, after all checks.

    Args:
        file: Image and labels.
        labels: How to read them.
        verify: Also decode the image, to find truncated files.

    Raises:
        DataError: a file cannot be read, sizes differ, or an id is unknown.
    """
    stored = labels.read(file.labels)
    size = read_image(file.image).shape[:2] if verify else image_size(file.image)
    if stored.shape != size:
        raise DataError(
            f"mask {file.labels} is {stored.shape[1]}x{stored.shape[0]} but its image is {size[1]}x{size[0]}: resize "
            "the mask (nearest neighbour) or replace it"
        )
    ids = labels.ids
    seen = present_classes(stored, IGNORE + 1)
    unknown = np.flatnonzero(seen & ~ids.known)
    if len(unknown):
        known = np.flatnonzero(ids.classes != IGNORE)
        raise DataError(
            f"mask {file.labels} has the id {unknown[0]}, but the {ids.num_classes} class names allow {known[0]} to "
            f"{known[-1]}: {labels.remedy}"
        )
    return np.take(ids.classes, stored)


@dataclass(frozen=True)
class Inspection:
    """Checks file ``index``, as a function that other processes can be given.

    Attributes:
        files: All files.
        labels: How to read them.
        verify: See :func:`load_checked`.
        keep: Called with the file and its map of class ids, if given.
    """

    files: Sequence[LabelledFile]
    labels: LabelFormat
    verify: bool
    keep: Callable[[LabelledFile, NDArray[np.uint8]], None] | None = None

    def __call__(self, index: int) -> tuple[NDArray[np.bool_], str]:
        """The classes in the file, bool ``[K]``, and what is wrong with it, or ""."""
        file, num_classes = self.files[index], self.labels.ids.num_classes
        try:
            label_map = load_checked(file, self.labels, self.verify)
        except DataError as error:
            return np.zeros(num_classes, dtype=bool), str(error)
        if self.keep is not None:
            self.keep(file, label_map)
        return present_classes(label_map, num_classes), ""


def inspect(inspection: Inspection, title: str) -> NDArray[np.bool_]:
    """Reads all files in parallel, with a progress bar.

    Returns:
        bool ``[len(files), K]``: which classes each image shows.

    Raises:
        BadFiles: naming every file that cannot be used.
    """
    results = list(in_parallel(inspection, len(inspection.files), title))
    problems = [problem for _, problem in results if problem]
    if problems:
        raise BadFiles(problems)
    return np.stack([present for present, _ in results])


def pair_files(image_folder: Path, label_folder: Path) -> list[LabelledFile]:
    """Images and PNG masks of two folders (and their sub-folders), by name.

    Raises:
        DataError: a folder is missing or empty, two files have one name, or a file has no partner.
    """
    images = _by_name(image_folder, IMAGE_SUFFIXES, "images")
    masks = _by_name(label_folder, frozenset({".png"}), "masks (PNG)")
    without_mask = sorted(images.keys() - masks.keys())
    without_image = sorted(masks.keys() - images.keys())
    if without_mask:
        raise DataError(
            f"{len(without_mask)} of {len(images)} images have no mask, the first is {images[without_mask[0]]}: "
            f"add {label_folder / without_mask[0]}.png or remove the image"
        )
    if without_image:
        raise DataError(
            f"{len(without_image)} of {len(masks)} masks have no image, the first is {masks[without_image[0]]}: "
            f"add {image_folder / without_image[0]}.jpg or remove the mask"
        )
    return [LabelledFile(name, images[name], masks[name]) for name in sorted(images)]


def listed_files(names: Path, image_folder: Path, label_folder: Path, label_suffix: str) -> list[LabelledFile]:
    """The images and labels that a text file names, one per line without suffix.

    Raises:
        DataError: the text file is missing or empty.
        BadFiles: naming every file that is not there.
    """
    try:
        lines = [line.strip() for line in names.read_text("utf8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the list of images {names} ({error}): replace it by the original") from error
    files = [
        LabelledFile(name, image_folder / f"{name}.jpg", label_folder / f"{name}{label_suffix}")
        for name in dict.fromkeys(filter(None, lines))
    ]
    if not files:
        raise DataError(f"the list of images {names} is empty: replace it by the original")
    there = {path for folder in (image_folder, label_folder) for path in folder.iterdir()}
    missing = [path for file in files for path in (file.image, file.labels) if path not in there]
    if missing:
        raise BadFiles([f"{path} is missing, but {names} names it: unpack the data set again" for path in missing])
    return files


def _by_name(folder: Path, suffixes: Iterable[str], what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(
            f"the folder {folder.absolute()} does not exist: create it, or set the paths in data.train and data.val"
        )
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            raise DataError(f"{files[name]} and {path} have the same name: keep one of them")
        files[name] = path
    if not files:
        raise DataError(
            f"there are no {what} in {folder.absolute()} ({', '.join(sorted(suffixes))}): check the paths in data"
        )
    return files
