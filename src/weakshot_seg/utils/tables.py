"""Tables and lists as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes:
        title: Above it.
        rows: The first is the head; all of one length.
        sides: "<" or ">" for each column: flush left or right.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]
    sides: str


def aligned(rows: Sequence[tuple[str, ...]], sides: str) -> str:
    """Rows as lines with columns of one width; for ``sides`` see :class:`Table`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{c:{s}{w}}" for c, s, w in zip(row, sides, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, such as "sky, grass, water, ..."."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "none"


def markdown(content: Table) -> str:
    """A heading and a table in Markdown; what would end a cell or start HTML is escaped."""
    head, *rows = (f"| {' | '.join(map(_cell, row))} |" for row in content.rows)
    rule = f"|{'|'.join('---:' if side == '>' else '---' for side in content.sides)}|"
    return "\n".join([f"## {_cell(content.title)}", "", head, rule, *rows])


def _cell(text: str) -> str:
    for character in "\\`*_{}[]<>|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
