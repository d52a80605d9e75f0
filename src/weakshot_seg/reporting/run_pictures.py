"""Charts and pictures of what lies in the folders of runs."""

import csv
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from weakshot_seg.data.images import read_image
from weakshot_seg.errors import DataError
from weakshot_seg.reporting import figures
from weakshot_seg.reporting.curves import mean_line, read_curves
from weakshot_seg.reporting.figures import Bar, Picture
from weakshot_seg.reporting.runs import Run
from weakshot_seg.utils.files import noting_damage
from weakshot_seg.utils.tables import number_text

PICTURE_WIDTH = 1000
ROWS = 20
"""Bars of one chart: more classes make more charts."""
APART = {
    "Pairs of pixels: SimNet on base pixels": "train/pairs/",
    "Gradient norm": "train/grad_norm",
    "Skipped steps": "train/skipped_steps",
}
"""Charts of their own, by title: how the names of their curves begin."""
T = TypeVar("T")


class Block(NamedTuple):
    """Pictures under a title with remarks; at first shown or folded."""

    title: str
    pictures: Sequence[Picture]
    is_open: bool = True
    remarks: Sequence[str] = ()


def bar_charts(title: str, bars: Sequence[Bar]) -> list[Picture]:
    """One chart, or several of nearly the same height."""
    rows = -(-len(bars) // -(-len(bars) // ROWS))
    return [figures.bar_chart(title, bars[i : i + rows]) for i in range(0, len(bars), rows)]


def class_charts(run: Run) -> list[Picture]:
    """IoU of every class of a finished run."""
    return bar_charts("IoU by class", class_bars((c.name, c.novel, c.iou) for c in run.measured.classes))


def class_bars(classes: Iterable[tuple[str, bool, float | None]]) -> list[Bar]:
    """Bars of the IoU of classes: name, whether it is novel, IoU in percent; None without ground truth."""
    return [
        Bar(name, iou, novel, "no ground truth" if iou is None else number_text(iou)) for name, novel, iou in classes
    ]


def confusions(runs: Iterable[Run], remarks: list[str]) -> list[Picture]:
    """The confusion matrices of runs; the remarks name those that cannot be read."""
    charts = (_read(run, "confusion.csv", partial(_confusion, run), remarks) for run in runs)
    return [chart for chart in charts if chart]


def confusion_width(runs: Iterable[Run]) -> int:
    """Pixels of the page that make the names of the classes legible."""
    return 1100 if any(len(run.measured.classes) > 40 for run in runs) else 500


def _confusion(run: Run, path: Path) -> Picture:
    counts, result = np.loadtxt(path, dtype=np.int64, delimiter=",", ndmin=2), run.measured
    if counts.shape != (len(result.classes),) * 2:
        raise ValueError(f"{counts.shape} numbers of {len(result.classes)} classes")
    return figures.confusion_chart(run.title, counts, result.class_names, result.novel)


def curve_sections(groups: Sequence[Sequence[Run]], colours: Sequence[str], remarks: list[str]) -> list[Block]:
    """Charts of what groups of runs logged; the remarks name the logs that cannot be read."""
    runs = [[run for run in group if not run.evaluated] for group in groups]
    logs = [[_read(run, "csv", read_curves, remarks) or {} for run in members] for members in runs]
    names = sorted({name for members in logs for curves in members for name in curves})
    others = ("train/weighted/", *APART.values())
    losses = [name for name in names if name.startswith("train/") and not name.startswith(others)]
    sections: dict[str, list[str]] = {
        "Validations": [name for name in ("val/base_iou", "val/novel_iou", "val/miou") if name in names],
        "Losses": sorted(losses, key=lambda name: name.count("/")),  # the sum first
    }
    for title, prefix in APART.items():
        sections[title] = [name for name in names if name.startswith(prefix)]

    def chart(name: str) -> Picture:
        lines = [
            (mean_line(curves), colour)
            for members, colour in zip(logs, colours, strict=True)
            if (curves := [log[name] for log in members if name in log])
        ]
        short = name.removeprefix("train/").removeprefix("val/").removeprefix("pairs/")
        return figures.line_chart(short.replace("_", " ").replace("iou", "IoU"), lines)

    return [Block(title, list(map(chart, names))) for title, names in sections.items() if names]


def panels(runs: Iterable[Run], count: int, remarks: list[str]) -> list[Picture]:
    """Ranked panels of all runs; the first panels of those without ranks."""
    shown: list[Picture] = []
    for run in runs:
        ranked = _read(run, "image_scores.csv", partial(_ranked, count=count), remarks) or []
        first = sorted(run.folder.glob("pictures/*.png"))[:count]
        for path, caption in ranked or [(path, f"validation image {path.stem}") for path in first]:
            try:
                picture = Image.fromarray(read_image(path))
            except DataError:
                remarks.append(f"{path} cannot be read")
                continue
            picture.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
            shown.append(figures.jpeg(picture, _of(run, caption)))
    return shown


def _ranked(scores: Path, count: int) -> list[tuple[Path, str]]:
    """Files and captions of the ranked panels."""
    with scores.open(encoding="utf-8", newline="") as file:
        rows = {Path(row["panel"]).stem: row for row in csv.DictReader(file) if row.get("panel")}
    wanted = [(rank, f"{rank}_{number}") for rank in ("best", "median", "worst") for number in range(1, count + 1)]
    return [
        (scores.parent / "ranked" / f"{name}.png", f"{rank}, mIoU {float(row['miou']):.1f}: {row['image']}")
        for rank, name in wanted
        if (row := rows.get(name))
    ]


def _read(run: Run, name: str, read: Callable[[Path], T], remarks: list[str]) -> T | None:
    """What ``read`` makes of a file or folder of a run; None without it and, with a remark, if it is damaged."""
    damage: list[str] = []
    if (path := run.folder / name).exists():
        with noting_damage(path, damage):
            return read(path)
    remarks += [_of(run, remark) for remark in damage]
    return None


def _of(run: Run, text: str) -> str:
    return f"{run.title}: {text}" if run.title else text
