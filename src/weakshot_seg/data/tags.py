"""What is known of images beside their masks, from a table: ``tags.csv``."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import Problem
from weakshot_seg.data.class_names import unknown_class
from weakshot_seg.data.images import IMAGE_SUFFIXES
from weakshot_seg.utils.files import reading

FILE = "tags.csv"
"""Looked for in the root of a data set if no other file is named."""
HEADER = ["image", "classes"]
COLUMNS = [*HEADER, "absent", "annotated"]
SEPARATOR = ";"
ALL = "*"
"""In the columns ``absent`` and ``annotated``: all classes that the other columns do not name."""
NO_MASK = "says what is annotated in '{}', which has no mask: add it, or leave that column empty"


class _Cell(NamedTuple):
    """What the content of a cell means; the problem of each name that is no class."""

    classes: tuple[int, ...]
    everything: bool
    unknown: tuple[str, ...]


class _Said(NamedTuple):
    """A cell of the table."""

    line: int
    image: int
    cell: _Cell


class Tags:
    """What a CSV file says of images, in columns of class names separated by ``;``.

    - ``image``: a path within the folder of the images, with or without suffix;
    - ``classes``: classes that it shows;
    - ``absent`` (optional): classes that it does not show, ``*`` for all that are not named. Without this column these
      are all novel classes that are not named;
    - ``annotated`` (optional): classes of which its mask has all pixels, ``*`` for all that are not named in the other
      columns; where empty, all base classes.

    The columns of a header may stand in any order; without a header they are image and classes. Several lines of an
    image add up; a line without classes means that the image shows none that has tags. A tag counts only where the mask
    does not show the class and is not said to.

    Attributes:
        listed: bool ``[len(images)]``, the images that have a line.
        classes: bool ``[len(images), K]``; so are ``absent`` and ``annotated``.
        has_absent: whether there is that column: then classes that are not named may be there or not.
        problems: Lines that name an unknown image or class, contradict each other, or have another form.
    """

    def __init__(self, path: Path, images: Sequence[str], class_names: Sequence[str]) -> None:
        self._images, self._path = list(images), path
        self._index = {name: index for index, name in enumerate(images)}
        self._class_names = list(class_names)
        self.listed: NDArray[np.bool_] = np.zeros(len(images), dtype=bool)
        self.classes: NDArray[np.bool_] = np.zeros((len(images), len(class_names)), dtype=bool)
        self.absent, self.annotated = np.zeros_like(self.classes), np.zeros_like(self.classes)
        self.problems: list[Problem] = []
        self._said: dict[str, list[_Said]] = {column: [] for column in COLUMNS[1:]}
        self._cells: dict[tuple[str, str], _Cell] = {}  # few differ in tables of a million lines
        self._columns = HEADER
        remedy = "save it as CSV in UTF-8"
        with reading(f"the tags {path}", remedy), path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                cells = [normalize("NFC", cell.strip()) for cell in row]
                if any(cells) and not (reader.line_num == 1 and self._is_header([cell.lower() for cell in cells])):
                    self.problems += [
                        self._problem(reader.line_num, text) for text in self._add(reader.line_num, cells)
                    ]
        self.has_absent = "absent" in self._columns
        for column in COLUMNS[1:]:
            self._fill(column)
        for column in ("annotated", "absent"):  # after all that is named
            rest = [said.image for said in self._said[column] if said.cell.everything]
            getattr(self, column)[rest] |= ~(self.classes | self.absent | self.annotated)[rest]
        self.problems += self._told_twice()

    def covered(self, otherwise: NDArray[np.bool_] | np.bool_) -> NDArray[np.bool_]:
        """The annotated classes, ``otherwise`` (to be broadcast) for images of which none is named: bool ``[n, K]``."""
        return np.where(self.annotated.any(1, keepdims=True), self.annotated, otherwise)

    def contradictions(self, has_mask: NDArray[np.bool_], shown: NDArray[np.bool_]) -> list[Problem]:
        """Lines that contradict the masks, of which ``shown`` are the classes: bool ``[n]`` and ``[n, K]``."""
        found = {}  # one of a kind is enough for a line
        for said in self._said["absent"]:
            for class_id in said.cell.classes:
                if shown[said.image, class_id]:
                    text = (
                        f"says that '{self._images[said.image]}' does not show '{self._class_names[class_id]}', but "
                        "its mask does: correct one of them"
                    )
                    found[said.line, text] = self._problem(said.line, text)
        for said in self._said["annotated"]:
            name = self._images[said.image]
            if not has_mask[said.image]:
                text = NO_MASK.format(name)
                found[said.line, text] = self._problem(said.line, text)
                continue
            for class_id in said.cell.classes:
                if self.classes[said.image, class_id] and not shown[said.image, class_id]:
                    text = (
                        f"says that '{name}' shows '{self._class_names[class_id]}' and is annotated, but its mask does "
                        "not: correct one of them"
                    )
                    found[said.line, text] = self._problem(said.line, text)
        return list(found.values())

    def _problem(self, line: int, text: str) -> Problem:
        return Problem(self._path, f"line {line} of {self._path} {text}")

    def _is_header(self, cells: list[str]) -> bool:
        """Whether the first line names the columns; a mistake in it is a problem."""
        if "image" not in cells or not {"classes", *COLUMNS[2:]} & {*cells}:
            return False
        unknown = [cell for cell in cells if cell not in COLUMNS]
        if unknown or len({*cells}) < len(cells):
            mistake = f"has the unknown column '{unknown[0]}'" if unknown else "names a column twice"
            self.problems.append(self._problem(1, f"{mistake}: the columns are {', '.join(COLUMNS)}"))
        self._columns = cells
        return True

    def _add(self, line: int, cells: Sequence[str]) -> Iterator[str]:
        """Adds what a line says; yields what is wrong with it."""
        if len(cells) != len(self._columns):
            form = "image,class;class" if self._columns == HEADER else ",".join(self._columns)
            yield f"has {len(cells)} columns: write {form}"
            return
        row = dict(zip(self._columns, cells, strict=True))
        name = row.pop("image")
        index = self._image(name)
        if index is None:
            yield f"names the image '{name}', which is not there: add the image or remove the line"
            return
        self.listed[index] = True
        for column, content in row.items():
            if content and column in self._said:
                key = column, content
                if key not in self._cells:
                    self._cells[key] = self._parsed(*key)
                cell = self._cells[key]
                if cell.classes or cell.everything:
                    self._said[column].append(_Said(line, index, cell))
                yield from cell.unknown

    def _image(self, name: str) -> int | None:
        """The index of the image that a cell names, with or without suffix."""
        if (index := self._index.get(name)) is not None:
            return index
        stem, _, suffix = name.rpartition(".")
        if f".{suffix.lower()}" in IMAGE_SUFFIXES and (index := self._index.get(stem)) is not None:
            return index
        path = PurePosixPath(name)  # such as ./a//b.jpg; slow
        return self._index.get(str(path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path))

    def _parsed(self, column: str, content: str) -> _Cell:
        classes, everything, unknown = [], False, []
        for tag in filter(None, (part.strip() for part in content.split(SEPARATOR))):
            if tag in self._class_names:
                classes.append(self._class_names.index(tag))
            elif column != "classes" and tag == ALL:
                everything = True
            else:
                unknown.append(f"has the unknown class '{tag}': {unknown_class(tag, self._class_names)}")
        return _Cell(tuple(classes), everything, tuple(unknown))

    def _fill(self, column: str) -> None:
        """Makes the table of a column, without ``*``."""
        table, said = getattr(self, column), self._said[column]
        images = [one.image for one in said for _ in one.cell.classes]
        table[images, [class_id for one in said for class_id in one.cell.classes]] = True

    def _told_twice(self) -> Iterator[Problem]:
        for line, image, cell in self._said["absent"]:
            for class_id in cell.classes:
                if self.classes[image, class_id]:
                    yield self._problem(
                        line,
                        f"says that '{self._images[image]}' does not show '{self._class_names[class_id]}', which is "
                        "among its classes: remove one",
                    )
