"""Supervisely: ``meta.json``, and ``ann/a.jpg.json`` beside ``img/a.jpg`` in each data set of a project."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.importers.drawing import from_png
from weakshot_seg.data.importers.records import Bitmap, Export, Place, Polygons, Record, Region
from weakshot_seg.data.importers.source import EXPORT_AGAIN, Source, name_of
from weakshot_seg.errors import DataError

TITLE = "Supervisely"
META = "meta.json"


def find(source: Source) -> list[Path]:
    """The files in the folders ``ann``, if there is a ``meta.json``."""
    files = [file for file in source.with_suffix(".json") if file.parent.name == "ann"]
    return files if any(file.name == META for file in source.files) else []


def read(source: Source, files: list[Path]) -> Export:
    """One record for each file; classes of ``meta.json`` are drawn completely, tags not set are absent."""
    export = Export(TITLE)
    meta_file = next(file for file in source.files if file.name == META)
    try:
        meta = source.json(meta_file)
        classes = [entry["title"] for entry in meta["classes"]]
        tags = [entry["name"] for entry in meta.get("tags", ()) if entry.get("value_type", "none") == "none"]
    except (DataError, KeyError, TypeError) as error:
        export.wrong(Place(meta_file), f"it has no classes with titles ({error}): {EXPORT_AGAIN}")
        return export
    export.add_classes([*classes, *tags])
    for file in files:
        try:
            _add(source, file, classes, tags, export)
        except DataError as error:
            export.wrong(Place(file), str(error))
    export.annotate(name for name in classes if name in export.classes)
    return export


def _add(source: Source, file: Path, classes: list[str], tags: list[str], export: Export) -> None:
    content = source.json(file)
    regions, boxed = [], set()
    try:
        size = content["size"]["height"], content["size"]["width"]
        present = frozenset(tag["name"] for tag in content.get("tags", ()))
        objects = list(content["objects"])
    except (KeyError, TypeError) as error:
        raise DataError(f"it has no size or no objects ({error!r}): {EXPORT_AGAIN}") from error
    for number, entry in enumerate(objects):
        place = Place(file, f"objects[{number}]")
        name = entry.get("classTitle")
        if name not in classes:
            export.wrong(place, f"its class {name!r} is none of {META}: {', '.join(classes[:5])}, ...: add it")
            continue
        try:
            shape = _shape(entry)
        except (KeyError, TypeError, ValueError) as error:
            export.wrong(place, f"{name}: its points or bitmap are missing ({error!r}): {EXPORT_AGAIN}")
            continue
        if shape is None:
            boxed.add(name)
            export.leave_out(place, f"the outline of a {entry.get('geometryType')}: only a tag")
        else:
            regions.append(Region(name, shape, place, number))
    photo_name = (file.parent.parent / "img" / file.name).relative_to(source.folder).with_suffix("").as_posix()
    photo = source.find_photo(photo_name)
    name = photo_name.replace("img/", "")
    absent = frozenset(tags) - present
    export.records.append(
        Record(name_of(photo, name), photo, Place(file), size, tuple(regions), (), present, frozenset(boxed), absent)
    )


def _shape(entry: Mapping[str, Any]) -> Polygons | Bitmap | None:
    """The pixels of an object, None for one without an area of its own."""
    if entry.get("geometryType") == "bitmap":
        x, y = entry["bitmap"]["origin"]
        return Bitmap(partial(from_png, entry["bitmap"]["data"], True), x, y)
    if entry.get("geometryType") == "polygon":
        points = entry["points"]
        return Polygons((_outline(points["exterior"]),), tuple(_outline(hole) for hole in points["interior"]))
    return None


def _outline(points: Any) -> NDArray[np.float64]:
    return np.array(points, dtype=np.float64).reshape(-1, 2)
