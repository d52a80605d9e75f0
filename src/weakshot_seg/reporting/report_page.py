"""What the page of a report shows: tables, charts and pictures of runs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from weakshot_seg.data.images import read_image
from weakshot_seg.errors import DataError
from weakshot_seg.reporting.curves import Curve, mean_line, names_of, read_curves
from weakshot_seg.reporting.figures import BASE, COLOURS, INK, NOVEL, Bar, Picture, bar_chart, jpeg, line_chart
from weakshot_seg.reporting.pages import render
from weakshot_seg.reporting.runs import Run
from weakshot_seg.reporting.summary import Group, Score, Spread, Summary
from weakshot_seg.reporting.tables import ReportTables, spread_text
from weakshot_seg.utils.files import noting_damage

PICTURE_WIDTH = 1000
ROWS = 20
"""Bars of one chart: more classes make more charts."""


@dataclass(frozen=True)
class Block:
    """Pictures under a title, and what is to be remarked on them; at first shown or folded."""

    title: str
    pictures: Sequence[Picture]
    is_open: bool = True
    remarks: Sequence[str] = ()


def report_page(summary: Summary, runs: Sequence[Run], tables: ReportTables, pictures: int) -> str:
    """The page; ``pictures``: best, median and worst images to show of each run."""
    groups = [group for group in summary.groups if group.scores]
    curves, remarks = _curves(groups)
    return render(
        "report.html",
        finished=sum(run.result is not None for run in runs),
        total=len(runs),
        has_full=any(group.full for group in groups),
        tables=tables,
        kinds=[("base", BASE), ("novel", NOVEL), ("fully supervised", INK)],
        means=_means(groups) if groups else None,
        classes=[Block(group.title, _class_charts(group), group is _foremost(groups)) for group in groups],
        colours=[(group.title, colour) for group, colour in zip(groups, _colours(groups), strict=True)],
        curves=curves,
        remarks=remarks,
        panels=[block for group in groups if (block := _panels(group, pictures, group is _foremost(groups)))],
    )


def class_bars(scores: Sequence[Score]) -> Iterator[Bar]:
    """Mean IoU of every class over the runs in which it is base, and over those in which it is novel."""
    values: dict[tuple[str, bool], list[float | None]] = {}
    marks: dict[tuple[str, bool], list[float | None]] = {}
    for score in scores:
        most = {c.name: c.iou for c in score.reference.measured.classes} if score.reference else {}
        for c in score.run.measured.classes:
            place = (c.name, c.name in score.novel_classes)
            values.setdefault(place, []).append(c.iou)
            if score.reference is not score.run:
                marks.setdefault(place, []).append(most.get(c.name))
    order = {name: index for index, (name, _) in reversed(list(enumerate(values)))}
    for name, novel in sorted(values, key=lambda place: (order[place[0]], place[1])):
        mark = Spread.of(marks.get((name, novel), ()))
        yield _bar(name, novel, Spread.of(values[name, novel]), mark.mean if mark else None)


def _bar(label: str, novel: bool, spread: Spread | None, mark: float | None = None) -> Bar:
    if spread is None:
        return Bar(label, None, novel, "no ground truth", mark=mark)
    return Bar(label, spread.mean, novel, spread_text(spread), spread.deviation, mark)


def _means(groups: Sequence[Group]) -> Picture:
    bars = []
    for group in groups:
        bars.append(_bar(group.title, False, Spread.of(score.base for score in group.scores)))
        bars.append(_bar("", True, Spread.of(score.novel for score in group.scores)))
    return bar_chart("Base and novel IoU", bars, width=15.8)


def _class_charts(group: Group) -> list[Picture]:
    bars = list(class_bars(group.scores))
    rows = -(-len(bars) // -(-len(bars) // ROWS))  # charts of nearly the same height
    return [bar_chart(f"IoU by class: {group.title}", bars[i : i + rows]) for i in range(0, len(bars), rows)]


def _foremost(groups: Sequence[Group]) -> Group:
    """The group to show at first: the last before the upper bound, which has most of the method."""
    return ([group for group in groups if not group.full] or groups)[-1]


def _colours(groups: Sequence[Group]) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(len(groups))]


def _curves(groups: Sequence[Group]) -> tuple[list[Block], list[str]]:
    """Charts of what was logged, and which logs cannot be read."""
    remarks: list[str] = []
    read = [[_read_curves(run, remarks) for run in group.runs if not run.evaluated] for group in groups]
    everything = [curves for group in read for curves in group]
    others = ("train/pairs/", "train/weighted/", "train/grad_norm", "train/skipped_steps")
    losses = names_of(everything, "train/", others)
    sections = {
        "Validations": [n for n in ("val/base_iou", "val/novel_iou", "val/miou") if any(n in c for c in everything)],
        "Losses": sorted(losses, key=lambda name: name.count("/")),  # the sum first
        "Pairs of pixels: SimNet on base pixels": names_of(everything, "train/pairs/"),
        "Gradient norm": names_of(everything, "train/grad_norm"),
        "Skipped steps": names_of(everything, "train/skipped_steps"),
    }

    def chart(name: str) -> Picture:
        lines = [
            (mean_line(curves), colour)
            for runs, colour in zip(read, _colours(groups), strict=True)
            if (curves := [run[name] for run in runs if name in run])
        ]
        short = name.removeprefix("train/").removeprefix("val/").removeprefix("pairs/")
        return line_chart(short.replace("_", " ").replace("iou", "IoU"), lines)

    return [Block(title, list(map(chart, names))) for title, names in sections.items() if names], remarks


def _read_curves(run: Run, remarks: list[str]) -> dict[str, Curve]:
    """The curves of a run, none if a log is damaged."""
    curves: dict[str, Curve] = {}
    damage: list[str] = []
    with noting_damage(run.folder / "csv", damage):
        curves = read_curves(run.folder)
    remarks += [f"{run.title}: {remark}" for remark in damage]
    return curves


def _panels(group: Group, count: int, is_open: bool) -> Block | None:
    """Ranked panels of all runs of a group; the first panels of those without ranks; None without any."""
    remarks: list[str] = []
    shown: list[Picture] = []
    for run in group.runs:
        panels: list[tuple[Path, str]] = []
        damage: list[str] = []
        with noting_damage(scores := run.folder / "image_scores.csv", damage):
            panels = _ranked(scores, count)
        remarks += [f"{run.title}: {remark}" for remark in damage]
        pictures = sorted(run.folder.glob("pictures/*.png"))[:count]
        for path, caption in panels or [(path, f"validation image {path.stem}") for path in pictures]:
            try:
                picture = Image.fromarray(read_image(path))
            except DataError:
                remarks.append(f"{path} cannot be read")
                continue
            picture.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
            shown.append(jpeg(picture, f"{run.title}: {caption}"))
    return Block(group.title, shown, is_open, remarks) if shown or remarks else None


def _ranked(scores: Path, count: int) -> list[tuple[Path, str]]:
    """Files and captions of the ranked panels; none without ``scores``. Raises what :func:`noting_damage` notes."""
    if not scores.exists():
        return []
    with scores.open(encoding="utf-8", newline="") as file:
        rows = {Path(row["panel"]).stem: row for row in csv.DictReader(file) if row.get("panel")}
    wanted = [f"{rank}_{number}" for rank in ("best", "median", "worst") for number in range(1, count + 1)]
    return [
        (
            scores.parent / "ranked" / f"{name}.png",
            f"{name.split('_')[0]}, mIoU {float(rows[name]['miou']):.1f}: {rows[name]['image']}",
        )
        for name in wanted
        if name in rows
    ]
