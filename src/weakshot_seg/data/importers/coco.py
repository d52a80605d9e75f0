"""COCO: instances, stuff, panoptic and image labels; LVIS, with its lists of verified absent classes.

An annotation without ``segmentation`` says that the class is in the photo, and not where. A crowd is of its class.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Len, Lt
from pydantic import BaseModel

from weakshot_seg.data.importers.records import Export, MaskFile, Place, Polygons, Record, Region, RunLengths, Value
from weakshot_seg.data.importers.source import Source, name_of
from weakshot_seg.data.importers.typed import Model, typed
from weakshot_seg.errors import DataError

TITLE = "COCO, LVIS"
Id = int | str


class _Category(BaseModel):
    id: Id
    name: Annotated[str, Len(1)]
    supercategory: str | None = None


class _Image(BaseModel):
    id: Id
    file_name: Annotated[str, Len(1)]
    height: int | None = None
    width: int | None = None
    neg_category_ids: list[Id] | None = None
    not_exhaustive_category_ids: list[Id] = []


class _RunLengths(BaseModel):
    counts: str | list[int]
    size: tuple[int, int]


_Segmentation = _RunLengths | list[list[float]] | None


class _Segment(BaseModel):
    id: Annotated[int, Ge(0), Lt(2**24)]
    category_id: Id | None = None


class _Annotation(BaseModel):
    image_id: Id
    category_id: Id | None = None
    segmentation: _Segmentation = None


class _Panoptic(BaseModel):
    image_id: Id
    file_name: Annotated[str, Len(1)]
    segments_info: list[_Segment]


_OfImage = tuple[Place, _Annotation | _Panoptic]


def _is_ours(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in ("images", "categories"))


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
        self.names: dict[Id, str] = {}

    def read(self) -> None:
        categories = [category for _, category in self._entries("categories", _Category)]
        by_image: dict[Id, list[_OfImage]] = defaultdict(list)
        for place, entry in self._annotations():
            by_image[entry.image_id].append((place, entry))
        used = {entry.category_id for of in by_image.values() for _, entry in of if isinstance(entry, _Annotation)}
        # Roboflow lists the project as a category, of which all others are parts
        parents = {category.supercategory for category in categories}
        self.names = {c.id: c.name for c in categories if c.id in used or c.name not in parents}
        self.export.add_classes(self.names.values())
        named: dict[str, Place] = {}
        for place, image in self._entries("images", _Image):
            entries = by_image.pop(image.id, [])
            if (other := named.setdefault(image.file_name, place)) is not place:
                self.export.wrong(place, f"the photo {image.file_name} is also {other.at}: list it once")
            else:
                self._image(place, image, entries)
        for entries in by_image.values():
            for place, entry in entries:
                self.export.wrong(place, f"it is of the image {entry.image_id}, which is not listed: add it")

    def _annotations(self) -> Iterator[_OfImage]:
        entries = self.content.get("annotations")
        panoptic = isinstance(entries, list) and any(isinstance(e, dict) and "segments_info" in e for e in entries[:9])
        if panoptic:
            yield from self._entries("annotations", _Panoptic)
        else:
            yield from self._entries("annotations", _Annotation)

    def _entries(self, key: str, model: type[Model]) -> Iterator[tuple[Place, Model]]:
        """The entries of a list and where they are; those of another form are problems."""
        entries = self.content.get(key, [])
        if not isinstance(entries, list):
            self.export.wrong(Place(self.file), f"its {key} are no list: export it again")
            return
        for index, content in enumerate(entries):
            number = f" (id {content['id']})" if isinstance(content, dict) and "id" in content else ""
            place = Place(self.file, f"{key}[{index}]{number}")
            if (entry := typed(model, content, place, self.export)) is not None:
                yield place, entry

    def _image(self, place: Place, image: _Image, entries: Sequence[_OfImage]) -> None:
        regions: list[Region] = []
        masks: list[MaskFile] = []
        present: set[str] = set()
        for where, entry in entries:
            if isinstance(entry, _Panoptic):
                masks += self._panoptic(where, entry)
            elif name := self._name(where, entry.category_id):
                if shape := self._shape(where, entry.segmentation):
                    regions.append(Region(name, shape, where))
                else:
                    present.add(name)
        try:
            photo = self.source.find_photo(image.file_name)
        except DataError as error:
            self.export.wrong(place, str(error))
            return
        size = (image.height, image.width) if image.height and image.width else None
        absent, annotated = frozenset[str](), frozenset(self.names.values()) - present
        if image.neg_category_ids is not None:  # LVIS: of all other classes nothing is known
            absent = self._listed(image.neg_category_ids)
            drawn = {region.name for region in regions}
            annotated = (absent | drawn) - self._listed(image.not_exhaustive_category_ids) - present
        name = name_of(photo, image.file_name)
        record = Record(name, photo, place, size, (*regions,), (*masks,), boxed=frozenset(present))
        self.export.records.append(replace(record, absent=absent, annotated=annotated))

    def _listed(self, numbers: Sequence[Id]) -> frozenset[str]:
        return frozenset(self.names[number] for number in numbers if number in self.names)

    def _name(self, place: Place, number: Id | None) -> str | None:
        if number in self.names:
            return self.names[number]
        known = ", ".join(map(str, list(self.names)[:5]))
        self.export.wrong(place, f"its category {number} is unknown; the file lists {known}, ...: add it to categories")
        return None

    def _shape(
        self, place: Place, segmentation: _RunLengths | list[list[float]] | None
    ) -> Polygons | RunLengths | None:
        if isinstance(segmentation, _RunLengths):
            counts = segmentation.counts
            return RunLengths(counts if isinstance(counts, str) else tuple(counts), segmentation.size)
        if any(len(numbers) % 2 for numbers in segmentation or ()):
            self.export.wrong(place, "a polygon has an x without a y: draw it again")
            return None
        return Polygons(tuple(np.array(flat).reshape(-1, 2) for flat in segmentation)) if segmentation else None

    def _panoptic(self, place: Place, entry: _Panoptic) -> list[MaskFile]:
        classes: dict[Value, str | None] = {(0, 0, 0): None}
        for segment in entry.segments_info:
            colour = segment.id & 255, segment.id >> 8 & 255, segment.id >> 16
            classes[colour] = self._name(place, segment.category_id)
        folders = (self.file.parent / self.file.stem, self.file.parent, *self.source.folder.glob("*panoptic*"))
        for folder in folders:
            if (mask := folder / entry.file_name).is_file():
                return [MaskFile(mask, classes)]
        missing = f"its mask {entry.file_name} is neither in {folders[0]} nor in {folders[1]}"
        self.export.wrong(place, f"{missing}: add it")
        return []
