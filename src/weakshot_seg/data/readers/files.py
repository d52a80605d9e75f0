"""Images and labels in files: which belong together, and their readers; ``data=folder``."""

import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import BadFiles, LabelFormat, LabelledFile, Problem, Survey, survey_files, without_classes
from weakshot_seg.data.class_names import read_classes
from weakshot_seg.data.find_files import files_below
from weakshot_seg.data.images import IMAGE_SUFFIXES, MAX_PIXELS, read_image
from weakshot_seg.data.kept_survey import FOLDER, Kept
from weakshot_seg.data.tag_checks import TagsAndMasks
from weakshot_seg.data.tags import Tags
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE, Knowledge
from weakshot_seg.utils.files import reading
from weakshot_seg.utils.ranges import Count, LabelId

Verify = bool | Literal["once"]
TAIL = 4096
REMEDY = "add class names, correct the mask, or set data.label_offset or data.ignore_label"


class FileImages:
    """Images and PNG labels that have been read and verified once; implements ``LabelledImages``, with states.

    ``tags`` say more of these files; a class that a mask shows counts only if its image does not name others alone.

    Attributes:
        survey: What the files hold.
        remarks: What is suspicious about them, a line each.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        files: Sequence[LabelledFile],
        labels: LabelFormat,
        survey: Survey,
        tags: Tags | None = None,
    ) -> None:
        self.class_names = tuple(class_names)
        self.survey, self._files, self._labels, self._tags = survey, files, labels, tags
        self._has_mask = np.array([file.labels is not None for file in files])
        self.remarks = list(survey.remarks)

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The image's path within its folder, without the suffix."""
        return self._files[index].name

    def load(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See ``LabelledImages``; unknown ids are unlabelled."""
        file = self._files[index]
        ids = None if file.labels is None else self._labels.open(file.labels, verify=False).ids
        return read_image(
            file.image, verify=False, max_pixels=self._labels.max_pixels
        ), None if ids is None else self._labels.classes[ids]

    def presence(self) -> NDArray[np.bool_]:
        """Which classes each image shows, by its mask or its tags: bool ``[len, K]``, a copy."""
        return self._shown | (np.False_ if self._tags is None else self._tags.classes)

    def states(self, novel: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """See :func:`~weakshot_seg.data.source.states_of`."""
        tags, covered = self._tags, ~novel | self._shown
        states = np.where(novel, Knowledge.ABSENT, Knowledge.UNKNOWN)
        if tags is not None:
            states = np.where(tags.has_absent, Knowledge.UNKNOWN, states)  # of classes that are not named
            states = np.where(tags.classes, Knowledge.PRESENT, np.where(tags.absent, Knowledge.ABSENT, states))
            covered = tags.covered(covered)
        return np.where(self._has_mask[:, None] & covered, Knowledge.MASK, states).astype(np.uint8)

    def digests(self) -> dict[str, str]:
        """What shows whether the files of each image, or its tags, have changed: by name."""
        known = self.presence()
        return {file.name: f"{_digest(file, known[i].tobytes()):08x}" for i, file in enumerate(self._files)}

    @property
    def _shown(self) -> NDArray[np.bool_]:
        """Which classes each mask shows, of those that its image declares to be annotated: bool ``[len, K]``."""
        return self.survey.presence & (np.True_ if self._tags is None else self._tags.covered(np.True_))


class FolderImages(FileImages):
    """Image and mask files that belong together by name: ``images/a.jpg`` and ``annotations/a.png``; and tags.

    Every mask is read at construction: for the table of classes per image, and to find everything wrong with the data
    before training starts.

    Args:
        root: Folder of the data set, from which all others start; images and masks may lie in sub-folders.
        annotations: Folder of the masks (PNG with one channel of class ids); None: there are only images.
        class_names: See :func:`~weakshot_seg.data.class_names.read_classes`.
        label_offset: Subtracted from the ids in the masks; ids below the first class are unlabelled. 1 for ADE20K,
            where 0 is unlabelled.
        verify: Also decode every image, to find broken files; "once": but not again what is as it was then, see
            :func:`~weakshot_seg.data.kept_survey.Kept`.
        max_pixels: Images with more are refused.
        tags: CSV file, see :class:`~weakshot_seg.data.tags.Tags`. An image that it lists needs no mask.

    Raises:
        BadFiles: all that is wrong; a plain ``DataError`` if a folder, the class names or the tags cannot be read.
    """

    def __init__(
        self,
        root: str | Path,
        images: str,
        annotations: str | None,
        class_names: Sequence[str] | str | Path | None = None,
        label_offset: LabelId = 0,
        ignore_label: LabelId = IGNORE,
        verify: Verify = True,
        tags: str | None = None,
        max_pixels: Count = MAX_PIXELS,
    ) -> None:
        root = data_folder(root)
        classes = read_classes(class_names, root)
        names = tuple(classes.values())
        masks = None if annotations is None else root / annotations
        files, problems = pair_files(root / images, masks)
        table = Tags(root / tags, [file.name for file in files], names) if tags else None
        problems += table.problems if table else []
        if masks is not None:
            remedy = f", or a line in {root / tags}," if tags else ""
            listed = table.listed if table else [False] * len(files)
            lacking = [file for file, known in zip(files, listed, strict=True) if not (file.labels or known)]
            problems += [no_mask(file, masks, remedy) for file in lacking]
        labels = LabelFormat(
            [number + label_offset for number in classes], ignore_label, remedy=REMEDY, max_pixels=max_pixels
        )
        part = f"{zlib.crc32(repr((images, annotations)).encode()):08x}"
        self._kept = Kept.of(root / FOLDER, part, files, labels) if verify == "once" else None
        if self._kept:
            survey = self._kept.survey(files, labels, "checking data")
        else:
            survey = survey_files(files, labels, "checking data", bool(verify))
        super().__init__(names, files, labels, survey, table)
        problems += survey.problems
        if table and tags:
            problems += table.contradictions(self._has_mask, survey.presence)
            problems += [Problem(root / tags, message) for message in self._compare(table)]
        if problems:
            raise BadFiles(problems, self)

    def digests(self) -> dict[str, str]:
        """See :class:`FileImages`."""
        return super().digests() if self._kept is None else self._kept.digests(super().digests, self.presence())

    def _compare(self, tags: Tags) -> list[str]:
        """Compares masks with tags: drops stray pixels, and reports what contradicts."""
        covered = self.states(np.zeros(len(self.class_names), dtype=bool)) == Knowledge.MASK
        denied = tags.absent if tags.has_absent else tags.listed[:, None] & ~tags.classes
        shown, pixels, sizes = self.survey.presence, self.survey.pixels, self.survey.sizes
        tables = TagsAndMasks(self.class_names, tags.classes, denied, shown, covered, pixels, sizes)
        stray = tables.stray()
        self._labels, self.survey = without_classes(stray, self._labels, self.survey)
        self.remarks += tables.stray_remarks()
        return tables.problems()


def _digest(file: LabelledFile, known: bytes) -> int:
    """Of size and end of both files: in the end are checksums of PNG, and what JPEG has put off."""
    digest = zlib.crc32(known)
    for path in (file.image, file.labels):
        if path is not None:
            with reading(path, "replace it"), path.open("rb") as content:
                size = content.seek(0, os.SEEK_END)
                content.seek(max(0, size - TAIL))
                digest = zlib.crc32(content.read(), zlib.crc32(str(size).encode(), digest))
    return digest


def data_folder(root: str | Path) -> Path:
    """``root`` with the user's home filled in; a ``DataError`` if there is no such folder."""
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"the data folder {root.absolute()} does not exist: set data.root")
    return root


def pair_files(image_folder: Path, label_folder: Path | None) -> tuple[list[LabelledFile], list[Problem]]:
    """Images and PNG masks (if any) of two folders of the same layout, paired and sorted by name.

    Also what is wrong: masks without an image, and files of the same name. A ``DataError`` if a folder is empty.
    """
    images, problems, _ = _by_name(image_folder, IMAGE_SUFFIXES, "images")
    masks: dict[str, Path] = {}
    if label_folder is not None:
        masks, doubled, others = _by_name(label_folder, {".png"}, "masks (PNG)")
        problems += doubled
        problems += [
            Problem(path, f"mask {path} is no PNG file by its name, and is not read: save its ids as PNG, or remove it")
            for name, path in others
            if path.suffix.lower() in IMAGE_SUFFIXES and name in images and name not in masks and images[name] != path
        ]
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
    """The images and labels that a text file names, one per line without suffix; ``BadFiles`` if some are missing."""
    with reading(f"the list of images {names}", "replace it by the original"):
        lines = [line.strip() for line in names.read_text("utf8").splitlines()]
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


def _by_name(
    folder: Path, suffixes: Iterable[str], what: str
) -> tuple[dict[str, Path], list[Problem], list[tuple[str, Path]]]:
    """The files of a folder by path without suffix, in one form of letters (macOS writes ö as o and two dots).

    Also what is wrong with those whose name is taken, and the names and paths of files with other suffixes.
    """
    if not folder.is_dir():
        raise DataError(
            f"the folder {folder.absolute()} does not exist: create it, or name another one "
            "(data.train_images, data.train_annotations, data.val_images, data.val_annotations)"
        )
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    others: list[tuple[str, Path]] = []
    start = len(str(folder / "x")) - 1
    for path in files_below(folder):
        text, suffix = os.path.splitext(str(path)[start:])  # pathlib takes seconds for 100,000 files
        name = normalize("NFC", text.replace(os.sep, "/"))
        if suffix.lower() not in suffixes or path.name.startswith("."):
            others.append((name, path))
            continue
        if name in files:
            problems.append(Problem(path, f"{files[name]} and {path} have the same name: keep one of them"))
        files.setdefault(name, path)
    if not files:
        raise DataError(
            f"there are no {what} in {folder.absolute()} ({', '.join(sorted(suffixes))}): check the paths in data"
        )
    return files, problems, others
