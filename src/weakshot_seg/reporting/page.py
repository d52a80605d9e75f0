"""A report as one HTML page."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from weakshot_seg.data.images import read_image
from weakshot_seg.errors import DataError
from weakshot_seg.reporting import html
from weakshot_seg.reporting.charts import COLOURS, Bar, bar_chart, line_chart
from weakshot_seg.reporting.curves import Curve, mean_line, names_of, read_curves
from weakshot_seg.reporting.runs import Run
from weakshot_seg.reporting.summary import Group, Score, Spread, Summary
from weakshot_seg.reporting.tables import (
    gain_table,
    group_table,
    problem_table,
    pseudo_label_table,
    score_table,
    spread_text,
)
from weakshot_seg.utils.damage import noting_damage

BASE, NOVEL = "#7aa6d6", "#d6336c"
PICTURE_WIDTH = 1000
ROWS = 20
"""Bars of one chart: more classes make more columns."""


def report_page(summary: Summary, runs: Sequence[Run], pictures: int) -> str:
    """The page; ``pictures``: best, median and worst images to show of each run."""
    groups = [group for group in summary.groups if group.scores]
    count = sum(run.result is not None for run in runs)
    parts = [
        html.note(f"{count} of {len(runs)} runs are finished. IoU in percent."),
        html.table(group_table(summary.groups)),
    ]
    if any(group.full for group in groups):
        parts.append(
            html.note(
                "A fully supervised model does not depend on the split: its IoU is divided into the base and novel "
                "classes of every split. The share is taken split by split."
            )
        )
    gains = gain_table(summary.groups)
    if gains:
        parts.append(html.table(gains))
    if summary.problems:
        parts.append(html.table(problem_table(summary)))
    if groups:
        parts.insert(2, _means(groups))
        parts += [_bars(groups), *_curves(groups), *_pictures(groups, pictures)]
    labels = pseudo_label_table(runs)
    if labels:
        parts += [
            html.table(labels),
            html.note(
                "Percent. Novel IoU is measured with the true masks, which nothing else reads; tag precision: novel "
                "predictions that are among the image's labels; tags found: labels that got a pixel; pixels labelled: "
                "of those outside the base masks."
            ),
        ]
    parts.append(html.table(score_table(summary.groups)))
    return html.page("Runs of weakshot_seg", parts)


def _means(groups: Sequence[Group]) -> str:
    bars = []
    for group in groups:
        for title, colour, spread in (
            (group.title, BASE, Spread.of(score.base for score in group.scores)),
            ("", NOVEL, Spread.of(score.novel for score in group.scores)),
        ):
            bars.append(_bar(title, colour, spread))
    key = html.key((("base", BASE), ("novel", NOVEL)))
    return f"<p></p>{key}{bar_chart('Base and novel IoU', bars, width=760, label_width=300)}"


def _bar(label: str, colour: str, spread: Spread | None, mark: float | None = None) -> Bar:
    mean, deviation = (spread.mean, spread.deviation) if spread else (None, None)
    return Bar(label, mean, colour, spread_text(spread) if spread else "no ground truth", deviation, mark)


def _bars(groups: Sequence[Group]) -> str:
    key = html.key((("base", BASE), ("novel", NOVEL), ("fully supervised", "#222630")))
    blocks = []
    for group in groups:
        bars = list(class_bars(group.scores))
        columns = -(-len(bars) // ROWS)
        rows = -(-len(bars) // columns)
        charts = (bar_chart(f"IoU by class: {group.title}", bars[i : i + rows]) for i in range(0, len(bars), rows))
        blocks.append(html.fold(group.title, f'<div class="bars">{"".join(charts)}</div>', group is _foremost(groups)))
    return f"<h2>IoU by class</h2>{key}{''.join(blocks)}"


def _foremost(groups: Sequence[Group]) -> Group:
    """The group to show at first: the last before the upper bound, which has most of the method."""
    return ([group for group in groups if not group.full] or groups)[-1]


def class_bars(scores: Sequence[Score]) -> Iterator[Bar]:
    """Mean IoU of every class over the runs in which it is base, and over those in which it is novel."""
    values: dict[tuple[str, bool], list[float | None]] = {}
    marks: dict[tuple[str, bool], list[float | None]] = {}
    for score in scores:
        assert score.run.result is not None
        full = score.reference.result if score.reference else None
        most = {c.name: c.iou for c in full.classes} if full else {}
        for c in score.run.result.classes:
            place = (c.name, c.name in score.novel_classes)
            values.setdefault(place, []).append(c.iou)
            if score.reference is not score.run:
                marks.setdefault(place, []).append(most.get(c.name))
    order = {name: index for index, (name, _) in reversed(list(enumerate(values)))}
    for place in sorted(values, key=lambda place: (order[place[0]], place[1])):
        name, novel = place
        spread, mark = Spread.of(values[place]), Spread.of(marks.get(place, ()))
        yield _bar(name, NOVEL if novel else BASE, spread, mark.mean if mark else None)


def _curves(groups: Sequence[Group]) -> Iterator[str]:
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
    colours = [COLOURS[index % len(COLOURS)] for index in range(len(groups))]
    key = html.key((group.title, colour) for group, colour in zip(groups, colours, strict=True))
    for title, names in sections.items():
        if names:
            charts = (_chart(name, groups, colours, read) for name in names)
            yield f'<h2>{escape(title)}</h2>{key}<div class="charts">{"".join(charts)}</div>'
    if everything:
        yield html.note("Over optimiser steps: the mean over the runs of a group, and the range they span.")
    yield from map(html.note, remarks)


def _read_curves(run: Run, remarks: list[str]) -> dict[str, Curve]:
    """The curves of a run, none if a log is damaged."""
    curves: dict[str, Curve] = {}
    damage: list[str] = []
    with noting_damage(run.folder / "csv", damage):
        curves = read_curves(run.folder)
    remarks += [f"{run.title}: {remark}" for remark in damage]
    return curves


def _chart(
    name: str, groups: Sequence[Group], colours: Sequence[str], read: Sequence[Sequence[dict[str, Curve]]]
) -> str:
    lines = []
    for group, colour, runs in zip(groups, colours, read, strict=True):
        curves = [run[name] for run in runs if name in run]
        if curves:
            lines.append(mean_line(group.title, colour, curves))
    short = name.removeprefix("train/").removeprefix("val/").removeprefix("pairs/")
    return line_chart(short.replace("_", " ").replace("iou", "IoU"), lines)


def _pictures(groups: Sequence[Group], count: int) -> Iterator[str]:
    blocks: list[str] = []
    for group in groups:
        figures = [figure for run in group.runs for figure in _figures(run, count)]
        if figures:
            panels = f'<div class="panels">{"".join(figures)}</div>'
            blocks.append(html.fold(group.title, panels, group is _foremost(groups)))
    if blocks:
        yield f"<h2>Best, median and worst validation images</h2>{''.join(blocks)}"


def _figures(run: Run, count: int) -> Iterator[str]:
    """Ranked panels of a run; the first panels if it has no ranks."""
    remarks: list[str] = []
    panels: list[tuple[Path, str]] = []
    with noting_damage(scores := run.folder / "image_scores.csv", remarks):
        panels = _ranked(scores, count)
    yield from (html.note(f"{run.title}: {remark}") for remark in remarks)
    pictures = sorted(run.folder.glob("pictures/*.png"))[:count]
    for path, caption in panels or [(path, f"validation image {path.stem}") for path in pictures]:
        try:
            picture = Image.fromarray(read_image(path))
        except DataError:
            yield html.note(f"{path} cannot be read")
            continue
        picture.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
        yield html.figure(picture, f"{run.title}: {caption}")


def _ranked(scores: Path, count: int) -> list[tuple[Path, str]]:
    """Files and captions of the ranked panels; none without ``scores``. Raises what :func:`noting_damage` notes."""
    if not scores.exists():
        return []
    with scores.open(encoding="utf-8", newline="") as file:
        shown = {Path(row["panel"]).name: row for row in csv.DictReader(file) if row.get("panel")}
    wanted = [f"{rank}_{number}" for rank in ("best", "median", "worst") for number in range(1, count + 1)]
    ranked = [(name, shown[f"{name}.png"]) for name in wanted if f"{name}.png" in shown]
    return [
        (
            scores.parent / "ranked" / f"{name}.png",
            f"{name.split('_')[0]}, mIoU {float(row['miou']):.1f}: {row['image']}",
        )
        for name, row in ranked
    ]
