"""The tables of a report."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple

from weakshot_seg.data.pseudo_labels import Manifest
from weakshot_seg.reporting.gains import find_gains
from weakshot_seg.reporting.runs import Run
from weakshot_seg.reporting.summary import Group, Spread, Summary
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.tables import Table, csv_text, number_text


class ReportTables(NamedTuple):
    """The tables of a report in their order; None where there is nothing to show."""

    means: Table
    gains: Table | None
    problems: Table | None
    scores: Table
    pseudo_labels: Table | None

    @classmethod
    def of(cls, summary: Summary, runs: Sequence[Run]) -> ReportTables:
        """All tables of these runs."""
        groups = summary.groups
        problems = problem_table(summary) if summary.problems else None
        return cls(group_table(groups), gain_table(groups), problems, score_table(groups), pseudo_label_table(runs))


IOUS = ("base IoU", "novel IoU", "all IoU", "harmonic IoU", "novel / full %")


def group_table(groups: Sequence[Group]) -> Table:
    """Mean and standard deviation over splits and seeds."""
    rows: list[tuple[str, ...]] = [("", *IOUS, "runs")]
    for group in groups:
        columns = zip(*((s.base, s.novel, s.all, s.harmonic, s.share) for s in group.scores), strict=True)
        spreads = [spread_text(Spread.of(column)) for column in columns] or ["-"] * len(IOUS)
        count = len(group.runs)
        runs = str(count) if group.full or count == group.expected else f"{count} of {group.expected}"
        rows.append((group.title, *spreads, runs))
    return Table("Mean and standard deviation over splits and seeds", tuple(rows), "<" + ">" * 6)


def gain_table(groups: Sequence[Group]) -> Table | None:
    """What each part adds; None if no groups can be compared."""
    rows = []
    for gain in find_gains(groups):
        points = map(_signed, (gain.base, gain.novel, gain.all))
        rows.append((gain.part, gain.before, gain.after, *points, f"{gain.better} of {gain.pairs}"))
    head = ("part", "without", "with", "base IoU", "novel IoU", "all IoU", "novel higher in")
    title = "Gain of each part in points: mean and standard deviation of differences split by split"
    return Table(title, (head, *rows), "<<<" + ">" * 4) if rows else None


def score_table(groups: Sequence[Group]) -> Table:
    """Every finished run; a fully supervised one under every split."""
    rows: list[tuple[str, ...]] = [("", "split", "seed", *IOUS, "run", "fully supervised")]
    for group in groups:
        for score in group.scores:
            values = (score.base, score.novel, score.all, score.harmonic, score.share)
            numbers = (number_text(value) for value in values)
            reference = score.reference.title if score.reference and score.reference is not score.run else "-"
            rows.append((group.title, _text(score.split), _text(score.seed), *numbers, score.run.title, reference))
    return Table("Runs", tuple(rows), "<" + ">" * 7 + "<<")


def problem_table(summary: Summary) -> Table:
    """What is not in the means."""
    rows = ((problem.what, problem.state, problem.reason) for problem in summary.problems)
    return Table("Not in the means", (("", "state", "reason"), *rows), "<<<")


def pseudo_label_table(runs: Sequence[Run]) -> Table | None:
    """Quality of the pseudo-labels that the runs have made; None if there are none."""
    rows = []
    for run in runs:
        folder = run.folder / "pseudo_labels"
        if not (folder / "manifest.json").exists():
            continue
        try:
            rows.append((run.title, *_label_cells(Manifest.read(folder))))
        except Exception:
            rows.append((run.title, "manifest.json cannot be read", *["-"] * 6))
    head = ("", "", "images", "novel IoU", "base accuracy", "tag precision", "tags found", "pixels labelled")
    return Table("Pseudo-labels", (head, *rows), "<<" + ">" * 6) if rows else None


def _label_cells(manifest: Manifest) -> tuple[str, ...]:
    """State, number of images and quality."""
    state = "complete" if manifest.complete else "unfinished"
    iou = manifest.quality.novel_iou if manifest.quality else None
    numbers = astuple(manifest.agreement) if manifest.agreement else [None] * 4
    return state, str(manifest.num_images), number_text(iou), *map(number_text, numbers)


def write_csv(path: Path, summary: Summary) -> None:
    """One row for each score, full precision, and one for each problem."""
    head = ("group", "run", "state", "reason", "split", "seed", "base_iou", "novel_iou", "miou", "harmonic_iou")
    rows: list[tuple[object, ...]] = [(*head, "novel_share", "reference", "step", "seconds")]
    for group in summary.groups:
        for s in group.scores:
            place = (group.title, str(s.run.folder), "finished", "", s.split, s.seed)
            reference = str(s.reference.folder) if s.reference else ""
            cost = (s.run.measured.step, s.run.measured.seconds)
            rows.append((*place, s.base, s.novel, s.all, s.harmonic, s.share, reference, *cost))
    rows += [("", problem.what, problem.state, problem.reason, *[""] * 10) for problem in summary.problems]
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        csv.writer(file).writerows([csv_text(c) if isinstance(c, str) else c for c in row] for row in rows)


def spread_text(spread: Spread | None) -> str:
    """Such as "45.2 ± 1.3"."""
    if spread is None:
        return "-"
    return f"{spread.mean:.1f}" + ("" if spread.deviation is None else f" ± {spread.deviation:.1f}")


def _signed(spread: Spread | None) -> str:
    text = spread_text(spread)
    return f"+{text}" if spread and not text.startswith("-") else text


def _text(value: int | None) -> str:
    return "-" if value is None else str(value)
