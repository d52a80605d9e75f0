"""Tables of what ids or colours in masks mean, as tools and people write them."""

import re
from collections.abc import Iterator
from pathlib import Path

from weakshot_seg.data.importers.records import Value, is_class
from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.files import reading

REMEDY = "write lines of name,red,green,blue or of id,name"
BORDER = (224, 224, 192)
"""Colour of VOC's border between objects."""


def is_table(file: Path) -> bool:
    """Whether it has ids or colours beside the names, and not the names alone."""
    if file.suffix.lower() == ".json":
        return False
    lines = [numbers for _, numbers, _ in _lines(file)]
    return bool(lines) and all(len(numbers) in (1, 3) for numbers in lines[1:] or lines)


def read_table(file: Path) -> dict[Value, str | None]:
    """The class of each id or colour; None: pixels without a label, as those called background.

    Lines are ``name,r,g,b``, ``name:r,g,b:parts:actions`` (CVAT), ``r g b name`` (CamVid), ``#rrggbb,name`` or
    ``id,name``; a first line without numbers is a header. A ``DataError`` names the line of what is wrong.
    """
    table: dict[Value, str | None] = {}
    for line, numbers, name in _lines(file):
        if not numbers and not table:
            continue
        if len(numbers) not in (1, 3) or not name or max(numbers) > IGNORE:
            raise DataError(f"line {line} of {file} has not one name and one id or colour of 0 to 255: {REMEDY}")
        value: Value = numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])
        if value in table:
            raise DataError(f"line {line} of {file} has the id or colour {value} of another line: give each its own")
        table[value] = name if is_class(name) else None
    if len({isinstance(value, tuple) for value in table}) != 1:
        raise DataError(f"{file} has no ids or colours, or both: {REMEDY}")
    unlabelled: list[Value] = [(0, 0, 0), BORDER] if isinstance(next(iter(table)), tuple) else [IGNORE]
    return dict.fromkeys(unlabelled) | table


def _lines(file: Path) -> Iterator[tuple[int, list[int], str]]:
    """Number, numbers and name of each line that is no comment."""
    with reading(file, REMEDY):
        lines = file.read_text("utf-8-sig").splitlines()
    for line, text in enumerate(lines, 1):
        text = re.sub(r"^#\s.*", "", text.strip())  # a comment, and no colour
        if colour := re.search(r"#([0-9a-fA-F]{6})\b", text):
            value = int(colour[1], 16)
            text = text.replace(colour[0], f"{value >> 16},{value >> 8 & 255},{value & 255}")
        camvid = re.fullmatch(r"(\d+)\s+(\d+)\s+(\d+)\s+(.+)", text)
        parts = camvid.groups() if camvid else re.split(r"[:,;\t]", text)
        cells = [cell.strip().strip('"') for cell in parts if cell.strip()]
        numbers = [int(cell) for cell in cells if cell.isdecimal()]
        if cells:
            yield line, numbers, next((cell for cell in cells if not cell.isdecimal()), "")
