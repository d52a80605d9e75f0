"""Runs of an import, and what they should give."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from weakshot_seg.data.checks import BadFiles
from weakshot_seg.data.importers.run import import_sources
from weakshot_seg.data.importers.source import Source

WIDTH, HEIGHT = 40, 30


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def run(out: Path, *sources: Path, **options: Any) -> SimpleNamespace:
    """An import, and what lies in the new folder."""
    given = {key: options.pop(key) for key in ("images", "classes", "columns") if key in options}
    done = import_sources([Source(source, **given) for source in sources], out, **options)
    with (out / "tags.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["image", "classes", "absent", "annotated"]
    folder = out / "annotations" / "training"
    return SimpleNamespace(
        done=done,
        classes=(out / "classes.txt").read_text().split("\n")[:-1],
        masks={path.relative_to(folder).as_posix(): np.asarray(Image.open(path)) for path in folder.rglob("*.png")},
        tags={name: tuple(cells) for name, *cells in rows},
        left_out={reason: len(places) for export in done.exports for reason, places in export.left_out.items()},
    )


def problems(out: Path, *sources: Path, **options: Any) -> list[str]:
    """What an import refuses, after a look that nothing is left of it."""
    before = sorted(out.parent.rglob("*"))
    with pytest.raises(BadFiles) as caught:
        run(out, *sources, **options)
    assert sorted(out.parent.rglob("*")) == before
    return [problem.message for problem in caught.value.problems]


def filled(*boxes: tuple[int, int, int, int, int], size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """A label map of rectangles (class, left, top, right, bottom), drawn by slices, the last one on top."""
    label_map = np.full((size[1], size[0]), 255, np.uint8)
    for number, left, top, right, bottom in boxes:
        label_map[top:bottom, left:right] = number
    return label_map
