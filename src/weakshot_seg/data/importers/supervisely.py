"""Supervisely: ``meta.json``, and ``ann/a.jpg.json`` beside ``img/a.jpg`` in each data set of a project."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Len
from pydantic import BaseModel

from weakshot_seg.data.importers.drawing import from_png
from weakshot_seg.data.importers.records import Bitmap, Export, Place, Polygons, Record, Region
from weakshot_seg.data.importers.source import Source, name_of
from weakshot_seg.data.importers.typed import Points, typed
from weakshot_seg.errors import DataError

TITLE = "Supervisely"
META = "meta.json"


class _Class(BaseModel):
    title: Annotated[str, Len(1)]


class _Tag(BaseModel):
    name: Annotated[str, Len(1)]
    value_type: str = "none"


class _Meta(BaseModel):
    classes: list[_Class]
    tags: list[_Tag] = []


class _Size(BaseModel):
    height: int
    width: int


class _File(BaseModel):
    size: _Size
    objects: list[Any]
    tags: list[_Tag] = []


class _Points(BaseModel):
    exterior: Points
    interior: list[Points] = []


class _Bitmap(BaseModel):
    data: str
    origin: tuple[int, int]


class _Object(BaseModel):
    classTitle: str
    geometryType: str = ""
    points: _Points | None = None
    bitmap: _Bitmap | None = None


def find(source: Source) -> list[Path]:
    """The files in the folders ``ann``, if there is a ``meta.json``."""
    files = [file for file in source.with_suffix(".json") if file.parent.name == "ann"]
    return files if any(file.name == META for file in source.files) else []


def read(source: Source, files: list[Path]) -> Export:
    """One record for each file; classes of ``meta.json`` are drawn completely, tags not set are absent."""
    export = Export(TITLE)
    meta_file = next(file for file in source.files if file.name == META)
    try:
        meta = typed(_Meta, source.json(meta_file), Place(meta_file), export)
    except DataError as error:
        export.wrong(Place(meta_file), str(error))
        return export
    if meta is None:
        return export
    classes = [entry.title for entry in meta.classes]
    tags = frozenset(tag.name for tag in meta.tags if tag.value_type == "none")
    export.add_classes([*classes, *(tag.name for tag in meta.tags if tag.name in tags)])
    for file in files:
        try:
            if content := typed(_File, source.json(file), Place(file), export):
                _add(source, file, content, classes, tags, export)
        except DataError as error:
            export.wrong(Place(file), str(error))
    export.annotate(classes)
    return export


def _add(
    source: Source, file: Path, content: _File, classes: Sequence[str], tags: frozenset[str], export: Export
) -> None:
    regions, boxed = [], set()
    for number, found in enumerate(content.objects):
        place = Place(file, f"objects[{number}]")
        if (entry := typed(_Object, found, place, export)) is None:
            continue
        if (name := entry.classTitle) not in classes:
            export.wrong(place, f"its class {name!r} is none of {META}: {', '.join(classes[:5])}, ...: add it")
        elif (shape := _shape(entry)) is not None:
            regions.append(Region(name, shape, place, number))
        else:
            boxed.add(name)
            export.leave_out(place, f"the outline of a {entry.geometryType}: only a tag")
    photo_name = (file.parent.parent / "img" / file.name).relative_to(source.folder).with_suffix("").as_posix()
    photo = source.find_photo(photo_name)
    present = tags & {tag.name for tag in content.tags}
    size = content.size.height, content.size.width
    record = Record(name_of(photo, photo_name.replace("img/", "")), photo, Place(file), size, tuple(regions))
    export.records.append(replace(record, present=present, absent=tags - present, boxed=frozenset(boxed)))


def _shape(entry: _Object) -> Polygons | Bitmap | None:
    """The pixels of an object, None for one without an area of its own."""
    if entry.bitmap is not None:
        x, y = entry.bitmap.origin
        return Bitmap(partial(from_png, entry.bitmap.data, True), x, y)
    if entry.geometryType == "polygon" and entry.points is not None:
        outlines = [np.array(points) for points in (entry.points.exterior, *entry.points.interior)]
        return Polygons((outlines[0],), tuple(outlines[1:]))
    return None
