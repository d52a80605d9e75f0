"""Image and label files that belong together, and how their ids are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.find_files import files_below
from weakshot_seg.data.images import IMAGE_SUFFIXES
from weakshot_seg.data.source import LabelledImages
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file.

    Attributes:
        file: The culprit.
        message: One line with file, value and remedy; line breaks and bytes that are no text are written as escapes.
    """

    file: Path
    message: str

    def __post_init__(self) -> None:
        text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in self.message)  # names may hold anything
        object.__setattr__(self, "message", text)


class BadFiles(DataError):
    """Files that cannot be used; the message is the first problem and the number of the others.

    Attributes:
        problems: All of them, sorted by file.
        source: What can be read in spite of them, if anything.
    """

    def __init__(self, problems: Sequence[Problem], source: LabelledImages | None = None) -> None:
        self.source = source
        self.problems = tuple(sorted(problems, key=lambda problem: problem.file))
        more = len(problems) - 1
        super().__init__(self.problems[0].message + (f" (and {more} more)" if more else ""))


@dataclass(frozen=True)
class LabelledFile:
    """An image and its labels, None if it has none; ``name`` is short, without suffix, and unlike all others."""

    name: str
    image: Path
    labels: Path | None


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
        return cls.ascending(range(offset, offset + num_classes), ignore_label)

    @classmethod
    def ascending(cls, stored: Sequence[int], ignore_label: int = IGNORE) -> LabelIds:
        """Class c is stored as ``stored[c]``; ids below the first and ``ignore_label`` are unlabelled."""
        classes = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
        known = np.arange(IGNORE + 1) < stored[0]
        for class_id, number in enumerate(stored):
            if number <= IGNORE and number != ignore_label:
                classes[number] = class_id
                known[number] = True
        known[ignore_label] = True
        return cls(classes, known, len(stored))

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

    def load(self, path: Path | None) -> NDArray[np.uint8] | None:
        """The map of class ids and ``IGNORE``, uint8 ``[h, w]``, or None for no file; unknown ids are unlabelled."""
        return None if path is None else np.take(self.ids.classes, self.read(path))


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


def pair_files(image_folder: Path, label_folder: Path | None) -> tuple[list[LabelledFile], list[Problem]]:
    """Images and PNG masks of two folders (and their sub-folders), by name.

    Args:
        image_folder: Folder of the images.
        label_folder: Folder of the masks, with the same layout; None: there are no masks.

    Returns:
        All images with their masks, or None where there is none, sorted by name; and what is wrong: masks without an
        image, and files of the same name.

    Raises:
        DataError: a folder is missing or empty.
    """
    images, problems = _by_name(image_folder, IMAGE_SUFFIXES, "images")
    masks: dict[str, Path] = {}
    if label_folder is not None:
        masks, doubled = _by_name(label_folder, frozenset({".png"}), "masks (PNG)")
        problems += doubled
    for name, mask in masks.items():
        if name not in images:
            remedy = f"add {image_folder / name}.jpg or remove the mask"
            problems.append(Problem(mask, f"mask {mask} has no image: {remedy}"))
    return [LabelledFile(name, images[name], masks.get(name)) for name in sorted(images)], problems


def no_mask(file: LabelledFile, label_folder: Path, otherwise: str = "") -> Problem:
    """Says that an image lacks its mask; ``otherwise`` is one more remedy."""
    return Problem(
        file.image, f"image {file.image} has no mask: add {label_folder / file.name}.png{otherwise} or remove the image"
    )


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
    missing = [path for file in files for path in (file.image, file.labels) if path and path not in there]
    if missing:
        raise BadFiles(
            [Problem(path, f"{path} is missing, but {names} names it: unpack the data set again") for path in missing]
        )
    return files


def _by_name(folder: Path, suffixes: Iterable[str], what: str) -> tuple[dict[str, Path], list[Problem]]:
    """The files of a folder by path without suffix, and those whose name is taken."""
    if not folder.is_dir():
        raise DataError(
            f"the folder {folder.absolute()} does not exist: create it, or name another one "
            "(data.train_images, data.train_annotations, data.val_images, data.val_annotations)"
        )
    files: dict[str, Path] = {}
    problems = []
    for path in files_below(folder):
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in files:
            problems.append(Problem(path, f"{files[name]} and {path} have the same name: keep one of them"))
        files.setdefault(name, path)
    if not files:
        raise DataError(
            f"there are no {what} in {folder.absolute()} ({', '.join(sorted(suffixes))}): check the paths in data"
        )
    return files, problems
