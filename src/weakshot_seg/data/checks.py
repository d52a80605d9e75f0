"""Reads all images and masks of a data set once: what they hold, and everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.images import image_size, read_image
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.data.readers.labels import LabelFormat, LabelledFile
from weakshot_seg.data.source import LabelledImages, of_other_size
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

Keep = Callable[[LabelledFile, NDArray[np.uint8]], None]


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
    problems: tuple[Problem, ...] = ()

    @classmethod
    def zeros(cls, images: int, classes: int) -> Survey:
        """Of so many images and classes."""
        sizes, presence = np.zeros((images, 2), dtype=np.int64), np.zeros((images, classes), dtype=bool)
        return cls(sizes, presence, np.zeros(IGNORE + 1, dtype=np.int64), np.zeros(classes, dtype=np.int64))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All but the problems, by name."""
        return {name: value for name, value in vars(self).items() if name != "problems"}


def survey_files(
    files: Sequence[LabelledFile], labels: LabelFormat, title: str, verify: bool = True, keep: Keep | None = None
) -> Survey:
    """Reads all files in parallel, with a progress bar.

    Args:
        files: Images and labels.
        labels: How to read the labels.
        title: Of the progress bar.
        verify: Also decode the images, to find broken ones; labels are read in any case.
        keep: Called with each file that is sound and its map of class ids; can be pickled.
    """
    task = partial(_inspect, labels=labels, verify=verify, keep=keep)
    return _sum_up(in_parallel(task, files, title), Survey.zeros(len(files), labels.num_classes), labels.classes)


def survey_of(source: LabelledImages) -> Survey:
    """What the images of any source hold: its own survey, or else all of them are loaded, in parallel."""
    if isinstance(survey := getattr(source, "survey", None), Survey):
        return survey
    survey = Survey.zeros(len(source), len(source.class_names))
    classes = np.arange(IGNORE + 1, dtype=np.uint8)
    classes[len(source.class_names) :] = IGNORE
    return _sum_up(in_parallel(partial(_load, source), range(len(source)), "reading data"), survey, classes)


@dataclass(frozen=True)
class _Finding:
    """Of one image: its size, (0, 0) if it cannot be read; int64 ``[256]``, pixels of each stored id; problems."""

    size: Sequence[int]
    pixels: NDArray[np.int64]
    problems: Sequence[Problem] = ()


def _inspect(file: LabelledFile, labels: LabelFormat, verify: bool, keep: Keep | None) -> _Finding:
    size: Sequence[int] = (0, 0)
    pixels = np.zeros(IGNORE + 1, dtype=np.int64)
    problems = []
    try:
        size = read_image(file.image).shape[:2] if verify else image_size(file.image)
    except DataError as error:
        problems.append(Problem(file.image, str(error)))
    if file.labels is None:
        return _Finding(size, pixels, problems)
    try:
        stored = labels.read(file.labels)
    except DataError as error:
        return _Finding(size, pixels, [*problems, Problem(file.labels, str(error))])
    pixels = np.bincount(stored.ravel(), minlength=IGNORE + 1)
    if tuple(size) not in ((0, 0), stored.shape):
        problems.append(Problem(file.labels, of_other_size(f"mask {file.labels}", stored.shape, size)))
    for number in labels.unknown(pixels)[:1]:
        known = np.flatnonzero(labels.classes != IGNORE)
        message = (
            f"mask {file.labels} has the id {number}, but the {labels.num_classes} class names allow {known[0]} to "
            f"{known[-1]}: {labels.remedy}"
        )
        problems.append(Problem(file.labels, message))
    if keep is not None and not problems:
        keep(file, labels.classes[stored])
    return _Finding(size, pixels, problems)


def _load(source: LabelledImages, index: int) -> _Finding:
    try:
        image, label_map = source.load(index)
    except DataError as error:
        nothing = np.zeros(IGNORE + 1, dtype=np.int64)
        return _Finding((0, 0), nothing, [Problem(Path(source.name(index)), str(error))])
    stored = np.empty(0, dtype=np.uint8) if label_map is None else label_map
    return _Finding(image.shape[:2], np.bincount(stored.ravel(), minlength=IGNORE + 1))


def _sum_up(findings: Iterable[_Finding], survey: Survey, classes: NDArray[np.uint8]) -> Survey:
    """Adds all findings; ``classes`` gives the class id of each stored id, or ``IGNORE``: uint8 ``[256]``."""
    is_class = np.flatnonzero(classes != IGNORE)
    problems: list[Problem] = []
    for index, finding in enumerate(findings):
        survey.sizes[index] = finding.size
        survey.presence[index, classes[is_class[finding.pixels[is_class] > 0]]] = True
        survey.ids[:] += finding.pixels
        problems += finding.problems
    np.add.at(survey.pixels, classes[is_class], survey.ids[is_class])
    return replace(survey, problems=tuple(problems))
