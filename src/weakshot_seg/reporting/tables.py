"""The tables of a report."""

import csv
import io
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import NamedTuple, Self

from weakshot_seg.data.pseudo_labels import Manifest
from weakshot_seg.reporting.gains import gain_table
from weakshot_seg.reporting.pages import write_text
from weakshot_seg.reporting.runs import Run
from weakshot_seg.reporting.summary import Group, Spread, Summary
from weakshot_seg.utils.tables import Table, csv_text, number_text

IOUS = ("base IoU", "novel IoU", "all IoU", "harmonic IoU", "novel / full %")


class ReportTables(NamedTuple):
    """The tables of a report in their order; None where there is nothing to show."""

    means: Table
    gains: Table | None
    problems: Table | None
    scores: Table
    pseudo_labels: Table | None

    @classmethod
    def of(cls, summary: Summary, runs: Sequence[Run]) -> Self:
        """All tables of these runs."""
        groups, problems = summary
        left_out = Table("Not in the means", (("", "state", "reason"), *problems), "<<<") if problems else None
        return cls(group_table(groups), gain_table(groups), left_out, _score_table(groups), _pseudo_label_table(runs))


def group_table(groups: Sequence[Group]) -> Table:
    """Mean and standard deviation over splits and seeds."""
    rows: list[tuple[str, ...]] = [("", *IOUS, "runs")]
    for group in groups:
        columns = zip(*(score.values for score in group.scores), strict=True)
        spreads = [str(Spread.of(column)) for column in columns] or ["-"] * len(IOUS)
        count = len(group.runs)
        runs = str(count) if group.full or count == group.expected else f"{count} of {group.expected}"
        rows.append((group.title, *spreads, runs))
    return Table("Mean and standard deviation over splits and seeds", tuple(rows), "<" + ">" * 6)


def _score_table(groups: Sequence[Group]) -> Table:
    """Every finished run; a fully supervised one under every split."""
    rows: list[tuple[str, ...]] = [("", "split", "seed", *IOUS, "run", "fully supervised")]
    for group in groups:
        for score in group.scores:
            place = ("-" if number is None else str(number) for number in (score.split, score.run.seed))
            reference = score.reference.title if score.reference and score.reference is not score.run else "-"
            rows.append((group.title, *place, *map(number_text, score.values), score.run.title, reference))
    return Table("Runs", tuple(rows), "<" + ">" * 7 + "<<")


def _pseudo_label_table(runs: Sequence[Run]) -> Table | None:
    """Quality of the pseudo-labels that the runs have made; None if there are none."""
    rows: list[tuple[str, ...]] = []
    head = ("", "", "images", "novel IoU", "base accuracy", "tag precision", "tags found", "pixels labelled")
    for run in runs:
        if not (run.folder / "pseudo_labels" / "manifest.json").exists():
            continue
        try:
            manifest = Manifest.read(run.folder / "pseudo_labels")
        except Exception:
            rows.append((run.title, "manifest.json cannot be read", *["-"] * 6))
            continue
        state = "complete" if manifest.complete else "unfinished"
        quality = manifest.quality.novel_iou if manifest.quality else None
        agreement = astuple(manifest.agreement) if manifest.agreement else [None] * 4
        rows.append((run.title, state, str(manifest.num_images), *map(number_text, (quality, *agreement))))
    return Table("Pseudo-labels", (head, *rows), "<<" + ">" * 6) if rows else None


def write_csv(path: Path, summary: Summary) -> None:
    """One row for each score, full precision, and one for each problem."""
    head = ("group", "run", "state", "reason", "split", "seed", "base_iou", "novel_iou", "miou", "harmonic_iou")
    rows: list[tuple[object, ...]] = [(*head, "novel_share", "reference", "step", "seconds")]
    for group in summary.groups:
        for score in group.scores:
            run, reference = score.run, str(score.reference.folder) if score.reference else ""
            place = (group.title, str(run.folder), "finished", "", score.split, run.seed)
            rows.append((*place, *score.values, reference, run.measured.step, run.measured.seconds))
    rows += [("", *problem, *[""] * 10) for problem in summary.problems]
    file = io.StringIO()
    csv.writer(file).writerows([csv_text(c) if isinstance(c, str) else c for c in row] for row in rows)
    write_text(path, file.getvalue())
