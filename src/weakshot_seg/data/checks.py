"""Image and label files that belong together, and one reading of all: what they hold, and what is wrong with them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.images import MAX_PIXELS, size_and_turn
from weakshot_seg.data.mask_checks import Palettes, Turn, Turns, compare_turns
from weakshot_seg.data.masks import Mask, open_mask
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.data.source import LabelledImages
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.files import printable


@dataclass(frozen=True)
class LabelledFile:
    """An image and its labels, None if it has none; ``name`` is short, without suffix, and unlike all others."""

    name: str
    image: Path
    labels: Path | None


@dataclass(frozen=True)
class LabelFormat:
    """How a label file becomes a map of class ids; ``remedy`` says what to do about an unknown id.

    Attributes:
        stored: Class c is stored as ``stored[c]``, ascending. Ids below the first are unlabelled; no others may occur.
        ignore_label: One more id of unlabelled pixels.
        max_pixels: Larger files are refused, and larger photos, too.
        dropped: Classes whose pixels are unlabelled, too.
        read: Gives the ids as stored, uint8 ``[h, w]``, of a file that need not be sound; raises ``DataError``. None:
            files are PNG.
    """

    stored: Sequence[int]
    ignore_label: int = IGNORE
    read: Callable[[Path], NDArray[np.uint8]] | None = None
    remedy: str = "replace it by the original"
    max_pixels: int = MAX_PIXELS
    dropped: frozenset[int] = frozenset()

    @property
    def is_png(self) -> bool:
        """Labels are quick to read: nothing but PNG files."""
        return self.read is None

    @cached_property
    def allowed(self) -> frozenset[int]:
        """All ids that may occur."""
        return frozenset({self.ignore_label, *range(self.stored[0]), *self.stored})

    def open(self, path: Path, verify: bool = True) -> Mask:
        """Reads a label file; a ``DataError`` if it is broken, or its ids are not certain. Not all need be allowed."""
        return Mask(self.read(path)) if self.read else open_mask(path, verify, self.allowed, self.max_pixels)

    @cached_property
    def classes(self) -> NDArray[np.uint8]:
        """uint8 ``[256]``, for each stored id its class id or ``IGNORE``."""
        table = np.full(IGNORE + 1, IGNORE, dtype=np.uint8)
        for class_id, number in enumerate(self.stored):
            if number <= IGNORE and number != self.ignore_label and class_id not in self.dropped:
                table[number] = class_id
        return table


Keep = Callable[[LabelledFile, NDArray[np.uint8]], None]


@dataclass(frozen=True)
class Problem:
    """What is wrong with a file, in one line with file, value and remedy."""

    file: Path
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))


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
class _Finding:
    """Of one file: its size, (0, 0) if it cannot be read; int64 ``[256]``, pixels of each stored id; problems."""

    size: Sequence[int]
    pixels: NDArray[np.int64]
    problems: list[Problem] = field(default_factory=list)
    mask: Mask | None = None  # without ids
    turn: Turn = Turn.SAME


@dataclass(frozen=True)
class Survey:
    """What the images and masks of one part of a data set hold.

    Attributes:
        sizes: int64 ``[n, 2]``, height and width of each image; zeros where it cannot be read.
        presence: bool ``[n, K]``, the classes that each mask shows.
        ids: int64 ``[256]``, pixels of each id as stored.
        pixels: int64 ``[K]``, pixels of each class.
        problems: All of them.
        remarks: What is suspicious, in a line each.
    """

    sizes: NDArray[np.int64]
    presence: NDArray[np.bool_]
    ids: NDArray[np.int64]
    pixels: NDArray[np.int64]
    problems: tuple[Problem, ...] = ()
    remarks: tuple[str, ...] = ()


def survey_files(
    files: Sequence[LabelledFile], labels: LabelFormat, title: str, verify: bool = True, keep: Keep | None = None
) -> Survey:
    """Reads all labels, and with ``verify`` all images, in parallel; ``title`` is that of the progress bar.

    ``keep``, which can be pickled, is called with each file that is sound and its map of class ids.
    """
    task = partial(_inspect, labels=labels, verify=verify, keep=keep)
    return _sum_up(in_parallel(task, files, title), files, labels)


def without_classes(chosen: NDArray[np.bool_], labels: LabelFormat, survey: Survey) -> tuple[LabelFormat, Survey]:
    """Takes the pixels of the ``chosen`` classes (bool ``[K]``) for unlabelled."""
    dropped = frozenset(np.flatnonzero(chosen).tolist())
    presence, pixels = survey.presence & ~chosen, np.where(chosen, 0, survey.pixels)
    return replace(labels, dropped=dropped), replace(survey, presence=presence, pixels=pixels)


def survey_of(source: LabelledImages) -> Survey:
    """What the images of any source hold: its own survey, or else all of them are loaded, in parallel."""
    if isinstance(survey := getattr(source, "survey", None), Survey):
        return survey
    findings = in_parallel(partial(_load, source), range(len(source)), "reading data")
    return _sum_up(findings, [None] * len(source), LabelFormat(range(len(source.class_names))))


def _inspect(file: LabelledFile, labels: LabelFormat, verify: bool, keep: Keep | None) -> _Finding:
    size, turn = (0, 0), 1
    pixels = np.zeros(IGNORE + 1, dtype=np.int64)
    problems = []
    try:
        size, turn = size_and_turn(file.image, verify, labels.max_pixels)
    except DataError as error:
        problems.append(Problem(file.image, str(error)))
    if file.labels is None:
        return _Finding(size, pixels, problems)
    try:
        mask = labels.open(file.labels)
    except DataError as error:
        return _Finding(size, pixels, [*problems, Problem(file.labels, str(error))])
    pixels = np.bincount(mask.ids.ravel(), minlength=IGNORE + 1)
    turns = Turn.SAME
    if size != (0, 0):
        turns, wrong = compare_turns(file.labels, mask, size, turn)
        problems += [Problem(file.labels, wrong)] if wrong else []
    if unknown := set(np.flatnonzero(pixels).tolist()) - labels.allowed:
        known = np.flatnonzero(labels.classes != IGNORE)
        message = (
            f"mask {file.labels} has the id {min(unknown)}, but the {len(labels.stored)} class names allow {known[0]} "
            f"to {known[-1]}: {labels.remedy}"
        )
        problems.append(Problem(file.labels, message))
    if keep is not None and not problems:
        keep(file, labels.classes[mask.ids])
    return _Finding(size, pixels, problems, replace(mask, ids=mask.ids[:0]), turns)


def _load(source: LabelledImages, index: int) -> _Finding:
    image, label_map = source.load(index)
    ids = np.empty(0, dtype=np.uint8) if label_map is None else label_map.ravel()
    return _Finding(image.shape[:2], np.bincount(ids, minlength=IGNORE + 1))


def _sum_up(findings: Iterable[_Finding], files: Sequence[LabelledFile | None], labels: LabelFormat) -> Survey:
    classes, is_class = labels.classes, np.flatnonzero(labels.classes != IGNORE)
    sizes, presence = np.zeros((len(files), 2), np.int64), np.zeros((len(files), len(labels.stored)), bool)
    ids, pixels = np.zeros(IGNORE + 1, np.int64), np.zeros(len(labels.stored), np.int64)
    problems: list[Problem] = []
    palettes, turns = Palettes(), Turns()
    for index, (file, found) in enumerate(zip(files, findings, strict=True)):
        sizes[index] = found.size
        presence[index, classes[is_class[found.pixels[is_class] > 0]]] = True
        ids += found.pixels
        problems += found.problems
        if file is not None and file.labels is not None and found.mask is not None:
            turns.add(file.image, found.turn)
            if message := palettes.contradiction(file.labels, found.mask):
                problems.append(Problem(file.labels, message))
    np.add.at(pixels, classes[is_class], ids[is_class])
    return Survey(sizes, presence, ids, pixels, tuple(problems), turns.remarks())
