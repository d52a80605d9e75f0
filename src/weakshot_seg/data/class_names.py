"""Reading the names of the classes of a data set."""

import difflib
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from weakshot_seg.errors import DataError
from weakshot_seg.structures import IGNORE
from weakshot_seg.utils.files import reading

FILES = ("classes.json", "classes.txt", "names.txt")
"""Looked for in the root of a data set if no class names are given."""
REMEDY = 'write a text file with one name per line, or a JSON list, or {"categories": [{"id": 0, "name": "cat"}, ...]}'
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff]")
"""What ends lines in some programs and not in others, or cannot be written."""
LISTS = ("categories", "classes", "names")
"""Keys under which a JSON file may hold the classes; all else in it is ignored (COCO's annotation files will do)."""


def read_classes(given: Sequence[str] | str | Path | None, root: Path) -> dict[int, str]:
    """The id of each class in the masks, ascending, and its name.

    A text file has one name per line, for the ids 0, 1, 2, ...; JSON is a list of names, or of ``{"id", "name"}``, or
    ``{id: name}``, or ``{name: id}``, or an object with one of these under a key of :data:`LISTS`.

    ``given`` are the names themselves, or a file of them (relative to ``root``, the folder of the data set, or to the
    working directory), or None: the first of :data:`FILES` in ``root``.
    A ``DataError`` if there is none, it has another layout, or names or ids are missing, given twice or too high.
    """
    if given is not None and not isinstance(given, str | Path):
        return _valid(list(enumerate(given)), "data.class_names")
    places = [root / name for name in FILES] if given is None else [root / given, Path(given)]
    for path in places:
        if path.is_file():
            return _valid(_parse(path), str(path))
    if given is None:
        raise DataError(f"no class names in {root}: {REMEDY}, as {root / 'classes.txt'}, or set data.class_names")
    raise DataError(f"the file of class names {given} is neither in {root} nor in {Path.cwd()}: {REMEDY}")


def unknown_class(name: str, names: Sequence[str]) -> str:
    """What to say of a name that is no class: classes of similar names, or all of them."""
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(repr(c) for c in close)}?" if close else f"the classes are {', '.join(names)}"


def _parse(path: Path) -> list[tuple[int, object]]:
    """Pairs of id and name."""
    with reading(f"class names from {path}", REMEDY):
        text = path.read_text("utf-8-sig")  # Windows' editors write a mark first: it is no part of a name
        if path.suffix.lower() != ".json":
            return list(enumerate(line.strip() for line in text.rstrip().split("\n")))
        content = json.loads(text, object_pairs_hook=_object)
        if isinstance(content, dict):
            content = next((content[key] for key in LISTS if isinstance(content.get(key), list | dict)), content)
        if isinstance(content, dict):
            by_id = all(isinstance(value, str) for value in content.values())
            return [(_id(k), v) if by_id else (_id(v), k) for k, v in content.items()]
        if content and isinstance(content[0], dict):
            return [(_id(entry["id"]), entry["name"]) for entry in content]
        return list(enumerate(content))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, whose keys must differ: of two that do not Python would take the last."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"the key {twice[0]!r} is given twice")
    return dict(pairs)


def _id(value: object) -> int:
    """The id that JSON writes as a number, or as a key."""
    text = f"{value:g}" if isinstance(value, float) else str(value)  # 2.0 is a whole number
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"the id {value!r} is no whole number") from None


def _valid(classes: list[tuple[int, object]], origin: str) -> dict[int, str]:
    bad = [i for i, name in classes if not isinstance(name, str) or not name.strip()]
    if bad:
        raise DataError(f"class {bad[0]} of {origin} has no name: {REMEDY}")
    clean = {i: normalize("NFC", str(name).strip()) for i, name in sorted(classes, key=lambda pair: pair[0])}
    if hidden := [name for name in clean.values() if HIDDEN.search(name)]:
        raise DataError(f"{origin} names the class {hidden[0]!r}, with a character that is not shown: remove it")
    twice = [name for name, count in Counter(clean.values()).items() if count > 1]
    if twice:
        raise DataError(f"{origin} names the class '{twice[0]}' twice: class names must differ")
    if not 0 < len(classes) < IGNORE:
        raise DataError(f"{origin} has {len(classes)} class names: 1 to {IGNORE - 1} are possible")
    if len(clean) < len(classes) or not 0 <= min(clean) <= max(clean) < IGNORE:
        ids = f"the class ids in {origin} are {list(clean)}"
        raise DataError(f"{ids}: give every class an id of its own, 0 to {IGNORE - 1}")
    return clean
