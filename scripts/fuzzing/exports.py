"""What annotation tools export, with a change in a file: what is made of it fits together, or there is nothing."""

import csv
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from fuzzing.mutations import bytes_changed, json_changed, respelled, text_changed
from fuzzing.verdict import Refused, require
from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.importers.run import import_sources
from weakshot_seg.data.importers.source import Source
from weakshot_seg.data.readers.files import FolderImages
from weakshot_seg.errors import UserError
from weakshot_seg.structures import IGNORE

EXPORTS = Path(__file__).parents[2] / "tests" / "data" / "importers" / "exports"
YOLO = {
    "data.yaml": "names:\n  0: heron\n  1: big cat\n",
    "labels/train/a.txt": "1 0.1 0.1 0.5 0.1 0.5 0.6\n0 0.4 0.2 0.9 0.2 0.9 0.9 0.4 0.9\n",
    "labels/train/b.txt": "",
}
TABLE = {"labels.csv": "image,labels\na.jpg,heron;big cat\nb.jpg,heron\n", "names.txt": ""}
WRITTEN: Mapping[str, tuple[Mapping[str, str], str]] = {"yolo": (YOLO, "images/train"), "table": (TABLE, "")}
"""Exports that a few lines make: files, and the folder of the photos."""
NAMES = (*sorted(path.name for path in EXPORTS.iterdir()), *WRITTEN)
TEXTS = (".json", ".xml", ".txt", ".csv", ".yaml")


def _copy(name: str, folder: Path) -> Path:
    if name not in WRITTEN:
        shutil.copytree(EXPORTS / name, folder / name)
        if name == "datumaro_labels":  # comes without photos
            shutil.copytree(EXPORTS / "datumaro_coco" / "images", folder / name / "images")
        return folder / name
    files, photos = WRITTEN[name]
    for file, text in files.items():
        (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / file).write_text(text)
    for photo in ("a", "b"):
        (folder / name / photos).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(folder / name / photos / f"{photo}.jpg")
    return folder / name


def _content(out: Path) -> dict[str, Any]:
    """The pixels of each mask by the names of their classes, and the table."""
    names = [*(out / "classes.txt").read_text("utf-8").split("\n")[:-1]]
    by_id = np.array([*names, *("" for _ in range(IGNORE + 1 - len(names)))])
    masks = {path.name: by_id[np.asarray(Image.open(path))].tolist() for path in (out / "annotations").rglob("*.png")}
    with (out / "tags.csv").open(newline="", encoding="utf-8") as file:
        table = {row[0]: [{*cell.split(";")} for cell in row[1:]] for row in csv.reader(file)}
    return {"classes": {*names}, "masks": masks, "table": table}


@cache
def _truth(name: str, folder: Path) -> dict[str, Any]:
    import_sources([Source(_copy(name, folder / "truth"))], folder / "truth" / f"{name}_out")
    return _content(folder / "truth" / f"{name}_out")


def export(rng: Random, folder: Path) -> None:
    """Whole or not at all, every problem in a line, and readable; the same where the change says the same."""
    name = rng.choice(NAMES)
    truth = _truth(name, folder.parent)
    source, out = _copy(name, folder), folder / "out"
    files = [file for file in sorted(source.rglob("*")) if file.suffix in TEXTS]
    same, in_picture = rng.random() < 0.2, rng.random() < 0.1
    if same or not in_picture:
        _change(rng, rng.choice(files), same)
    else:
        file = rng.choice([file for file in sorted(source.rglob("*")) if file.suffix in (".png", ".jpg")])
        file.write_bytes(bytes_changed(rng, file.read_bytes()))
    try:
        import_sources([Source(source)], out)
    except UserError as error:
        messages = [problem.message for problem in error.problems] if isinstance(error, BadFiles) else [str(error)]
        require(all(message.isprintable() for message in messages), f"not a line each: {messages}")
        require(any(str(source) in message for message in messages), f"no file is named: {messages}")
        require(sorted(path.name for path in folder.iterdir()) == [name], "something is left of it")
        require(not same, f"refused, though it says the same: {messages}")
        raise Refused(messages[0]) from None
    require(sorted(path.name for path in folder.iterdir()) == sorted([name, "out"]), "something else is there")
    read = _content(out)
    require(not same or read == truth, "not the same, though it says the same")
    photos = {path.relative_to(out).parts[1] for path in (out / "images").rglob("*") if path.is_file()}
    for part in sorted(photos):
        masks = f"annotations/{part}" if any((out / "annotations" / part).rglob("*.png")) else None
        tags = "tags.csv" if part == "training" else None
        try:
            FolderImages(out, f"images/{part}", masks, tags=tags)
        except UserError as error:  # of photos an import reads the headers alone
            require(in_picture and "cannot read image" in str(error), f"what was made cannot be read: {error}")


def _change(rng: Random, file: Path, same: bool) -> None:
    content = file.read_bytes()
    if file.suffix == ".json":
        changed = respelled(rng, content) if same else json_changed(rng, content)
        if not same and rng.random() < 0.2:
            changed = bytes_changed(rng, content)
    elif same:
        changed = rng.choice([b"", b"\xef\xbb\xbf"]) + content.replace(b"\n", rng.choice([b"\r\n", b"\n"]))
    else:
        changed = text_changed(rng, content)
    file.write_bytes(changed)
