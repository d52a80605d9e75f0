"""A folder or file that a tool has exported, and the photos it speaks of."""

import csv
import json
import xml.etree.ElementTree as ET
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from unicodedata import normalize
from xml.parsers import expat

from weakshot_seg.data.find_files import files_below
from weakshot_seg.data.images import IMAGE_SUFFIXES
from weakshot_seg.data.importers.records import Part
from weakshot_seg.errors import DataError
from weakshot_seg.utils.files import reading

EXPORT_AGAIN = "export it again"
PROBES = 5
"""JSON files of a folder that are read to tell its format."""
MASK_FOLDERS = {
    "segmentationclass",
    "segmentationobject",
    "masks",
    "mask",
    "annotations",
    "labels",
    "gtfine",
    "gtcoarse",
}
"""Folders (lower case) whose pictures are no photos, if a name without suffix is looked up."""


class Source:
    """One source of an import: a folder or a file, also a ZIP archive.

    Attributes:
        given: As the user names it.
        folder: The folder, or that of the file.
        others: Folders of the other sources of the same import: their photos may be meant.
        part: What its photos are for.
        classes: A file of names, or ids or colours with names, of masks.
        columns: Those of the photo and of the classes in a CSV file, if the user names them.
    """

    def __init__(
        self,
        path: Path,
        images: Sequence[Path] = (),
        part: Part = "training",
        classes: Path | None = None,
        columns: tuple[str | None, str | None] = (None, None),
    ) -> None:
        self.path, self.part, self.classes, self.columns, self.has_images = path, part, classes, columns, bool(images)
        self.given = path
        self.folder = path if path.is_dir() else path.parent
        self.others: Sequence[Path] = ()
        self._images = [Photos(folder) for folder in images]
        self._last_json: tuple[Path, Any] | None = None

    def unpack(self, folder: Path) -> None:
        """If the source is a ZIP archive, its content in a new ``folder`` takes its place."""
        if zipfile.is_zipfile(self.path):
            with reading(f"the archive {self.path}", EXPORT_AGAIN), zipfile.ZipFile(self.path) as archive:
                archive.extractall(folder)
            self.path = self.folder = folder

    @cached_property
    def files(self) -> list[Path]:
        """The file, or all files below the folder, sorted."""
        return files_below(self.path) if self.path.is_dir() else [self.path]

    @cached_property
    def photos(self) -> list["Photos"]:
        """Where photos are looked for: the folders that the user names, else the sources and what lies beside."""
        if self._images:
            return self._images
        beside = [] if self.path.is_dir() else [self.folder.parent]
        return [Photos(folder) for folder in dict.fromkeys((self.folder, *beside, *self.others))]

    def own_photos(self) -> list[Path]:
        """All photos in its folder, or in those that the user names."""
        folders = self._images or ([Photos(self.path)] if self.path.is_dir() else [])
        return [file for photos in folders for file in photos.files]

    def with_suffix(self, *suffixes: str) -> list[Path]:
        """Files of certain types."""
        return [file for file in self.files if file.suffix.lower() in suffixes]

    def find_photo(self, name: str) -> Path:
        """The photo that a tool names, with any folders of its own before it; a ``DataError`` if there are 0 or 2."""
        path = clean(name)
        for photos in self.photos:
            if found := photos.find(path):
                if len(found) > 1:
                    raise DataError(
                        f"two photos are named {name}: {found[0]} and {found[1]}: rename one, or give images=DIR"
                    )
                return found[0]
        places = " or ".join(str(photos.folder) for photos in self.photos)
        raise DataError(f"the photo {name} is not in {places}: add it, or say where the photos are with images=DIR")

    def json(self, file: Path) -> Any:
        """The content of a JSON file, the last one without reading it again; a ``DataError`` if it is broken."""
        if self._last_json is None or self._last_json[0] != file:
            with reading(file, EXPORT_AGAIN):
                self._last_json = file, json.loads(file.read_text("utf-8-sig"))
        return self._last_json[1]

    def json_files(self, is_ours: Callable[[Any], bool]) -> list[Path]:
        """All JSON files of the folders in which the first one that can be read is of a kind, broken ones included."""
        folders = defaultdict(list)
        for file in self.with_suffix(".json"):
            folders[file.parent].append(file)
        found: list[Path] = []
        for inside in folders.values():
            for file in inside[:PROBES]:
                try:
                    content = self.json(file)
                except DataError:
                    continue
                if is_ours(content):
                    found += inside
                    break
        return found


class Photos:
    """The photos in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _index(self) -> dict[str, list[Path]]:
        index = defaultdict(list)
        for file in self._pictures:
            index[normalize("NFC", file.name)].append(file)  # macOS writes ö as o and two dots
        for file in self.files:
            index[normalize("NFC", file.stem)].append(file)
        return index

    @cached_property
    def _pictures(self) -> list[Path]:
        return [file for file in files_below(self.folder) if is_photo(file)]

    @cached_property
    def files(self) -> list[Path]:
        """All pictures that lie in no folder of masks."""
        inner = (file.relative_to(self.folder).parts[:-1] for file in self._pictures)
        pairs = zip(self._pictures, inner, strict=True)
        return [file for file, parts in pairs if MASK_FOLDERS.isdisjoint(part.lower() for part in parts)]

    def find(self, path: PurePosixPath) -> list[Path]:
        """The file of this path, or those that share most of its end; also without suffix."""
        if (exact := self.folder / path).is_file():
            return [exact]
        path = PurePosixPath(normalize("NFC", str(path)))
        found = self._index.get(path.name) or self._index.get(path.stem if is_photo(path) else path.name, [])
        parts = path.parent.parts
        for start in range(len(parts)):
            if same := [file for file in found if _ends(file.parent, parts[start:])]:
                return same
        return found


def _ends(folder: Path, parts: Sequence[str]) -> bool:
    return tuple(normalize("NFC", part) for part in folder.parts[-len(parts) :]) == tuple(parts)


def clean(name: str) -> PurePosixPath:
    """A path as any system writes it, without the start of an absolute one and without ``..``."""
    path = PureWindowsPath(name) if "\\" in name else PurePosixPath(name)
    return PurePosixPath(*(part for part in path.parts if part not in (path.anchor, "..", "/")))


def name_of(photo: Path, name: str) -> str:
    """What a photo that a tool calls ``name`` is called in the data set: a path with ``/`` and its own suffix."""
    path = clean(name)
    if name.startswith("/") or PureWindowsPath(name).anchor:  # folders of somebody's computer
        path = PurePosixPath(path.name)
    return str(path.with_suffix("") if is_photo(path) else path) + photo.suffix


def is_photo(path: Path | PurePosixPath) -> bool:
    """Whether it has the suffix of a picture."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def xml_lines(file: Path) -> ET.Element:
    """The root of an XML file; elements have their line as attribute ``line``. A ``DataError`` if it is broken."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, attributes | {"line": str(parser.CurrentLineNumber)})

    def entity(*_: object) -> None:
        raise ValueError("it declares entities")

    parser.StartElementHandler, parser.EndElementHandler = start, builder.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = builder.data, entity
    with reading(file, EXPORT_AGAIN):
        parser.Parse(file.read_bytes(), True)
        return builder.close()


def csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of each line of a CSV file (``,`` or ``;`` or tab) that is not empty."""
    with reading(file, "save it as CSV in UTF-8"):
        text = file.read_text("utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)
        reader = csv.reader(text.splitlines(), delimiter=delimiter)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    yield from ((line, row) for line, row in rows if any(row))
