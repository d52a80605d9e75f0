"""Tags and lists of classes with changes, compared with a reading by hand."""

import csv
import io
import json
import posixpath
from pathlib import Path
from random import Random
from typing import Any
from unicodedata import category, normalize

from fuzzing.mutations import json_changed, text_changed
from fuzzing.verdict import Refused, require
from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.class_names import read_classes
from weakshot_seg.data.tags import COLUMNS, Tags

NAMES = ["heron", "großer Otter", "reed, dry", "lake"]
IMAGES = ["a", "b", "lake/c", "lake/Größe (1)", "d.e"]
TAGS = (
    'image,classes\na.jpg,heron\nb,"reed, dry;heron"\nlake/c.JPG,\nlake/Größe (1).png,großer Otter\n',
    "a.jpg,heron\nlake/c.jpg,lake;heron\nb.jpg,\n",
    'image,classes,absent,annotated\na.jpg,heron,*,\nb.jpg,,heron;"lake",*\nd.e.jpg,lake,großer Otter,heron\n',
    "absent,image,classes\r\nheron,a,lake\r\n,b,\r\n*,lake/c.jpg,heron;lake\r\n",
)
COUNTED = ("heron\nreed\nlake\n", "heron\r\n großer Otter \r\nlake", "\ufeffwall\nbuilding, edifice\nsky")
AS_JSON = (
    ["heron", "reed", "lake"],
    [{"id": 4, "name": "heron"}, {"id": 2, "name": "lake"}],
    {"categories": [{"id": 0, "name": "cat"}, {"id": 7, "name": "dog"}], "info": {"year": 2020}},
    {"0": "heron", "1": "lake", "2": "reed"},
    {"heron": 0, "lake": 3},
    {"names": {"0": "heron", "1": "großer Otter"}},
)


def tags(rng: Random, folder: Path) -> None:
    """Every class of every image is one that a line names."""
    text = rng.choice(TAGS).encode()
    path = folder / "tags.csv"
    path.write_bytes(text_changed(rng, text))
    with Refused.expected(path):
        table = Tags(path, IMAGES, [normalize("NFC", name) for name in NAMES])
        if table.problems:
            raise BadFiles(table.problems)
    said, has_absent = _tags_by_hand(path.read_bytes().decode("utf-8-sig"))
    require(table.has_absent == has_absent, "columns are mixed up")
    for column, tables in (("classes", table.classes), ("absent", table.absent), ("annotated", table.annotated)):
        for image, row in zip(IMAGES, tables, strict=True):
            mine = {name for name, yes in zip(NAMES, row.tolist(), strict=True) if yes}
            named = said.get(image, {}).get(column, set())
            if "*" in named:  # tested elsewhere
                require(named - {"*"} <= mine, f"{image}: {column} lack some of {named}")
            else:
                require(mine == named, f"{image}: {column} are {mine}, but the file says {named}")
    require(bool((table.listed == [image in said for image in IMAGES]).all()), "images are mixed up")


def _tags_by_hand(text: str) -> tuple[dict[str, dict[str, set[str]]], bool]:
    """Column and names of each image, and whether there is a column of absent classes."""
    rows = (
        list(csv.reader(io.StringIO(text, newline="")))
        if '"' in text
        else [line.split(",") for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line]
    )
    rows = [[normalize("NFC", cell.strip()) for cell in row] for row in rows]
    columns: list[str] = list(COLUMNS[:2])
    head = [cell.lower() for cell in rows[0]] if rows else []
    if "image" in head and set(head) & set(COLUMNS[1:]):
        columns, rows = head, rows[1:]
    said: dict[str, dict[str, set[str]]] = {}
    for row in filter(any, rows):
        cells = dict(zip(columns, row, strict=True))
        name = posixpath.normpath(cells.pop("image"))
        image = name if name in IMAGES else name.rpartition(".")[0]
        for column, cell in cells.items():
            names = {part.strip() for part in cell.split(";")} - {""}
            said.setdefault(image, {}).setdefault(column, set()).update(names)
    return said, "absent" in columns


def classes(rng: Random, folder: Path) -> None:
    """Every id has the name that stands there."""
    if rng.random() < 0.5:
        path = folder / "classes.txt"
        path.write_bytes(text_changed(rng, rng.choice(COUNTED).encode()))
    else:
        path = folder / "classes.json"
        content = json.dumps(rng.choice(AS_JSON), ensure_ascii=False).encode()
        path.write_bytes(json_changed(rng, content) if rng.random() < 0.6 else text_changed(rng, content))
    with Refused.expected(path):
        mine = read_classes(path, folder)
    text = path.read_bytes().decode("utf-8-sig")
    by_hand = _classes_of_json(json.loads(text)) if path.suffix == ".json" else dict(enumerate(_lines(text)))
    require(mine == {i: normalize("NFC", name.strip()) for i, name in by_hand.items()}, f"{mine} is not {by_hand}")
    require(list(mine) == sorted(mine), "ids are not in order")
    require(not any(category(c) == "Cc" for name in mine.values() for c in name), f"{mine} has control characters")


def _lines(text: str) -> list[str]:
    """As an editor shows them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n")


def _classes_of_json(content: Any) -> dict[int, str]:
    if isinstance(content, dict):
        for key in ("categories", "classes", "names"):
            if isinstance(content.get(key), list | dict):
                content = content[key]
                break
    if isinstance(content, dict):
        if all(isinstance(value, str) for value in content.values()):
            return {int(key): value for key, value in content.items()}
        return {int(value): key for key, value in content.items()}
    if all(isinstance(entry, str) for entry in content):
        return dict(enumerate(content))
    return {int(entry["id"]): entry["name"] for entry in content}
