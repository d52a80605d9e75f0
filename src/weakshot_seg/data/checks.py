"""Reads all images and masks of a data set once: what they hold, and everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.images import image_size, verify_image
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.data.readers.label_files import BadFiles, LabelFormat, LabelledFile, Problem
from weakshot_seg.data.source import LabelledImages, of_other_size
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE


@dataclass(frozen=True)
class Finding:
    """What one image and its labels hold.

    Attributes:
        size: Height and width of the image, (0, 0) if it cannot be read.
        pixels: int64 ``[256]``, how often each id is stored; zeros without labels or if they cannot be used.
        problems: What is wrong with them.
    """

    size: tuple[int, ...]
    pixels: NDArray[np.int64]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Inspection:
    """Checks file ``index``, as a function that other processes can be given.

    Attributes:
        files: All files.
        labels: How to read them.
        verify: Also decode the images, to find truncated files.
        keep: Called with each file that is sound and its map of class ids, if given.
    """

    files: Sequence[LabelledFile]
    labels: LabelFormat
    verify: bool
    keep: Callable[[LabelledFile, NDArray[np.uint8]], None] | None = None

    def __call__(self, index: int) -> Finding:
        """Reads the image and its labels; both may have problems."""
        file, problems = self.files[index], []
        size: tuple[int, ...] = (0, 0)
        pixels = np.zeros(IGNORE + 1, dtype=np.int64)
        try:
            size = verify_image(file.image) if self.verify else image_size(file.image)
        except DataError as error:
            problems.append(Problem(file.image, str(error)))
        if file.labels is not None:
            try:
                stored = self.labels.read(file.labels)
            except DataError as error:
                problems.append(Problem(file.labels, str(error)))
            else:
                pixels = np.bincount(stored.ravel(), minlength=IGNORE + 1)
                problems += self._misfits(file.labels, stored.shape, size, pixels)
                if self.keep is not None and not problems:
                    self.keep(file, np.take(self.labels.ids.classes, stored))
        return Finding(size, pixels, tuple(problems))

    def _misfits(
        self, path: Path, shape: tuple[int, ...], size: tuple[int, ...], pixels: NDArray[np.int64]
    ) -> list[Problem]:
        problems: list[str] = []
        if size not in ((0, 0), shape):
            problems.append(of_other_size(f"mask {path}", shape, size))
        ids = self.labels.ids
        unknown = np.flatnonzero((pixels > 0) & ~ids.known)
        if len(unknown):
            known = np.flatnonzero(ids.classes != IGNORE)
            problems.append(
                f"mask {path} has the id {unknown[0]}, but the {ids.num_classes} class names allow {known[0]} to "
                f"{known[-1]}: {self.labels.remedy}"
            )
        return [Problem(path, message) for message in problems]


@dataclass(frozen=True)
class Survey:
    """What the images and masks of one part of a data set hold.

    Attributes:
        sizes: int64 ``[n, 2]``, height and width of each image; zeros where it cannot be read.
        presence: bool ``[n, K]``, the classes that each mask shows.
        ids: int64 ``[256]``, pixels of each id as stored.
        pixels: int64 ``[K]``, pixels of each class.
        problems: All of them.
    """

    sizes: NDArray[np.int64]
    presence: NDArray[np.bool_]
    ids: NDArray[np.int64]
    pixels: NDArray[np.int64]
    problems: tuple[Problem, ...]

    @classmethod
    def of(cls, findings: Iterable[Finding], classes: NDArray[np.uint8], num_classes: int) -> Survey:
        """Sums up.

        Args:
            findings: One for each image.
            classes: uint8 ``[256]``, the class of each stored id, or ``IGNORE``.
            num_classes: ``K``.
        """
        is_class = np.flatnonzero(classes != IGNORE)
        sizes, rows = [], []
        problems: list[Problem] = []
        ids = np.zeros(IGNORE + 1, dtype=np.int64)
        for finding in findings:
            row = np.zeros(num_classes, dtype=bool)
            row[classes[is_class[finding.pixels[is_class] > 0]]] = True
            sizes.append(finding.size)
            rows.append(row)
            problems += finding.problems
            ids += finding.pixels
        pixels = np.bincount(classes[is_class], ids[is_class], minlength=num_classes).astype(np.int64)
        return cls(np.array(sizes, dtype=np.int64), np.stack(rows), ids, pixels, tuple(problems))


def survey_files(inspection: Inspection, title: str) -> Survey:
    """Reads all files in parallel, with a progress bar."""
    ids = inspection.labels.ids
    return Survey.of(in_parallel(inspection, len(inspection.files), title), ids.classes, ids.num_classes)


@runtime_checkable
class Surveyed(Protocol):
    """A source that has read all its files already.

    Attributes:
        survey: What they hold.
    """

    survey: Survey


def survey_of(source: LabelledImages) -> Survey:
    """What the images of any source hold: its own survey, or else all of them are loaded, in parallel."""
    if isinstance(source, Surveyed):
        return source.survey
    every = np.arange(IGNORE + 1, dtype=np.uint8)
    num_classes = len(source.class_names)
    every[num_classes:] = IGNORE
    return Survey.of(in_parallel(_Loading(source), len(source), "reading data"), every, num_classes)


@dataclass(frozen=True)
class _Loading:
    source: LabelledImages

    def __call__(self, index: int) -> Finding:
        try:
            image, label_map = self.source.load(index)
        except DataError as error:
            nothing = np.zeros(IGNORE + 1, dtype=np.int64)
            return Finding((0, 0), nothing, (Problem(Path(self.source.name(index)), str(error)),))
        stored = np.empty(0, dtype=np.uint8) if label_map is None else label_map
        return Finding(image.shape[:2], np.bincount(stored.ravel(), minlength=IGNORE + 1), ())


def inspect(inspection: Inspection, title: str) -> NDArray[np.bool_]:
    """Reads all files in parallel, with a progress bar.

    Returns:
        bool ``[len(files), K]``: which classes each image shows.

    Raises:
        BadFiles: naming every file that cannot be used.
    """
    survey = survey_files(inspection, title)
    if survey.problems:
        raise BadFiles(survey.problems)
    return survey.presence
