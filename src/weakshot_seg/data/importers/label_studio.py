"""Label Studio, format JSON: polygons, brush strokes and choices of each task."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.importers.drawing import ellipse
from weakshot_seg.data.importers.records import Bitmap, Bits, Export, Place, Polygons, Record, Region, is_class
from weakshot_seg.data.importers.source import Source, clean, name_of
from weakshot_seg.errors import DataError

TITLE = "Label Studio"


def _is_ours(content: Any) -> bool:
    tasks = content if isinstance(content, list) else []
    return bool(tasks) and all(isinstance(task, dict) and {"data", "annotations"} <= task.keys() for task in tasks[:5])


def find(source: Source) -> list[Path]:
    """JSON files with tasks that have data and annotations."""
    return source.json_files(_is_ours)


def read(source: Source, files: list[Path]) -> Export:
    """One record for each task that has been annotated, from its first annotation that was not cancelled.

    All labels that are drawn anywhere are drawn completely in all; of the choices that are made anywhere those that are
    not made in a task are absent.
    """
    export = Export(TITLE)
    for file in files:
        try:
            for number, task in enumerate(source.json(file)):
                _add(source, Place(file, f"[{number}] (task {task.get('id')})"), task, export)
        except (AttributeError, TypeError, DataError) as error:
            export.wrong(Place(file), str(error))
    choices = frozenset(name for record in export.records for name in record.present)
    drawn = [region.name for record in export.records for region in record.regions]
    export.add_classes([*drawn, *(name for record in export.records for name in sorted(record.boxed | record.present))])
    export.annotate(name for name in drawn if is_class(name))
    export.records = [replace(record, absent=choices - record.present) for record in export.records]
    return export


def _add(source: Source, place: Place, task: Mapping[str, Any], export: Export) -> None:
    done = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
    if not done:
        export.leave_out(place, "not annotated")
        return
    if len(done) > 1:
        export.leave_out(place, "further annotations of a task: only the first counts")
    results = done[0]["result"]
    try:
        photo, name = _photo(source, task)
    except DataError as error:
        export.wrong(place, str(error))
        return
    regions: list[Region] = []
    boxed, present = set[str](), set[str]()
    size = None
    for number, result in enumerate(results):
        where = Place(place.file, f"{place.at}, result[{number}]")
        value, kind = result.get("value") or {}, str(result.get("type"))
        labels = value.get(kind) or value.get("labels") or []
        if result.get("original_width"):
            size = result["original_height"], result["original_width"]
        if kind == "choices":
            present.update(labels)
            continue
        try:
            shape = _shape(value, size)
        except (KeyError, TypeError, ValueError, IndexError):
            export.wrong(where, f"its {kind} cannot be read: export it again")
            continue
        for label in labels:
            if shape is None:
                boxed.add(label)
                export.leave_out(where, f"the outline of {kind}: only a tag")
            else:
                regions.append(Region(label, shape, where))
    record = Record(name_of(photo, name), photo, place, size, tuple(regions))
    export.records.append(replace(record, present=frozenset(present), boxed=frozenset(boxed)))


def _photo(source: Source, task: Mapping[str, Any]) -> tuple[Path, str]:
    """The photo of a task and its name: as it was uploaded, from local files or from an address."""
    data = task["data"]
    text = next((str(data[key]) for key in ("image", "img", "photo", "ocr") if key in data), "")
    text = text or next((str(value) for value in data.values() if isinstance(value, str)), "")
    address = urlsplit(text)
    path = str(clean(unquote(parse_qs(address.query).get("d", [address.path])[0])))
    uploaded = re.sub(r"^[0-9a-f]{8}-", "", clean(path).name)  # the tool puts 8 digits before the name
    first: DataError | None = None
    for name in (path, str(clean(path).with_name(uploaded))):
        try:
            return source.find_photo(name), uploaded if path.startswith("data/upload/") else clean(path).name
        except DataError as error:
            first = first or error
    raise first or DataError(f"it names no photo in {data}")


def _shape(value: Mapping[str, Any], size: tuple[int, int] | None) -> Polygons | Bitmap | None:
    """The pixels of a result; coordinates are percent of the photo."""
    if size is None:
        raise ValueError
    height, width = size
    if "points" in value:
        return Polygons((np.array(value["points"], dtype=np.float64).reshape(-1, 2) * (width / 100, height / 100),))
    if "radiusX" in value:
        x, y, radius_x, radius_y = (
            value[key] * side / 100
            for key, side in zip(("x", "y", "radiusX", "radiusY"), (width, height) * 2, strict=True)
        )
        return Polygons((ellipse(x, y, radius_x, radius_y, value.get("rotation", 0)),))
    if value.get("format") == "rle":
        return Bitmap(partial(brush, value["rle"], height, width))
    return None


def brush(code: list[int], height: int, width: int) -> Bits:
    """The pixels of a brush stroke, bool ``[height, width]``: those with an alpha that is not 0.

    The code (thi.ng/rle-pack) holds 4 bytes of each pixel: 32 bits for their number, 5 for the bits of a value, 4 times
    4 for the bits of lengths; then runs: whether one value repeats, which of the 4, the length - 1, the value(s).
    """
    bits = np.unpackbits(np.array(code, dtype=np.uint8))
    at = 0

    def number(count: int) -> int:
        nonlocal at
        at += count
        return int("".join(map(str, bits[at - count : at].tolist())) or "0", 2)

    total, word = number(32), number(5) + 1
    lengths = [number(4) + 1 for _ in range(4)]
    if total != height * width * 4 or word != 8:
        raise DataError(f"the brush is for {total // 4} pixels instead of {width} x {height}")
    values = np.zeros(total, dtype=np.uint8)
    done = 0
    while done < total:
        repeats = number(1)
        length = number(lengths[number(2)]) + 1
        if at + word > len(bits):
            raise DataError("the code of the brush breaks off")
        if repeats:
            values[done : done + length] = number(word)
        else:
            values[done : done + length] = np.packbits(bits[at : at + length * word])
            at += length * word
        done += length
    alpha: NDArray[np.bool_] = values.reshape(height, width, 4)[..., 3] > 0
    return alpha
