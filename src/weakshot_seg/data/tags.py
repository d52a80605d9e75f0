"""Image-level labels from a table: ``tags.csv``."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from weakshot_seg.data.checks import Problem
from weakshot_seg.data.class_names import unknown_class
from weakshot_seg.data.images import IMAGE_SUFFIXES
from weakshot_seg.utils.files import reading

FILE = "tags.csv"
"""Looked for in the root of a data set if no other file is named."""
HEADER = ["image", "classes"]
SEPARATOR = ";"


class Tags:
    """The classes of images, from a CSV file of two columns: image, and class names separated by ``;``.

    The image is a path within the folder of the images, with or without suffix. A header ``image,classes`` is left out.
    Several lines of an image add up; a line without classes means that the image shows none that has tags. A tag of a
    base class counts only where there is no mask: a mask shows all base classes.

    Attributes:
        listed: bool ``[len(images)]``, the images that have a line.
        classes: bool ``[len(images), K]``.
        problems: Lines that name an unknown image or class, or have another form.
    """

    def __init__(self, path: Path, images: Sequence[str], class_names: Sequence[str]) -> None:
        self._images = {name: index for index, name in enumerate(images)}
        self._class_names = list(class_names)
        self.listed: NDArray[np.bool_] = np.zeros(len(images), dtype=bool)
        self.classes: NDArray[np.bool_] = np.zeros((len(images), len(class_names)), dtype=bool)
        self.problems: list[Problem] = []
        remedy = "save it as CSV in UTF-8"
        with reading(f"the tags {path}", remedy), path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                cells = [cell.strip() for cell in row]
                if any(cells) and (reader.line_num > 1 or [cell.lower() for cell in cells] != HEADER):
                    place = f"line {reader.line_num} of {path}"
                    self.problems += [Problem(path, f"{place} {message}") for message in self._add(cells)]

    def _add(self, row: Sequence[str]) -> Iterator[str]:
        """Adds the tags of a line; yields what is wrong with it."""
        if len(row) != len(HEADER):
            yield f"has {len(row)} columns: write image,class{SEPARATOR}class"
            return
        name, classes = row
        path = PurePosixPath(name)
        stem = str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name
        index = self._images.get(name, self._images.get(stem))
        if index is None:
            yield f"names the image '{name}', which is not there: add the image or remove the line"
            return
        self.listed[index] = True
        for tag in filter(None, (part.strip() for part in classes.split(SEPARATOR))):
            if tag in self._class_names:
                self.classes[index, self._class_names.index(tag)] = True
            else:
                yield f"has the unknown class '{tag}': {unknown_class(tag, self._class_names)}"
