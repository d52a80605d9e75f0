"""Images and labels in files: which belong together, and the reader of both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import BadFiles, Problem, Survey
from weakshot_seg.data.find_files import files_below
from weakshot_seg.data.images import IMAGE_SUFFIXES, read_image
from weakshot_seg.data.readers.labels import LabelFormat, LabelledFile
from weakshot_seg.errors import DataError


class FileImages:
    """Images and labels that have been read and verified once; implements ``TaggedImages``.

    Args:
        class_names: ``K`` names; the position is the class id.
        files: Images and labels.
        labels: How PNG labels are read.
        survey: What the files hold.
        tagged: bool ``[len(files), K]``, the classes that each image has by its tags; None: no tags.

    Attributes:
        class_names: As given.
        survey: As given.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        files: Sequence[LabelledFile],
        labels: LabelFormat,
        survey: Survey,
        tagged: NDArray[np.bool_] | None = None,
    ) -> None:
        self.class_names = tuple(class_names)
        self.survey = survey
        self._files = files
        self._labels = labels
        self._by_tag = np.zeros_like(survey.presence) if tagged is None else tagged & ~survey.presence

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
        return read_image(file.image, verify=False), self._labels.load(file.labels)

    def presence(self) -> NDArray[np.bool_]:
        """Which classes each image shows, by its mask or its tags: bool ``[len, K]``, a copy."""
        return self.survey.presence | self._by_tag

    def by_tag(self) -> NDArray[np.bool_]:
        """Which classes each image shows by its tags alone: bool ``[len, K]``, a copy."""
        return self._by_tag.copy()


def data_folder(root: str | Path) -> Path:
    """``root`` with the user's home filled in.

    Raises:
        DataError: there is no such folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"the data folder {root.absolute()} does not exist: set data.root")
    return root


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
        masks, doubled = _by_name(label_folder, {".png"}, "masks (PNG)")
        problems += doubled
    for name in masks.keys() - images.keys():
        message = f"mask {masks[name]} has no image: add {image_folder / name}.jpg or remove the mask"
        problems.append(Problem(masks[name], message))
    return [LabelledFile(name, images[name], masks.get(name)) for name in sorted(images)], problems


def no_mask(file: LabelledFile, label_folder: Path, otherwise: str = "") -> Problem:
    """Reports an image without mask; ``otherwise`` is one more remedy."""
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
