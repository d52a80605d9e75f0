"""Files that a disk, an editor or a killed process has spoilt: they are told of, and the others are read."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
    MemoryError,
    csv.Error,
    yaml.YAMLError,
)
"""What reading and checking JSON, YAML and CSV of any content raises."""


@contextmanager
def noting_damage(file: Path, remarks: list[str]) -> Iterator[None]:
    """Adds to ``remarks`` that ``file`` cannot be read, and why, if the block that reads it fails."""
    try:
        yield
    except DAMAGE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        remarks.append(f"{file.name} cannot be read ({reason[:200]})")  # some errors quote the file
