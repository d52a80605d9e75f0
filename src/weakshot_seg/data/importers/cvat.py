"""CVAT for images 1.1: one XML file with polygons, masks, ellipses and tags of each photo."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from weakshot_seg.data.importers.drawing import by_rows, ellipse
from weakshot_seg.data.importers.records import Bitmap, Export, Place, Polygons, Record, Region
from weakshot_seg.data.importers.source import Source, name_of, xml_lines
from weakshot_seg.errors import DataError

TITLE = "CVAT for images"


def find(source: Source) -> list[Path]:
    """XML files whose first element is CVAT's."""
    return [file for file in source.with_suffix(".xml") if b"<annotations" in _head(file)]


def _head(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(2000)


def read(source: Source, files: list[Path]) -> Export:
    """One record for each image. Labels of the task that are drawn somewhere are drawn completely everywhere."""
    export = Export(TITLE)
    for file in files:
        try:
            root = xml_lines(file)
        except DataError as error:
            export.wrong(Place(file), str(error))
            continue
        used = sorted({shape.get("label", "") for image in root.iter("image") for shape in image})
        labels = [name.text or "" for name in root.findall("meta//labels/label/name")] or used
        export.add_classes(labels)
        for image in root.iter("image"):
            _add(source, file, image, labels, export)
    tags = {name for record in export.records for name in record.present}
    drawn = {region.name for record in export.records for region in record.regions}
    export.annotate(name for name in export.classes if name in drawn or name not in tags)
    only_tags = frozenset(tags - drawn)
    export.records = [replace(record, absent=only_tags - record.present - record.boxed) for record in export.records]
    return export


def _add(source: Source, file: Path, image: ET.Element, labels: list[str], export: Export) -> None:
    place = Place(file, f"line {image.get('line')}")
    regions, boxed, present = [], set(), set()
    for shape in image:
        where = Place(file, f"line {shape.get('line')}")
        label = shape.get("label", "")
        if label not in labels:
            export.wrong(where, f"its label {label!r} is none of the task: {', '.join(labels[:5])}, ...: add it")
        elif shape.tag == "tag":
            present.add(label)
        else:
            try:
                drawn, layer = _shape(shape), int(shape.get("z_order", 0))
            except (KeyError, ValueError, TypeError):
                export.wrong(where, f"its {shape.tag} cannot be read: export it again")
                continue
            if drawn is None:
                boxed.add(label)
                export.leave_out(where, f"the outline of a {shape.tag}: only a tag")
            else:
                regions.append(Region(label, drawn, where, layer))
    name = image.get("name", "")
    try:
        photo = source.find_photo(name)
        size = int(image.attrib["height"]), int(image.attrib["width"])
    except (DataError, KeyError, ValueError) as error:
        export.wrong(
            place, str(error) if isinstance(error, DataError) else "it has no width and height: export it again"
        )
        return
    record = Record(name_of(photo, name), photo, place, size, tuple(regions))
    export.records.append(replace(record, present=frozenset(present), boxed=frozenset(boxed)))


def _shape(shape: ET.Element) -> Polygons | Bitmap | None:
    """The pixels of a shape, None for one without an area of its own."""
    if shape.tag == "polygon":
        points = [[float(part) for part in pair.split(",")] for pair in shape.attrib["points"].split(";")]
        return Polygons((np.array(points),))
    if shape.tag == "mask":
        counts = [int(count) for count in shape.attrib["rle"].split(",")]
        left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
        return Bitmap(partial(by_rows, counts, height, width), left, top)
    if shape.tag == "ellipse":
        cx, cy, rx, ry = (float(shape.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        return Polygons((ellipse(cx, cy, rx, ry, float(shape.get("rotation", 0))),))
    return None
