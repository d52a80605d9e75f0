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


class _Said(NamedTuple):
    """A class in a cell of the table."""

    line: int
    column: str
    image: int
    class_id: int


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
        self._said: list[_Said] = []
        self._others: dict[str, list[tuple[int, int]]] = {"absent": [], "annotated": []}  # lines and images of ``*``
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
        for column, table in (("annotated", self.annotated), ("absent", self.absent)):
            chosen = [image for _, image in self._others[column]]
            table[chosen] |= ~(self.classes | self.absent | self.annotated)[chosen]
        self.problems += self._told_twice()

    def covered(self, otherwise: NDArray[np.bool_] | np.bool_) -> NDArray[np.bool_]:
        """The annotated classes, ``otherwise`` (to be broadcast) for images of which none is named: bool ``[n, K]``."""
        return np.where(self.annotated.any(1, keepdims=True), self.annotated, otherwise)

    def contradictions(self, has_mask: NDArray[np.bool_], shown: NDArray[np.bool_]) -> list[Problem]:
        """Lines that contradict the masks, of which ``shown`` are the classes: bool ``[n]`` and ``[n, K]``."""
        found = {}  # one of a kind is enough for a line
        for said in self._said:
            name, image = self._class_names[said.class_id], self._images[said.image]
            visible = shown[said.image, said.class_id]
            if said.column == "absent" and visible:
                text = f"says that '{image}' does not show '{name}', but its mask does: correct one of them"
            elif said.column == "annotated" and not has_mask[said.image]:
                text = NO_MASK.format(image)
            elif said.column == "annotated" and self.classes[said.image, said.class_id] and not visible:
                text = (
                    f"says that '{image}' shows '{name}' and is annotated, but its mask does not: correct one of them"
                )
            else:
                continue
            found[said.line, text] = self._problem(said.line, text)
        for line, index in self._others["annotated"]:
            if not has_mask[index]:
                text = NO_MASK.format(self._images[index])
                found[line, text] = self._problem(line, text)
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
        path = PurePosixPath(name)
        stem = str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name
        index = self._index.get(name, self._index.get(stem))
        if index is None:
            yield f"names the image '{name}', which is not there: add the image or remove the line"
            return
        self.listed[index] = True
        for column, table in zip(COLUMNS[1:], (self.classes, self.absent, self.annotated), strict=True):
            for tag in filter(None, (part.strip() for part in row.get(column, "").split(SEPARATOR))):
                if tag in self._class_names:
                    said = _Said(line, column, index, self._class_names.index(tag))
                    self._said.append(said)
                    table[index, said.class_id] = True
                elif column in self._others and tag == ALL:
                    self._others[column].append((line, index))
                else:
                    yield f"has the unknown class '{tag}': {unknown_class(tag, self._class_names)}"

    def _told_twice(self) -> Iterator[Problem]:
        for line, column, image, class_id in self._said:
            if column == "absent" and self.classes[image, class_id]:
                name = f"'{self._class_names[class_id]}'"
                text = f"says that '{self._images[image]}' does not show {name}, which is among its classes: remove one"
                yield self._problem(line, text)
