"""COCO: instances, stuff, panoptic and image labels; LVIS, with its lists of verified absent classes.

An annotation without ``segmentation`` says that the class is in the photo, and not where. A crowd is of its class.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weakshot_seg.data.importers.records import Export, MaskFile, Place, Polygons, Record, Region, RunLengths, Value
from weakshot_seg.data.importers.source import Source, name_of
from weakshot_seg.errors import DataError

TITLE = "COCO, LVIS"


def _is_ours(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("images"), list) and "categories" in content


def find(source: Source) -> list[Path]:
    """JSON files with images and categories."""
    return source.json_files(_is_ours)


def read(source: Source, files: list[Path]) -> Export:
    """One record for each image that a file lists."""
    export = Export(TITLE)
    for file in files:
        try:
            content = source.json(file)
            if _is_ours(content):
                _File(source, file, content, export).read()
            else:
                export.leave_out(Place(file), "no images with categories")
        except DataError as error:
            export.wrong(Place(file), str(error))
    return export


class _File:
    def __init__(self, source: Source, file: Path, content: Mapping[str, Any], export: Export) -> None:
        self.source, self.file, self.content, self.export = source, file, content, export
        self.names: dict[Any, str] = {}

    def read(self) -> None:
        self.names = {entry["id"]: str(entry["name"]) for _, entry in self._entries("categories", "id", "name")}
        by_image: dict[Any, list[tuple[Place, Any]]] = defaultdict(list)
        for place, entry in self._entries("annotations", "image_id"):
            by_image[entry["image_id"]].append((place, entry))
        used = {entry.get("category_id") for entries in by_image.values() for _, entry in entries}
        parents = {entry.get("supercategory") for entry in self.content["categories"] if isinstance(entry, dict)}
        # Roboflow lists the project as a category, of which all others are parts
        self.names = {number: name for number, name in self.names.items() if number in used or name not in parents}
        self.export.add_classes(self.names.values())
        named: dict[str, Place] = {}
        for place, image in self._entries("images", "id", "file_name"):
            if (other := named.setdefault(image["file_name"], place)) is not place:
                self.export.wrong(place, f"the photo {image['file_name']} is also {other.at}: list it once")
            else:
                self._image(place, image, by_image.pop(image["id"], []))
        for entries in by_image.values():
            for place, entry in entries:
                self.export.wrong(place, f"it is of the image {entry['image_id']}, which is not listed: add it")

    def _entries(self, key: str, *needed: str) -> Iterator[tuple[Place, Any]]:
        """The entries of a list and where they are; those that lack something are problems."""
        for index, entry in enumerate(self.content.get(key) or []):
            number = f" (id {entry['id']})" if isinstance(entry, dict) and "id" in entry else ""
            place = Place(self.file, f"{key}[{index}]{number}")
            lacking = [name for name in needed if name not in entry] if isinstance(entry, dict) else needed
            if lacking:
                self.export.wrong(place, f"{lacking[0]} is missing: export it again")
            else:
                yield place, entry

    def _image(self, place: Place, image: Any, entries: list[tuple[Place, Any]]) -> None:
        regions: list[Region] = []
        masks: list[MaskFile] = []
        present: set[str] = set()
        for where, entry in entries:
            if "segments_info" in entry:
                masks += self._panoptic(where, entry)
            elif name := self._name(where, entry):
                if shape := self._shape(where, entry.get("segmentation")):
                    regions.append(Region(name, shape, where))
                else:
                    present.add(name)
        try:
            photo = self.source.find_photo(image["file_name"])
        except DataError as error:
            self.export.wrong(place, str(error))
            return
        size = (image["height"], image["width"]) if image.get("height") and image.get("width") else None
        absent, annotated = frozenset[str](), frozenset(self.names.values()) - present
        if "neg_category_ids" in image:  # LVIS: of all other classes nothing is known
            absent = self._listed(image, "neg_category_ids")
            drawn = {region.name for region in regions}
            annotated = (absent | drawn) - self._listed(image, "not_exhaustive_category_ids") - present
        name = name_of(photo, image["file_name"])
        self.export.records.append(
            Record(
                name, photo, place, size, (*regions,), (*masks,), frozenset(present), absent=absent, annotated=annotated
            )
        )

    def _listed(self, image: Any, key: str) -> frozenset[str]:
        return frozenset(self.names[number] for number in image.get(key, ()) if number in self.names)

    def _name(self, place: Place, entry: Any) -> str | None:
        if (number := entry.get("category_id")) in self.names:
            return self.names[number]
        known = ", ".join(map(str, list(self.names)[:5]))
        self.export.wrong(place, f"its category {number} is unknown; the file lists {known}, ...: add it to categories")
        return None

    def _shape(self, place: Place, segmentation: Any) -> Polygons | RunLengths | None:
        try:
            if isinstance(segmentation, dict):
                counts, (height, width) = segmentation["counts"], segmentation["size"]
                return RunLengths(counts if isinstance(counts, str) else tuple(map(int, counts)), (height, width))
            if segmentation:
                return Polygons(tuple(np.array(flat, dtype=np.float64).reshape(-1, 2) for flat in segmentation))
        except (KeyError, TypeError, ValueError):
            self.export.wrong(
                place, "its segmentation is neither polygons of x, y, x, y, ... nor run lengths: draw it again"
            )
        return None

    def _panoptic(self, place: Place, entry: Any) -> list[MaskFile]:
        classes: dict[Value, str | None] = {(0, 0, 0): None}
        for segment in entry["segments_info"]:
            number = segment["id"]
            classes[number & 255, number >> 8 & 255, number >> 16] = self._name(place, segment)
        folders = (self.file.parent / self.file.stem, self.file.parent, *self.source.folder.glob("*panoptic*"))
        for folder in folders:
            if (mask := folder / entry["file_name"]).is_file():
                return [MaskFile(mask, classes)]
        self.export.wrong(
            place, f"its mask {entry['file_name']} is neither in {folders[0]} nor in {folders[1]}: add it"
        )
        return []
