"""The formats that can be imported, and which one a source has."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

from weakshot_seg.data.importers import (
    cityscapes,
    coco,
    cvat,
    folders,
    label_studio,
    labelme,
    masks,
    supervisely,
    table,
    yolo,
)
from weakshot_seg.data.importers.records import Export
from weakshot_seg.data.importers.source import Source
from weakshot_seg.errors import ConfigError, DataError


class Format(Protocol):
    """A module that reads one format."""

    TITLE: str

    def find(self, source: Source) -> list[Path]:
        """The files of this format in a source; none: it has another one."""

    def read(self, source: Source, files: list[Path]) -> Export:
        """All that these files say; what is wrong with them is among its problems."""


FORMATS = cast(
    Mapping[str, Format],
    {
        "coco": coco,
        "cvat": cvat,
        "labelme": labelme,
        "label_studio": label_studio,
        "yolo": yolo,
        "supervisely": supervisely,
        "cityscapes": cityscapes,
        "masks": masks,
        "csv": table,
        "folders": folders,
    },
)


def read_source(source: Source, name: str) -> Export:
    """What a source holds, in the format ``name``, or in the one that it has (``auto``).

    A ``DataError`` if it has none or could have several, a ``ConfigError`` if it is not there.
    """
    if not source.path.exists():
        raise ConfigError(f"source={source.path} does not exist: give the file or folder that the tool has exported")
    if name not in ("auto", *FORMATS):
        raise ConfigError(f"format={name} is unknown: use auto or one of {', '.join(FORMATS)}")
    names = FORMATS if name == "auto" else [name]
    found = {name: files for name in names if (files := FORMATS[name].find(source))}
    if len(found) > 1:
        names_and_files = " or ".join(f"{name} ({files[0]})" for name, files in found.items())
        raise DataError(f"{source.path} could be {names_and_files}: give a part of it as source, or set format=")
    if not found:
        raise DataError(_nothing_found(source, name))
    chosen, files = next(iter(found.items()))
    export = FORMATS[chosen].read(source, files)
    export.unify_names()
    export.records = [replace(record, part=source.part) for record in export.records]
    return export


def _nothing_found(source: Source, name: str) -> str:
    for file in source.with_suffix(".json"):
        source.json(file)  # the reason, if one is broken
    if name == "auto":
        known = ", ".join(f"{name} ({module.TITLE})" for name, module in FORMATS.items())
        return f"{source.path} has none of the known formats: {known}"
    return f"{source.path} has nothing of format={name} ({FORMATS[name].TITLE}): give another format, or auto"
