"""``index.html`` in the folder of a run: its numbers, charts and pictures, its settings and how to repeat it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weakshot_seg.reporting import figures
from weakshot_seg.reporting.pages import render, write_text
from weakshot_seg.reporting.results import Result
from weakshot_seg.reporting.run_pictures import class_charts, confusion_width, confusions, curve_sections, panels
from weakshot_seg.reporting.runs import Run, read_run
from weakshot_seg.utils.tables import Table, number_text

FILE = "index.html"
PICTURES = 3
"""Best, median and worst images at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """How a run came about: the lines that repeat it, its settings as YAML, and the page of its second stage."""

    command: Sequence[str]
    settings: str
    second_stage: str | None = None


def write_run_page(folder: Path, origin: Origin) -> Path | None:
    """Writes the page; None, and a warning, if that fails: a run does not depend on it."""
    try:
        write_text(folder / FILE, run_page(read_run(folder, ""), origin))
    except Exception as error:
        log.warning("no %s in %s (%s: %s)", FILE, folder, type(error).__name__, error)
        return None
    return folder / FILE


def run_page(run: Run, origin: Origin | None) -> str:
    """The page of a finished run, one file that needs no network.

    Without an ``origin`` it is one to give away: numbers and charts, no photos, no settings, no paths.
    """
    remarks: list[str] = []
    return render(
        "run.html",
        title=", ".join(filter(None, (run.name, None if run.split is None else f"split {run.split}"))) or "Run",
        facts=_facts(run),
        means=_means(run.measured),
        kinds=[("base", figures.BASE), ("novel", figures.NOVEL)],
        classes=class_charts(run),
        panels=panels([run], PICTURES, remarks) if origin else [],
        confusions=confusions([run], remarks),
        confusion_width=confusion_width([run]),
        curves=curve_sections([[run]], [figures.COLOURS[0]], remarks),
        remarks=remarks,
        origin=origin,
    )


def _facts(run: Run) -> str:
    """What was measured when, in one line."""
    result = run.measured
    stage = {"retrain": "second stage, on pseudo-labels"}.get(run.stage or "", "")
    taught = {"base_only": "masks of the base classes alone", "full": "masks of all classes"}.get(run.supervision or "")
    time = f"{result.seconds / 60:.0f} minutes" if result.seconds >= 120 else f"{result.seconds:.0f} seconds"
    parts = [
        "evaluation of a checkpoint" if run.evaluated else stage,
        taught or "masks of the base classes, labels alone of the novel ones",
        None if run.seed is None or run.evaluated else f"seed {run.seed}",
        f"{result.step:,} steps",
        time,
    ]
    return "; ".join(filter(None, parts)) + "."


def _means(result: Result) -> Table:
    """IoU and accuracy of base, novel and all classes."""
    novel, count = len(result.novel), len(result.classes)
    rows = [
        ("base", result.base_iou, result.base_accuracy, count - novel),
        ("novel", result.novel_iou, result.novel_accuracy, novel),
        ("all", result.miou, result.mean_accuracy, count),
    ]
    cells = ((kind, number_text(iou), number_text(accuracy), str(number)) for kind, iou, accuracy, number in rows)
    return Table("Means in percent", (("", "IoU", "accuracy", "classes"), *cells), "<>>>")
