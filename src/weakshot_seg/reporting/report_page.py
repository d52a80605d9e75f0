"""What the page of a report shows: tables, charts and pictures of runs."""

import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from weakshot_seg.reporting.pages import render
from weakshot_seg.reporting.runs import Run
from weakshot_seg.reporting.summary import Group, Score, Spread, Summary
from weakshot_seg.reporting.tables import ReportTables
from weakshot_seg.utils.files import noting_damage

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
Pair = tuple[float | None, float | None]
"""IoU of a run and of its reference."""


class Block(NamedTuple):
    """Pictures under a title with remarks; at first shown or folded."""

    title: str
    pictures: Sequence[Picture]
    is_open: bool = True
    remarks: Sequence[str] = ()


def report_page(summary: Summary, runs: Sequence[Run], tables: ReportTables, pictures: int) -> str:
    """The page; ``pictures``: best, median and worst images to show of each run."""
    groups = [group for group in summary.groups if group.scores]
    colours = [figures.COLOURS[index % len(figures.COLOURS)] for index in range(len(groups))]
    method = ([group for group in groups if not group.full] or groups)[-1:]  # the last before the upper bound
    damaged_logs: list[str] = []

    def blocks(draw: Callable[[Group, list[str]], list[Picture]]) -> list[Block]:
        remarks: list[list[str]] = [[] for _ in groups]
        made = [Block(g.title, draw(g, noted), g in method, noted) for g, noted in zip(groups, remarks, strict=True)]
        return [block for block in made if block.pictures or block.remarks]

    return render(
        "report.html",
        finished=sum(run.result is not None for run in runs),
        total=len(runs),
        has_full=any(group.full for group in groups),
        tables=tables,
        kinds=[("base", figures.BASE), ("novel", figures.NOVEL), ("fully supervised", figures.INK)],
        means=_means(groups) if groups else None,
        classes=blocks(_class_charts),
        confusions=blocks(_confusions),
        confusion_width=1100 if any(len(run.measured.classes) > 40 for group in groups for run in group.runs) else 500,
        colours=[(group.title, colour) for group, colour in zip(groups, colours, strict=True)],
        curves=_curves(groups, colours, damaged_logs),
        damaged_logs=damaged_logs,
        panels=blocks(lambda group, remarks: _panels(group, pictures, remarks)),
    )


def class_bars(scores: Sequence[Score]) -> Iterator[Bar]:
    """Mean IoU of every class over the runs in which it is base, and over those in which it is novel."""
    pairs: dict[tuple[str, bool], list[Pair]] = defaultdict(list)
    for score in scores:
        full = score.reference if score.reference is not score.run else None
        most = {c.name: c.iou for c in full.measured.classes} if full else {}
        for c in score.run.measured.classes:
            pairs[c.name, c.name in score.novel_classes].append((c.iou, most.get(c.name)))
    order = list(dict.fromkeys(name for name, _ in pairs))
    for name, novel in sorted(pairs, key=lambda place: (order.index(place[0]), place[1])):
        values, marks = zip(*pairs[name, novel], strict=True)
        yield _bar(name, novel, values, Spread.of(marks).mean)


def _bar(label: str, novel: bool, values: Iterable[float | None], mark: float | None = None) -> Bar:
    spread = Spread.of(values)
    text = "no ground truth" if spread.mean is None else str(spread)
    return Bar(label, spread.mean, novel, text, spread.deviation, mark)


def _means(groups: Sequence[Group]) -> Picture:
    kinds = [(group, novel) for group in groups for novel in (False, True)]
    bars = [_bar("" if novel else g.title, novel, [s.values[novel] for s in g.scores]) for g, novel in kinds]
    return figures.bar_chart("Base and novel IoU", bars, width=15.8)


def _class_charts(group: Group, _: list[str]) -> list[Picture]:
    bars = list(class_bars(group.scores))
    rows = -(-len(bars) // -(-len(bars) // ROWS))  # charts of nearly the same height
    return [figures.bar_chart(f"IoU by class: {group.title}", bars[i : i + rows]) for i in range(0, len(bars), rows)]


def _confusions(group: Group, remarks: list[str]) -> list[Picture]:
    charts = (_read(run, "confusion.csv", partial(_confusion, run), remarks) for run in group.runs)
    return [chart for chart in charts if chart]


def _confusion(run: Run, path: Path) -> Picture:
    counts, result = np.loadtxt(path, dtype=np.int64, delimiter=",", ndmin=2), run.measured
    if counts.shape != (len(result.classes),) * 2:
        raise ValueError(f"{counts.shape} numbers of {len(result.classes)} classes")
    return figures.confusion_chart(run.title, counts, result.class_names, result.novel)


def _curves(groups: Sequence[Group], colours: Sequence[str], remarks: list[str]) -> list[Block]:
    """Charts of what was logged; the remarks name the logs that cannot be read."""
    runs = [[run for run in group.runs if not run.evaluated] for group in groups]
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


def _panels(group: Group, count: int, remarks: list[str]) -> list[Picture]:
    """Ranked panels of all runs of a group; the first panels of those without ranks."""
    shown: list[Picture] = []
    for run in group.runs:
        panels = _read(run, "image_scores.csv", partial(_ranked, count=count), remarks) or []
        first = sorted(run.folder.glob("pictures/*.png"))[:count]
        for path, caption in panels or [(path, f"validation image {path.stem}") for path in first]:
            try:
                picture = Image.fromarray(read_image(path))
            except DataError:
                remarks.append(f"{path} cannot be read")
                continue
            picture.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
            shown.append(figures.jpeg(picture, f"{run.title}: {caption}"))
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
    remarks += [f"{run.title}: {remark}" for remark in damage]
    return None
