"""Tables as plain text, and cells of CSV files."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from shutil import get_terminal_size

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

WIDTH, TEXT_WIDTH = 100, 16  # characters in a line, if the terminal has no more, and in a column of text at least
BREAK = "\x1f"  # white space without width, for rich: lines may end after a slash too


@dataclass(frozen=True)
class Table:
    """A titled table."""

    title: str
    rows: tuple[tuple[str, ...], ...]  # the first is the head; all of one length
    sides: str  # "<" or ">" for each column: flush left or right


def aligned(rows: Sequence[tuple[str, ...]], sides: str) -> str:
    """The table as plain text, as wide as the terminal; long texts go on in the next line, those flush right never."""
    grid = Grid(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    needed = 0
    for side, column in zip(sides, zip(*rows, strict=True), strict=True):
        least = max(map(cell_len, column)) if side == ">" else TEXT_WIDTH
        grid.add_column(justify="right" if side == ">" else "left", min_width=min(least, max(map(cell_len, column))))
        needed += least + 2
    for row in rows:
        grid.add_row(*(Text(cell.replace("/", "/" + BREAK), overflow="fold") for cell in row))  # Text: no markup
    width = max(WIDTH, get_terminal_size((WIDTH, 0)).columns, needed)
    console = Console(file=StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as lines:
        console.print(grid)
    return "\n".join(line.rstrip() for line in lines.get().replace(BREAK, "").splitlines())


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, such as "sky, grass, water, ..."."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "none"


def number_text(value: float | None) -> str:
    """One digit after the point; "-" for None."""
    return "-" if value is None else f"{value:.1f}"


def csv_text(text: str) -> str:
    """A name for a cell of a CSV file: what a spreadsheet would take for a formula gets an apostrophe first."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
