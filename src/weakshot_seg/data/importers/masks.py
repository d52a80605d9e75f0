"""Pictures of ids or colours with a table of names: ``labelmap.txt`` of CVAT, ``_classes.csv`` of Roboflow, others."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from weakshot_seg.data.class_names import FILES, read_classes
from weakshot_seg.data.importers.colour_table import is_table, read_table
from weakshot_seg.data.importers.records import Export, MaskFile, Place, Record, Value
from weakshot_seg.data.importers.source import Source, is_photo, name_of
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.files import reading

TITLE = "masks with a table of names"
FOLDERS = {"segmentationclass", "masks", "mask", "annotations", "labels"}
OF_TOOLS = (".json", ".xml", ".yaml", ".yml")
ENDS = ("_mask", "-mask", ".mask", "_labels", "_label", "_gt")
LISTS = ("ImageSets", "Segmentation")
"""The folder of VOC's lists of photos."""
TABLES = ("labelmap.txt", "_classes.csv", "class_dict.csv", "label_colors.txt", "colors.csv", *FILES)


def find(source: Source) -> list[Path]:
    """The mask files, if there is a table of their names."""
    if _table_of(source, source.folder) is None and not any(file.name in TABLES for file in source.files):
        return []
    pictures = [file for file in source.files if file.suffix.lower() in (".png", ".bmp", ".tif", ".tiff")]
    pictures = [file for file in pictures if "_gtFine_" not in file.name]  # Cityscapes
    named = [file for file in pictures if _is_mask(file, source.path)]
    of_tools = [file for file in source.with_suffix(*OF_TOOLS) if file.name not in TABLES]
    return named or (pictures if source.has_images and not of_tools else [])


def _is_mask(file: Path, root: Path) -> bool:
    folders = {part.lower() for part in file.relative_to(root).parts[:-1]} if file != root else set()
    return bool(folders & FOLDERS) or file.stem.lower().endswith(ENDS)


def _table_of(source: Source, folder: Path) -> Path | None:
    """The table for the masks of a folder: in it or the next one above, up to the source and the folder around it."""
    if source.classes is not None:
        return source.classes
    for place in (folder, *folder.parents):
        for name in TABLES:
            if (file := place / name).is_file():
                return file
        if place == source.folder.parent:
            break
    return None


def read(source: Source, files: list[Path]) -> Export:
    """One record for each mask, and for each photo that VOC's lists name and that has none: nothing is in it."""
    export = Export(TITLE)
    tables: dict[Path | None, dict[Value, str | None]] = {None: {}}
    for file in files:
        table = _table_of(source, file.parent)
        if table is None:
            export.wrong(Place(file), f"no file names its classes: add {' or '.join(TABLES[:3])}, or give classes=FILE")
        elif table not in tables:
            tables[table] = _classes(table, export)
            export.add_classes(name for name in tables[table].values() if name)
        if tables[table]:
            name = _photo_name(file, source.path)
            _add(source, name, Place(file), tables[table], (MaskFile(file, tables[table]),), export)
    with_mask = {_photo_name(file, source.path) for file in files}
    for file in (file for file in source.with_suffix(".txt") if file.parts[-3:-1] == LISTS):
        with reading(file, "write the name of a photo in each line"):
            lines = [line.strip() for line in file.read_text("utf-8-sig").splitlines()]
        classes = tables.get(_table_of(source, source.folder), {})
        for number, name in enumerate(lines, 1):
            if name and name not in with_mask:
                _add(source, name, Place(file, f"line {number}"), classes, (), export)
    return export


def _add(
    source: Source,
    name: str,
    place: Place,
    classes: Mapping[Value, str | None],
    masks: tuple[MaskFile, ...],
    export: Export,
) -> None:
    try:
        photo = source.find_photo(name)
    except DataError as error:
        export.wrong(place, str(error))
        return
    annotated = frozenset(known for known in classes.values() if known)
    export.records.append(Record(name_of(photo, name), photo, place, masks=masks, annotated=annotated))


def _classes(table: Path, export: Export) -> dict[Value, str | None]:
    """What the ids or colours of a table mean."""
    try:
        if is_table(table):
            return read_table(table)
        classes: dict[Value, str | None] = {IGNORE: None}
        classes |= dict(read_classes(table, table.parent).items())
        return classes
    except DataError as error:
        export.wrong(Place(table), str(error))
        return {}


def _photo_name(mask: Path, root: Path) -> str:
    """The name of the photo without suffix: the path of the mask below the folder of masks."""
    path = PurePosixPath(mask.relative_to(root).as_posix() if mask != root else mask.name)
    parts = [part for part in path.parts if part.lower() not in FOLDERS]
    name = PurePosixPath(*parts)
    stem = name.stem
    for end in ENDS:
        if stem.lower().endswith(end):
            stem = stem[: -len(end)]
            break
    return str(name.with_name(stem if not is_photo(PurePosixPath(stem)) else PurePosixPath(stem).stem))
