"""Records of several sources -> photos: the same photo in two of them is one photo."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest
from pathlib import Path, PurePosixPath
from typing import Literal

from weakshot_seg.data.checks import Problem
from weakshot_seg.data.class_names import HIDDEN
from weakshot_seg.data.importers.records import Export, MaskFile, Part, Place, Record, Region, is_class
from weakshot_seg.data.tags import SEPARATOR
from weakshot_seg.structures import IGNORE

Unnamed = Literal["absent", "unknown"]


@dataclass(frozen=True, eq=False)
class Photo:
    """All that is said of one photo: see :class:`~weakshot_seg.data.importers.records.Record`."""

    name: str
    file: Path
    part: Part
    place: Place
    sizes: tuple[tuple[tuple[int, int], Place], ...]
    regions: tuple[Region, ...]
    masks: tuple[MaskFile, ...]
    present: Mapping[str, Place]
    absent: Mapping[str, Place]
    annotated: frozenset[str]


@dataclass
class Merged:
    """The photos of all sources, sorted by name, and their classes in the order of the sources.

    Attributes:
        assumed: Classes that are absent wherever no source names them, because none says where they are not.
        silent: Photos of which nothing is known: they are left out.
    """

    classes: list[str]
    photos: list[Photo] = field(default_factory=list)
    assumed: frozenset[str] = frozenset()
    silent: int = 0
    problems: list[Problem] = field(default_factory=list)


def merge(exports: Sequence[Export], unnamed: Unnamed = "absent") -> Merged:
    """One photo for all records of equal content; problems are names that two photos share and contradictions.

    ``unnamed`` is what to take for a class in photos that no source names it in, if none ever says where it is not.
    """
    classes = list(dict.fromkeys(name for export in exports for name in export.classes if is_class(name)))
    told = {name for export in exports for name in export.classes if name not in export.presence_only}
    merged = Merged(classes, assumed=frozenset(classes) - told if unnamed == "absent" else frozenset())
    merged.problems += [problem for export in exports for problem in export.problems]
    wrong = [f"{len(classes)} classes: 1 to {IGNORE - 1} are possible"] if len(classes) >= IGNORE else []
    for name in classes:
        if not name or SEPARATOR in name or HIDDEN.search(name):
            wrong.append(f"the class name {name!r}: rename the class, not empty, without {SEPARATOR!r} and line breaks")
    if wrong:  # nothing can be drawn
        files = [record.place.file for export in exports for record in export.records]
        merged.problems += [
            Problem(file, f"{file} and other files have {text}") for text in wrong for file in files[:1]
        ]
        return merged
    by_stem: dict[tuple[Part, str], Photo] = {}
    records = [record for export in exports for record in export.records]
    for same in _same_photos(records):
        photo = _join(same, merged.problems)
        if not (photo.regions or photo.masks or photo.present or photo.absent or photo.annotated or merged.assumed):
            merged.silent += 1
            continue
        key = photo.part, str(PurePosixPath(photo.name).with_suffix(""))
        if (other := by_stem.setdefault(key, photo)) is not photo:
            message = f"two photos are named {key[1]}: {other.file} and {photo.file}: rename one of them"
            merged.problems.append(photo.place.problem(message))
        merged.photos.append(photo)
    merged.photos.sort(key=lambda photo: photo.name)
    return merged


def _same_photos(records: Iterable[Record]) -> list[list[Record]]:
    """Records of each photo: those of equal content. Only files of equal size are read."""
    files: dict[Path, list[Record]] = defaultdict(list)
    for record in records:
        files[record.photo.resolve()].append(record)
    by_size: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        by_size[file.stat().st_size].append(file)
    groups: dict[object, list[Record]] = defaultdict(list)
    for file, of_file in files.items():
        alone = len(by_size[file.stat().st_size]) == 1
        groups[file if alone else _digest(file)] += of_file
    return list(groups.values())


def _digest(file: Path) -> bytes:
    with file.open("rb") as content:
        return file_digest(content, "blake2b").digest()


def _join(records: Sequence[Record], problems: list[Problem]) -> Photo:
    first = records[0]
    present, absent = ({} for _ in range(2))  # type: dict[str, Place], dict[str, Place]
    for record in records:
        present |= {name: record.place for name in record.present | record.boxed if is_class(name)}
        absent |= {name: record.place for name in record.absent if is_class(name)}
    for name in sorted(present.keys() & absent.keys()):
        where = f"{present[name]} has {name} in it and {absent[name]} not"
        problems.append(Problem(present[name].file, f"{where} (photo {first.name}): correct one of them"))
    annotated = frozenset(name for record in records for name in record.annotated if is_class(name))
    return Photo(
        first.name,
        first.photo,
        "validation" if all(record.part == "validation" for record in records) else "training",
        first.place,
        tuple((record.size, record.place) for record in records if record.size),
        tuple(region for record in records for region in record.regions),
        tuple(mask for record in records for mask in record.masks),
        present,
        absent,
        annotated,
    )
