"""Cityscapes and its likes: ``gtFine/.../a_gtFine_polygons.json`` beside ``leftImg8bit/.../a_leftImg8bit.png``.

Without polygons the coloured pictures are read, with ``label_colors.txt``. Later polygons lie on earlier ones.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Len
from pydantic import BaseModel

from weakshot_seg.data.importers.colour_table import read_table
from weakshot_seg.data.importers.records import Export, MaskFile, Place, Polygons, Record, Region
from weakshot_seg.data.importers.source import Source, name_of
from weakshot_seg.data.importers.typed import Points, typed
from weakshot_seg.errors import DataError

TITLE = "Cityscapes"
LABELS = re.compile(r"(.+)_gt\w+_(polygons\.json|color\.png)")
COLOURS = "label_colors.txt"


class _Object(BaseModel):
    label: Annotated[str, Len(1)]
    polygon: Points
    deleted: bool = False


class _File(BaseModel):
    imgHeight: int
    imgWidth: int
    objects: list[_Object]


def find(source: Source) -> list[Path]:
    """The files of polygons, else the coloured pictures."""
    files = [file for file in source.files if LABELS.fullmatch(file.name)]
    return [file for file in files if file.suffix == ".json"] or files


def read(source: Source, files: list[Path]) -> Export:
    """One record for each file; all labels that any of them draws are drawn completely in all of them."""
    export = Export(TITLE)
    try:
        for file in (file for file in source.files if file.name == COLOURS):
            colours = read_table(file)
            export.add_classes(name for name in colours.values() if name)
            break
        else:
            colours = {}
    except DataError as error:
        export.wrong(Place(file), str(error))
        return export
    for label_file in files:
        try:
            _add(source, label_file, colours, export)
        except DataError as error:
            export.wrong(Place(label_file), str(error))
    export.add_classes(region.name for record in export.records for region in record.regions)
    export.annotate(export.classes)
    return export


def _add(source: Source, file: Path, colours: Mapping[Any, str | None], export: Export) -> None:
    match = LABELS.fullmatch(file.name)
    assert match is not None
    regions: list[Region] = []
    size = None
    if file.suffix == ".json":
        content = typed(_File, source.json(file), Place(file), export)
        if content is None:
            return
        size = content.imgHeight, content.imgWidth
        for layer, entry in enumerate(content.objects):
            label = entry.label.removesuffix("group")  # of several that cannot be told apart
            if not entry.deleted:
                outline = Polygons((np.array(entry.polygon),))
                regions.append(Region(label, outline, Place(file, f"objects[{layer}]"), layer))
    elif not colours:
        raise DataError(f"{COLOURS} is not in {source.folder}: add it")
    name = Path(file.parent.name, match[1]).as_posix()
    photo = source.find_photo(f"{name}_leftImg8bit")
    masks = () if file.suffix == ".json" else (MaskFile(file, colours),)
    export.records.append(Record(name_of(photo, name), photo, Place(file), size, tuple(regions), masks))
