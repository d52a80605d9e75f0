"""LabelMe: a JSON file beside each photo, with polygons, circles, bitmaps (AI masks) and flags of the whole photo."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from weakshot_seg.data.importers.drawing import ellipse, from_png
from weakshot_seg.data.importers.records import Bitmap, Export, Place, Polygons, Record, Region, is_class
from weakshot_seg.data.importers.source import EXPORT_AGAIN, Source, clean, name_of
from weakshot_seg.errors import DataError

TITLE = "LabelMe"


def _is_ours(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("shapes"), list) and "imagePath" in content


def find(source: Source) -> list[Path]:
    """JSON files with shapes and the path of a photo."""
    return source.json_files(_is_ours)


def read(source: Source, files: list[Path]) -> Export:
    """One record for each file; all labels that any of them draws are drawn completely in all of them."""
    export = Export(TITLE)
    for file in files:
        try:
            content = source.json(file)
            if not _is_ours(content):
                raise DataError(f"{file} has no shapes or no imagePath: {EXPORT_AGAIN}")
            _add(source, file, content, export)
        except DataError as error:
            export.wrong(Place(file), str(error))
    drawn = [region.name for record in export.records for region in record.regions]
    boxed = [name for record in export.records for name in sorted(record.boxed)]
    flags = [name for record in export.records for name in sorted(record.present | record.absent)]
    export.add_classes([*drawn, *boxed, *flags])
    export.annotate(name for name in drawn if is_class(name))
    return export


def _add(source: Source, file: Path, content: Mapping[str, Any], export: Export) -> None:
    regions, boxed = [], set()
    for number, shape in enumerate(content["shapes"]):
        place = Place(file, f"shapes[{number}]")
        if not isinstance(shape, dict) or not shape.get("label"):
            export.wrong(place, f"it has no label: {EXPORT_AGAIN}")
            continue
        label, kind = str(shape["label"]), shape.get("shape_type") or "polygon"
        try:
            drawn = _shape(shape, kind)
        except (KeyError, TypeError, ValueError, IndexError):
            export.wrong(place, f"{label}: it has not the points of a {kind}: draw it again")
            continue
        if drawn is not None:
            regions.append(Region(label, drawn, place))
        else:
            boxed.add(label)
            export.leave_out(place, f"the outline of a {kind}: only a tag")
    flags = content.get("flags") or {}
    present = frozenset(name for name, value in flags.items() if value)
    image = clean(str(content["imagePath"]))
    beside = file.parent / image.name  # the usual place, also if the path is that of another computer
    photo = beside if beside.is_file() else source.find_photo(str(image))
    inner = file.relative_to(source.folder).with_name(image.name).as_posix()
    size = (content["imageHeight"], content["imageWidth"]) if content.get("imageHeight") else None
    record = Record(name_of(photo, inner), photo, Place(file), size, tuple(regions), boxed=frozenset(boxed))
    export.records.append(replace(record, present=present, absent=frozenset(flags) - present))


def _shape(shape: Mapping[str, Any], kind: str) -> Polygons | Bitmap | None:
    """The pixels of a shape, None for one without an area of its own."""
    points = np.array(shape["points"], dtype=np.float64).reshape(-1, 2)
    if kind == "mask":
        x, y = points.min(0).round().astype(int).tolist()
        return Bitmap(partial(from_png, shape["mask"]), x, y)
    if kind == "circle":
        centre, edge = points
        radius = math.dist(centre, edge)
        return Polygons((ellipse(centre[0], centre[1], radius, radius),))
    return Polygons((points,)) if kind == "polygon" else None
