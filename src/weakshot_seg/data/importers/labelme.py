"""LabelMe: a JSON file beside each photo, with polygons, circles, bitmaps (AI masks) and flags of the whole photo."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Len
from pydantic import BaseModel

from weakshot_seg.data.importers.drawing import ellipse, from_png
from weakshot_seg.data.importers.records import Bitmap, Export, Place, Polygons, Record, Region, is_class
from weakshot_seg.data.importers.source import Source, clean, name_of
from weakshot_seg.data.importers.typed import Points, typed
from weakshot_seg.errors import DataError

TITLE = "LabelMe"


class _Shape(BaseModel):
    label: Annotated[str, Len(1)]
    points: Points
    shape_type: str | None = "polygon"
    mask: str | None = None


class _File(BaseModel):
    shapes: list[Any]
    imagePath: Annotated[str, Len(1)]
    imageHeight: int | None = None
    imageWidth: int | None = None
    flags: dict[str, bool] | None = None


def _is_ours(content: Any) -> bool:
    return isinstance(content, dict) and "shapes" in content and "imagePath" in content


def find(source: Source) -> list[Path]:
    """JSON files with shapes and the path of a photo."""
    return source.json_files(_is_ours)


def read(source: Source, files: list[Path]) -> Export:
    """One record for each file; all labels that any of them draws are drawn completely in all of them."""
    export = Export(TITLE)
    for file in files:
        try:
            if content := typed(_File, source.json(file), Place(file), export):
                _add(source, file, content, export)
        except DataError as error:
            export.wrong(Place(file), str(error))
    drawn = [region.name for record in export.records for region in record.regions]
    boxed = [name for record in export.records for name in sorted(record.boxed)]
    flags = [name for record in export.records for name in sorted(record.present | record.absent)]
    export.add_classes([*drawn, *boxed, *flags])
    export.annotate(name for name in drawn if is_class(name))
    return export


def _add(source: Source, file: Path, content: _File, export: Export) -> None:
    regions, boxed = [], set()
    for number, entry in enumerate(content.shapes):
        place = Place(file, f"shapes[{number}]")
        if (shape := typed(_Shape, entry, place, export)) is None:
            continue
        if (drawn := _drawn(shape)) is not None:
            regions.append(Region(shape.label, drawn, place))
        else:
            boxed.add(shape.label)
            export.leave_out(place, f"the outline of a {shape.shape_type}: only a tag")
    present = frozenset(name for name, value in (content.flags or {}).items() if value)
    image = clean(content.imagePath)
    beside = file.parent / image.name  # the usual place, also if the path is that of another computer
    photo = beside if beside.is_file() else source.find_photo(content.imagePath)
    inner = file.relative_to(source.folder).with_name(photo.name).as_posix()
    size = (content.imageHeight, content.imageWidth) if content.imageHeight and content.imageWidth else None
    record = Record(name_of(photo, inner), photo, Place(file), size, tuple(regions), boxed=frozenset(boxed))
    export.records.append(replace(record, present=present, absent=frozenset(content.flags or {}) - present))


def _drawn(shape: _Shape) -> Polygons | Bitmap | None:
    """The pixels of a shape, None for one without an area of its own."""
    points = np.array(shape.points)
    if shape.mask is not None and len(points) and np.isfinite(points).all():
        x, y = points.min(0).round().astype(int).tolist()
        return Bitmap(partial(from_png, shape.mask), x, y)
    if shape.shape_type == "circle" and len(points) == 2:
        radius = math.dist(*points)
        return Polygons((ellipse(points[0, 0], points[0, 1], radius, radius),))
    return Polygons((points,)) if shape.shape_type in (None, "polygon") else None
