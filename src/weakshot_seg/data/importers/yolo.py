"""YOLO segmentation (Ultralytics): a text file for each photo, with lines ``class x y x y ...`` in shares."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from weakshot_seg.data.images import image_size
from weakshot_seg.data.importers.records import Export, Place, Polygons, Record, Region
from weakshot_seg.data.importers.source import Source, name_of
from weakshot_seg.errors import DataError
from weakshot_seg.utils.files import reading

TITLE = "YOLO segmentation"
LISTS = ("classes.txt", "obj.names", "train.txt", "val.txt", "valid.txt", "test.txt")


def find(source: Source) -> list[Path]:
    """The text files, if there is a YAML file with names, or the folders are called as YOLO's."""
    texts = [file for file in source.with_suffix(".txt") if file.name not in LISTS and "labels" in file.parts]
    return texts if texts and _names_file(source) else []


def _names_file(source: Source) -> Path | None:
    files = [file for file in source.with_suffix(".yaml", ".yml") if "names" in _yaml(file)]
    return next(iter([*files, *(file for file in source.files if file.name in LISTS[:2])]), None)


def _yaml(file: Path) -> dict[Any, Any]:
    with reading(file, "write its names as a list"):
        content = yaml.safe_load(file.read_text("utf-8-sig"))
        return content if isinstance(content, dict) else {}


def read(source: Source, files: list[Path]) -> Export:
    """One record for each text file; an empty one says that none of the classes is in the photo."""
    export = Export(TITLE)
    file = _names_file(source)
    assert file is not None
    try:
        names = _names(file)
    except DataError as error:
        export.wrong(Place(file), str(error))
        return export
    export.add_classes(names.values())
    for text in files:
        try:
            _add(source, text, names, export)
        except DataError as error:
            export.wrong(Place(text), str(error))
    export.annotate(export.classes)
    return export


def _names(file: Path) -> dict[int, str]:
    if file.suffix in (".txt", ".names"):
        with reading(file, "write one name in each line"):
            return dict(enumerate(file.read_text("utf-8-sig").split("\n")))
    names = _yaml(file)["names"]
    with reading(f"the names in {file}", "write them as a list"):
        pairs = names.items() if isinstance(names, Mapping) else enumerate(names)
        return {int(number): str(name) for number, name in pairs}


def _add(source: Source, file: Path, names: Mapping[int, str], export: Export) -> None:
    inner = file.relative_to(source.folder).with_suffix("")
    as_images = Path(*("images" if part == "labels" else part for part in inner.parts))
    photo = source.find_photo(as_images.as_posix())
    height, width = image_size(photo)
    regions, boxed = [], set()
    with reading(file, "export it again"):
        lines = file.read_text("utf-8-sig").splitlines()
    for line, text in enumerate(lines, 1):
        place = Place(file, f"line {line}")
        if not (cells := text.split()):
            continue
        try:
            number, values = int(cells[0]), [float(cell) for cell in cells[1:]]
            if len(values) < 4 or len(values) % 2:
                raise ValueError
        except ValueError:
            export.wrong(place, "it is not a class and x y x y ...: export it again")
            continue
        if number not in names:
            export.wrong(place, f"the class {number} has no name; {len(names)} have: add it")
        elif len(values) == 4:
            boxed.add(names[number])
            export.leave_out(place, "the outline of a box: only a tag")
        else:
            points = np.array(values).reshape(-1, 2) * (width, height)
            regions.append(Region(names[number], Polygons((points,)), place))
    name = Path(*(part for part in inner.parts if part not in ("labels", "images"))).as_posix()
    record = Record(name_of(photo, name), photo, Place(file), None, tuple(regions))
    export.records.append(replace(record, boxed=frozenset(boxed)))
