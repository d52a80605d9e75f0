"""Photos with their regions and tags -> ``ROOT``: whole or not at all."""

import csv
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from weakshot_seg.data.checks import Problem
from weakshot_seg.data.images import image_size
from weakshot_seg.data.importers.drawing import Patch, paint, patch_of, patches_of_file
from weakshot_seg.data.importers.merge import Merged, Photo
from weakshot_seg.data.importers.records import Place, is_class
from weakshot_seg.data.parallel import in_parallel
from weakshot_seg.data.tags import ALL, COLUMNS, FILE, SEPARATOR
from weakshot_seg.errors import ConfigError, DataError
from weakshot_seg.structures import IGNORE


@dataclass(frozen=True)
class Drawn:
    """What a photo has got: pixels of each class in its mask (empty: it has none), and classes without a pixel left.

    ``hidden`` are classes with regions and without a pixel: too small, below others, or not annotated completely.
    """

    pixels: Mapping[str, int]
    hidden: tuple[str, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class Row:
    """A line of ``tags.csv``; ``absent`` and ``annotated`` in the order of the classes."""

    photo: Photo
    tags: tuple[str, ...]
    absent: tuple[str, ...]
    annotated: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """What lies in the new folder: ``drawn`` and ``rows`` for each of the photos, and how photos got there."""

    photos: Sequence[Photo]
    drawn: Sequence[Drawn]
    rows: Sequence[Row]
    placed: Mapping[str, int]


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes ``root`` if the block ends well, and else vanishes.

    A ``ConfigError`` if ``root`` holds something, or another process makes it at the moment.
    """
    if root.is_symlink() or (root.exists() and not (root.is_dir() and not any(root.iterdir()))):
        raise ConfigError(f"out={root} exists: an import never adds to one; give another folder, or remove it")
    work = root.with_name(f".{root.name}.importing")
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(f"another import writes to out={root}: wait until it ends, or give another folder") from None
    try:
        for left in work.iterdir():  # by a process that was killed
            if left.is_dir():
                shutil.rmtree(left)
        (work / "root").mkdir()
        yield work / "root"
        if root.is_dir():
            root.rmdir()
        os.rename(work / "root", root)
    except FileNotFoundError as error:
        if error.filename != str(work / "root"):
            raise
        raise ConfigError(f"another import to out={root} has just ended: try again") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.release()


def write(merged: Merged, root: Path, copy: bool) -> tuple[Written, list[Problem]]:
    """Writes the photos, masks, ``classes.txt`` and ``tags.csv``; also all that is wrong: then it is not whole."""
    ids = {name: number for number, name in enumerate(merged.classes)}
    task = partial(_draw, ids=ids, root=root)
    drawn = list(in_parallel(task, merged.photos, "drawing masks"))
    problems = [problem for of_photo in drawn for problem in of_photo.problems]
    covered = frozenset(
        name for photo, done in zip(merged.photos, drawn, strict=True) if done.pixels for name in photo.annotated
    )
    rows = [_row(photo, done, merged, covered, problems) for photo, done in zip(merged.photos, drawn, strict=True)]
    placed: dict[str, int] = {}
    if not (problems or merged.problems):
        for photo in merged.photos:
            only_here = root.parent in photo.file.parents  # of an archive: a symbolic link would lead nowhere
            way = _place(photo.file, root / "images" / photo.part / photo.name, copy or only_here)
            placed[way] = placed.get(way, 0) + 1
        (root / "annotations" / "training").mkdir(parents=True, exist_ok=True)
        (root / "classes.txt").write_text("".join(f"{name}\n" for name in merged.classes), encoding="utf-8")
        _write_tags(root / FILE, rows, frozenset(merged.classes), covered)
    return Written(merged.photos, drawn, rows, placed), problems


def _draw(photo: Photo, ids: Mapping[str, int], root: Path) -> Drawn:
    """Draws the mask of a photo, if it has one, and checks sizes."""
    try:
        size = image_size(photo.file)
    except DataError as error:
        return Drawn({}, (), (Problem(photo.file, str(error)),))
    problems = [
        place.problem(f"the size is {told[1]} x {told[0]}, but that of {photo.file} (upright) {size[1]} x {size[0]}")
        for told, place in photo.sizes
        if told != size
    ]
    patches: list[Patch] = []
    for region in () if problems else photo.regions:
        try:
            patches.append(patch_of(region, size))
        except DataError as error:
            problems.append(region.place.problem(f"{region.name}: {error}"))
    for mask in photo.masks:
        try:
            patches += patches_of_file(mask, size)
        except DataError as error:
            problems.append(Place(mask.file).problem(str(error)))
    names = {patch.name for patch in patches if is_class(patch.name)}
    if unknown := sorted(names - ids.keys()):
        problems.append(photo.place.problem(f"the class {unknown[0]} is not among those that the source lists: add it"))
    if problems or not names:
        return Drawn({}, (), tuple(problems))
    label_map = paint(patches, size, {name: ids[name] for name in names & photo.annotated})
    counts = np.bincount(label_map.ravel(), minlength=IGNORE + 1)
    pixels = {name: int(counts[ids[name]]) for name in ids if counts[ids[name]]}
    if pixels:
        file = root / "annotations" / photo.part / mask_name(photo.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(label_map).save(file)
    return Drawn(pixels, tuple(sorted(names - pixels.keys())), ())


def mask_name(photo: str) -> PurePosixPath:
    """The path of the mask of a photo in the folder of the masks."""
    return PurePosixPath(photo).with_suffix(".png")


def _row(photo: Photo, drawn: Drawn, merged: Merged, covered: frozenset[str], problems: list[Problem]) -> Row:
    """What the photo shows by tags, what it does not, and what its mask says; contradictions are problems."""
    whole = photo.annotated - set(drawn.hidden)
    tags = (photo.present.keys() | set(drawn.hidden)) - drawn.pixels.keys()
    for name in sorted(tags & whole):
        place = photo.present[name]
        problems.append(
            place.problem(f"it has {name} in it (photo {photo.name}), of which {photo.place} draws nothing")
        )
    for name in sorted((drawn.pixels.keys() | set(drawn.hidden)) & photo.absent.keys()):
        problems.append(
            photo.absent[name].problem(f"it has no {name} in it (photo {photo.name}), which {photo.place} draws")
        )
    absent = photo.absent.keys() | (merged.assumed - tags - whole - drawn.pixels.keys())
    if not drawn.pixels:
        absent, whole = absent | whole, frozenset()
    absent -= whole
    kept = ([name for name in merged.classes if name in names] for names in (tags, absent, whole))
    return Row(photo, *(tuple(names) for names in kept))


def _write_tags(file: Path, rows: Sequence[Row], classes: frozenset[str], covered: frozenset[str]) -> None:
    """A line for each training photo; ``*`` stands for all other classes, and nothing for all ``covered`` ones."""
    with file.open("w", encoding="utf-8", newline="") as target:
        table = csv.writer(target)
        table.writerow(COLUMNS)
        for row in rows:
            absent, annotated = (SEPARATOR.join(names) for names in (row.absent, row.annotated))
            everything = {*row.tags, *row.absent, *row.annotated} == classes
            if row.annotated and (everything or set(row.annotated) == covered):
                annotated = ALL if everything else ""
            elif row.absent and everything and not row.annotated:
                absent = ALL
            if row.photo.part == "training":
                table.writerow((row.photo.name, SEPARATOR.join(row.tags), absent, annotated))


def _place(photo: Path, target: Path, copy: bool) -> str:
    """Makes ``target`` the same photo; says how.

    A hard link is an ordinary file to all programs, takes no space and outlives the source folder. Across file systems
    there are none: then a symbolic link is made, and a copy where even that is not allowed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    photo = photo.resolve()
    if not copy:
        for way, link in (("hard links", os.link), ("symbolic links", os.symlink)):
            try:
                link(photo, target)
                return way
            except OSError:
                continue
    shutil.copyfile(photo, target)
    return "copies"
