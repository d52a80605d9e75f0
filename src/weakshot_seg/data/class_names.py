"""Reading the names of the classes of a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE

FILES = ("classes.json", "classes.txt", "names.txt")
"""Looked for in the root of a data set if no class names are given."""
REMEDY = (
    'write a text file with one name per line, or a JSON list of names, or {"classes": [{"id": 0, "name": "cat"}, ...]}'
)


def read_class_names(given: Sequence[str] | str | Path | None, root: Path) -> tuple[str, ...]:
    """The class names, by id.

    Args:
        given: The names themselves, or a file of them (relative to ``root`` or to the working directory), or None:
            the first of :data:`FILES` in ``root``.
        root: Folder of the data set.

    Raises:
        DataError: there is no such file, it has another layout, or names are missing or given twice.
    """
    if given is None:
        found = [root / name for name in FILES if (root / name).is_file()]
        if not found:
            raise DataError(f"no class names in {root}: {REMEDY}, as {root / 'classes.txt'}, or set data.class_names")
        return _valid(_parse(found[0]), str(found[0]))
    if not isinstance(given, str | Path):
        return _valid(list(given), "data.class_names")
    for path in (root / given, Path(given)):
        if path.is_file():
            return _valid(_parse(path), str(path))
    raise DataError(f"the file of class names {given} is neither in {root} nor in {Path.cwd()}: {REMEDY}")


def _parse(path: Path) -> list[object]:
    try:
        text = path.read_text("utf8")
        if path.suffix.lower() != ".json":
            return [line.strip() for line in text.rstrip().splitlines()]
        content = json.loads(text)
        if isinstance(content, dict):
            content = content["classes"] if "classes" in content else content["names"]
        if content and isinstance(content[0], dict):
            entries = sorted(content, key=lambda entry: int(entry["id"]))
            ids = [int(entry["id"]) for entry in entries]
            if ids != list(range(len(ids))):
                raise DataError(
                    f"the class ids in {path} are {ids[:5]}...: number the classes 0, 1, 2, ... without gaps"
                )
            return [entry["name"] for entry in entries]
        return list(content)
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"cannot read class names from {path} ({type(error).__name__}: {error}): {REMEDY}") from error


def _valid(names: list[object], origin: str) -> tuple[str, ...]:
    bad = [i for i, name in enumerate(names) if not isinstance(name, str) or not name.strip()]
    if bad:
        raise DataError(f"class {bad[0]} of {origin} has no name: {REMEDY}")
    clean = tuple(str(name).strip() for name in names)
    twice = sorted({name for name in clean if clean.count(name) > 1})
    if twice:
        raise DataError(f"{origin} names the class '{twice[0]}' twice: class names must differ")
    if not 0 < len(clean) < IGNORE:
        raise DataError(f"{origin} has {len(clean)} class names: 1 to {IGNORE - 1} are possible")
    return clean
