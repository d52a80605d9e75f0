"""What an annotation tool says of photos, in one form for all tools."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal, Self
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import Problem

Part = Literal["training", "validation"]
Bits = NDArray[np.bool_]
Value = int | tuple[int, int, int]
"""What a mask file stores in a pixel: an id, or a colour (red, green, blue)."""

UNLABELLED = {"background", "_background_", "__background__", "__ignore__", "ignore", "ignored", "unlabeled"}
UNLABELLED |= {"unlabelled", "void", "ego vehicle", "out of roi", "rectification border"}
"""Names (lower case) of what is no class: pixels without a label."""


@dataclass(frozen=True)
class Place:
    """Where a tool says something: a file, and the line or entry in it."""

    file: Path
    at: str = ""

    def __str__(self) -> str:
        return f"{self.at} of {self.file}" if self.at else str(self.file)

    def problem(self, message: str) -> Problem:
        """Something wrong at this place."""
        return Problem(self.file, f"{self}: {message}")


@dataclass(frozen=True, eq=False)
class Polygons:
    """The inside of any of some polygons, without the ``holes``.

    Each is float64 ``[n, 2]``, x and y in pixels: (0, 0) is the corner of the photo, (0.5, 0.5) the middle of a pixel.
    """

    outlines: tuple[NDArray[np.float64], ...]
    holes: tuple[NDArray[np.float64], ...] = ()


@dataclass(frozen=True, eq=False)
class RunLengths:
    """COCO's run-length code, compressed or as a list of numbers, for a picture of ``size`` (height, width)."""

    counts: str | tuple[int, ...]
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Bitmap:
    """Pixels from ``decode()``, bool ``[h, w]``, with their upper left corner at column ``x`` and row ``y``."""

    decode: Callable[[], Bits]
    x: int = 0
    y: int = 0


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one class; of two that overlap the one of the higher ``layer`` is on top, then the smaller one."""

    name: str
    shape: Polygons | RunLengths | Bitmap
    place: Place
    layer: int = 0


@dataclass(frozen=True, eq=False)
class MaskFile:
    """A picture of the size of the photo; ``classes``: what its ids or colours mean, None for pixels without label."""

    file: Path
    classes: Mapping[Value, str | None]

    def with_classes(self, names: Collection[str]) -> Self:
        """The same file, in which all but these are pixels without a label."""
        return replace(self, classes={value: name if name in names else None for value, name in self.classes.items()})


@dataclass(frozen=True, eq=False)
class Record:
    """What one place says of one photo.

    Attributes:
        name: Of the photo in the data set: a path with ``/``, as the tool names it.
        size: Height and width, if the tool gives them.
        present: Classes that the photo shows, as a whole; likewise ``absent``.
        boxed: Classes that are only known to be in it: by boxes, points or lines.
        annotated: Classes of which all pixels are drawn. Those without pixels are absent.
    """

    name: str
    photo: Path
    place: Place
    size: tuple[int, int] | None = None
    regions: tuple[Region, ...] = ()
    masks: tuple[MaskFile, ...] = ()
    present: frozenset[str] = frozenset()
    boxed: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    annotated: frozenset[str] = frozenset()
    part: Part = "training"

    def with_classes(self, names: frozenset[str]) -> Self:
        """The same, of these classes."""
        return replace(
            self,
            regions=tuple(region for region in self.regions if region.name in names or not is_class(region.name)),
            masks=tuple(mask.with_classes(names) for mask in self.masks),
            present=self.present & names,
            boxed=self.boxed & names,
            absent=self.absent & names,
            annotated=self.annotated & names,
        )

    def names(self) -> Iterator[str]:
        """Of all classes that it speaks of, with repetitions."""
        yield from (region.name for region in self.regions)
        yield from (name for mask in self.masks for name in mask.classes.values() if name is not None)
        yield from chain(self.present, self.boxed, self.absent, self.annotated)

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same, with other names of the classes."""
        present, boxed, absent, annotated = (
            frozenset(names[name] for name in old) for old in (self.present, self.boxed, self.absent, self.annotated)
        )
        return replace(
            self,
            regions=tuple(replace(region, name=names[region.name]) for region in self.regions),
            masks=tuple(
                replace(mask, classes={value: name and names[name] for value, name in mask.classes.items()})
                for mask in self.masks
            ),
            present=present,
            boxed=boxed,
            absent=absent,
            annotated=annotated,
        )


@dataclass
class Export:
    """All that one source holds.

    Attributes:
        classes: Names in the order of the tool.
        presence_only: Those of them of which it tells where they are, and never where they are not.
        problems: Why nothing can be written.
        left_out: What is left out, by reason, with the places.
    """

    title: str
    classes: list[str] = field(default_factory=list)
    presence_only: frozenset[str] = frozenset()
    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left_out: dict[str, list[Place]] = field(default_factory=dict)

    def wrong(self, place: Place, message: str) -> None:
        """Adds a problem."""
        self.problems.append(place.problem(message))

    def leave_out(self, place: Place, reason: str) -> None:
        """Notes that something is not imported."""
        self.left_out.setdefault(reason, []).append(place)

    def annotate(self, names: Iterable[str]) -> None:
        """All pixels of these classes are drawn in all photos so far."""
        names = frozenset(names)
        self.records = [replace(record, annotated=names - record.boxed) for record in self.records]

    def keep(self, names: Collection[str]) -> None:
        """Leaves out all classes but these, as if the tool knew no others."""
        self.classes = [name for name in self.classes if name in names]
        self.records = [record.with_classes(frozenset(names)) for record in self.records]

    def unify_names(self) -> None:
        """Makes one class of names that differ in spaces around them, or in how a letter like ö is stored, alone."""
        names = {name: normalize("NFC", name.strip()) for record in self.records for name in record.names()}
        names |= {name: normalize("NFC", name.strip()) for name in (*self.classes, *self.presence_only)}
        if all(old == new for old, new in names.items()):
            return
        self.classes = list(dict.fromkeys(names[name] for name in self.classes))
        self.presence_only = frozenset(names[name] for name in self.presence_only)
        self.records = [record.renamed(names) for record in self.records]

    def add_classes(self, names: Iterable[str]) -> None:
        """Adds those that are new and stand for a class."""
        self.classes += [name for name in dict.fromkeys(names) if is_class(name) and name not in self.classes]


def is_class(name: str) -> bool:
    """Whether a label of a tool names a class, and not pixels without one."""
    return name.strip().lower() not in UNLABELLED
