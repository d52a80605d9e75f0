"""Label Studio, format JSON: polygons, brush strokes and choices of each task."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from annotated_types import Ge, Le
from numpy.typing import NDArray
from pydantic import BaseModel

from weakshot_seg.data.importers.drawing import ellipse
from weakshot_seg.data.importers.records import Bitmap, Bits, Export, Place, Polygons, Record, Region, is_class
from weakshot_seg.data.importers.source import Source, clean, name_of
from weakshot_seg.data.importers.typed import Points, typed
from weakshot_seg.errors import DataError

TITLE = "Label Studio"


class _Work(BaseModel):
    result: list[Any]
    was_cancelled: bool | None = False


class _Task(BaseModel):
    data: dict[str, Any]
    annotations: list[_Work]


class _Value(BaseModel):
    points: Points | None = None
    x: float = 0
    y: float = 0
    radiusX: float | None = None
    radiusY: float = 0
    rotation: float | None = 0
    rle: list[Annotated[int, Ge(0), Le(255)]] | None = None
    labels: list[str] = []


class _Result(BaseModel):
    type: str = ""
    value: dict[str, Any]
    original_width: int | None = None
    original_height: int | None = None

    def typed_value(self, place: Place, export: Export) -> _Value | None:
        """The value, whose labels are called as its type."""
        return typed(_Value, {"labels": self.value.get(self.type, [])} | self.value, place, export)


def _is_ours(content: Any) -> bool:
    tasks = content if isinstance(content, list) else []
    return bool(tasks) and all(isinstance(task, dict) and {"data", "annotations"} <= task.keys() for task in tasks[:5])


def find(source: Source) -> list[Path]:
    """JSON files with tasks that have data and annotations."""
    return source.json_files(_is_ours)


def read(source: Source, files: list[Path]) -> Export:
    """One record for each task that has been annotated, from its first annotation that was not cancelled.

    All labels that are drawn anywhere are drawn completely in all. Where choices are made, those that are made only
    elsewhere are absent.
    """
    export = Export(TITLE)
    for file in files:
        try:
            tasks = source.json(file)
            for number, entry in enumerate(tasks if isinstance(tasks, list) else [tasks]):
                place = Place(file, f"[{number}] (task {entry.get('id') if isinstance(entry, dict) else '?'})")
                if task := typed(_Task, entry, place, export):
                    _add(source, place, task, export)
        except DataError as error:
            export.wrong(Place(file), str(error))
    choices = frozenset(name for record in export.records for name in record.present)
    drawn = [region.name for record in export.records for region in record.regions]
    export.add_classes([*drawn, *(name for record in export.records for name in sorted(record.boxed | record.present))])
    export.annotate(name for name in drawn if is_class(name))
    export.records = [replace(r, absent=choices - r.present) if r.present else r for r in export.records]
    return export


def _add(source: Source, place: Place, task: _Task, export: Export) -> None:
    done = [work for work in task.annotations if not work.was_cancelled]
    if not done:
        export.leave_out(place, "not annotated")
        return
    if len(done) > 1:
        export.leave_out(place, "further annotations of a task: only the first counts")
    try:
        photo, name = _photo(source, task.data)
    except DataError as error:
        export.wrong(place, str(error))
        return
    regions: list[Region] = []
    boxed, present = set[str](), set[str]()
    size = None
    for number, entry in enumerate(done[0].result):
        where = Place(place.file, f"{place.at}, result[{number}]")
        result = typed(_Result, entry, where, export)
        if result is None or (value := result.typed_value(where, export)) is None:
            continue
        if result.original_width and result.original_height:
            size = result.original_height, result.original_width
        if result.type == "choices":
            present.update(value.labels)
            continue
        shape = _shape(value, size) if size else None
        for label in value.labels:
            if shape is None:
                boxed.add(label)
                export.leave_out(where, f"the outline of {result.type}: only a tag")
            else:
                regions.append(Region(label, shape, where))
    record = Record(name_of(photo, name), photo, place, size, tuple(regions))
    export.records.append(replace(record, present=frozenset(present), boxed=frozenset(boxed)))


def _photo(source: Source, data: Mapping[str, Any]) -> tuple[Path, str]:
    """The photo of a task and its name: as it was uploaded, from local files or from an address."""
    text = next((str(data[key]) for key in ("image", "img", "photo", "ocr") if key in data), "")
    text = text or next((str(value) for value in data.values() if isinstance(value, str)), "")
    address = urlsplit(text)
    if not text.strip():
        raise DataError(f"it names no photo in its data ({', '.join(data)}): add it")
    path = str(clean(unquote(parse_qs(address.query).get("d", [address.path])[0])))
    uploaded = re.sub(r"^[0-9a-f]{8}-", "", clean(path).name)  # the tool puts 8 digits before the name
    first: DataError | None = None
    for name in (path, str(clean(path).with_name(uploaded))):
        try:
            return source.find_photo(name), uploaded if path.startswith("data/upload/") else clean(path).name
        except DataError as error:
            first = first or error
    raise first or DataError("it names no photo")


def _shape(value: _Value, size: tuple[int, int]) -> Polygons | Bitmap | None:
    """The pixels of a result; coordinates are percent of the photo."""
    height, width = size
    if value.points is not None:
        return Polygons((np.array(value.points).reshape(-1, 2) * (width / 100, height / 100),))
    if value.radiusX is not None:
        x, radius_x = value.x * width / 100, value.radiusX * width / 100
        y, radius_y = value.y * height / 100, value.radiusY * height / 100
        return Polygons((ellipse(x, y, radius_x, radius_y, value.rotation or 0),))
    return None if value.rle is None else Bitmap(partial(brush, value.rle, height, width))


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
