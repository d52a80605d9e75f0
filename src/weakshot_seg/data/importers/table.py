"""Tags in CSV files of any columns: names of classes, a column for each class, Open Images' verified labels.

A column for each class and Open Images tell where a class is not; names alone do not.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weakshot_seg.data.importers.records import Export, Place, Record
from weakshot_seg.data.importers.source import Source, clean, csv_rows, is_photo, name_of
from weakshot_seg.errors import DataError

TITLE = "CSV of tags"
IMAGES = ("image", "filename", "file_name", "file", "imageid", "image_id", "image_path", "path", "photo", "img")
CLASSES = ("classes", "class", "labels", "label", "labelname", "label_name", "tags", "tag", "category", "species")
CONFIDENCE = ("confidence", "verified")
YES, NO, OPEN = {"1", "1.0", "true", "yes", "y", "x"}, {"0", "0.0", "false", "no", "n"}, {"", "-1", "-1.0", "?", "nan"}
DESCRIPTIONS = re.compile(r".*class-descriptions.*\.csv")


def find(source: Source) -> list[Path]:
    """CSV files with a column of photos and one of classes, or one for each class."""
    return [file for file in source.with_suffix(".csv", ".tsv") if _is_ours(source, file)]


def _is_ours(source: Source, file: Path) -> bool:
    if file == source.path or source.columns != (None, None):
        return not DESCRIPTIONS.fullmatch(file.name)  # the user says so: if it cannot be read, read says why
    try:
        rows = list(csv_rows(file))
        return bool(rows) and not DESCRIPTIONS.fullmatch(file.name) and _columns(source, rows) is not None
    except DataError:
        return False


def read(source: Source, files: list[Path]) -> Export:
    """One record for each photo that is named; several lines of one add up."""
    export = Export(TITLE)
    by_photo: dict[str, list[_Line]] = defaultdict(list)
    told = set[str]()
    for file in files:
        try:
            for line in _lines(source, file, export):
                export.add_classes((*line.present, *line.absent))
                told.update((*line.present, *line.absent) if line.tells else ())
                by_photo[line.photo].append(line)
        except DataError as error:
            export.wrong(Place(file), str(error))
    export.presence_only = frozenset(export.classes) - told
    for name, lines in by_photo.items():
        try:
            photo = source.find_photo(name)
        except DataError as error:
            export.wrong(lines[0].place, str(error))
            continue
        for line in lines:
            absent = export.classes if line.empty and len(lines) == 1 else line.absent
            record = Record(name_of(photo, name), photo, line.place, present=frozenset(line.present))
            export.records.append(replace(record, absent=frozenset(absent)))
    return export


@dataclass(frozen=True)
class _Line:
    """``empty``: the photo is listed, and nothing is in it; ``tells``: such lines say what is absent, too."""

    photo: str
    place: Place
    present: tuple[str, ...]
    absent: tuple[str, ...]
    tells: bool = True
    empty: bool = False


@dataclass(frozen=True)
class _Columns:
    """Columns by number. ``flags`` are those of one class each, if there is no column ``classes`` of names."""

    image: int
    classes: int | None = None
    confidence: int | None = None
    absent: int | None = None
    flags: tuple[int, ...] = ()
    first_line: int = 1


def _columns(source: Source, rows: Sequence[tuple[int, list[str]]]) -> _Columns | None:
    """What the columns are, by the names that the user gives, or by usual names, or by what is in them."""
    names = rows[0][1]
    photos = [number for number, cell in enumerate(names) if is_photo(clean(cell))]
    if photos:  # no names: a photo and its classes
        return _Columns(photos[0], 1 - photos[0], first_line=0) if len(names) == 2 else None
    for wanted in filter(None, source.columns):
        if wanted not in names:
            raise DataError(f"it has no column {wanted}, but {', '.join(names)}: correct image_column or class_column")
    image = names.index(source.columns[0]) if source.columns[0] else _first(names, IMAGES)
    classes = names.index(source.columns[1]) if source.columns[1] else _first(names, CLASSES)
    if image is None:
        return None
    if classes is not None:
        return _Columns(image, classes, _first(names, CONFIDENCE), _first(names, ("absent",)))
    flags = []
    for number in range(len(names)):
        cells = {row[number].lower() for _, row in rows[1:] if number < len(row)}
        if number != image and cells <= YES | NO | OPEN and cells & (YES | NO):
            flags.append(number)
    return _Columns(image, flags=tuple(flags)) if flags else None


def _first(names: Sequence[str], usual: Sequence[str]) -> int | None:
    lower = [name.lower() for name in names]
    return next((lower.index(name) for name in usual if name in lower), None)


def _lines(source: Source, file: Path, export: Export) -> Iterator[_Line]:
    rows = list(csv_rows(file))
    columns = _columns(source, rows) if rows else None
    if columns is None:
        names = ", ".join(rows[0][1]) if rows else ""
        raise DataError(f"its columns {names} name no photos or no classes: set image_column= and class_column=")
    described = _descriptions(source)
    for line, row in rows[columns.first_line :]:
        place = Place(file, f"line {line}")
        if len(row) != len(rows[0][1]):
            export.wrong(place, f"it has {len(row)} columns instead of {len(rows[0][1])}: correct it")
            continue
        photo = row[columns.image]
        if columns.classes is None:
            cells = {rows[0][1][number]: row[number].lower() for number in columns.flags}
            present, absent = (tuple(name for name, cell in cells.items() if cell in known) for known in (YES, NO))
            yield _Line(photo, place, present, absent)
            continue
        named = _split(row[columns.classes], described)
        absent = _split(row[columns.absent], described) if columns.absent is not None else ()
        share = row[columns.confidence].lower() if columns.confidence is not None else "1"
        if share in YES:
            tells = columns.confidence is not None or columns.absent is not None
            yield _Line(photo, place, named, absent, tells, empty=not (named or absent or tells))
        elif share in NO:
            yield _Line(photo, place, (), named)
        else:
            export.leave_out(place, "labels that are not verified")


def _split(cell: str, described: Mapping[str, str]) -> tuple[str, ...]:
    names = (name.strip() for name in re.split(r"[;|,]", cell))
    return tuple(described.get(name, name) for name in names if name)


def _descriptions(source: Source) -> dict[str, str]:
    """Open Images' names of its codes such as /m/01g317."""
    files = [*source.files, *source.folder.iterdir()]
    found = {file for file in files if DESCRIPTIONS.fullmatch(file.name)}
    return {row[0]: row[1] for file in found for _, row in csv_rows(file) if len(row) == 2}
