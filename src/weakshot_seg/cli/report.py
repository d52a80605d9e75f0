"""Compares runs: ``weakshot report runs=[outputs/coco,outputs/ablation] out=report``.

Writes OUT.html (one file, needs no network), OUT.md and OUT.csv, and prints the means and what is not in them.
"""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from weakshot_seg.cli.entry_point import command
from weakshot_seg.reporting.pages import render, write_text
from weakshot_seg.reporting.report_page import report_page
from weakshot_seg.reporting.runs import find_runs
from weakshot_seg.reporting.summary import summarise
from weakshot_seg.reporting.tables import ReportTables, write_csv
from weakshot_seg.utils.tables import aligned


@command("report")
def main(cfg: DictConfig) -> None:
    """Writes and prints the report of ``runs``."""
    folders = [cfg.runs] if isinstance(cfg.runs, str) else cfg.runs
    report([Path(folder).expanduser() for folder in folders], Path(cfg.out).expanduser(), cfg.pictures)


def report(folders: Sequence[Path], out: Path, pictures: int) -> None:
    """Writes ``out`` with the endings ``.html``, ``.md`` and ``.csv``; prints the short tables."""
    runs = find_runs(folders)
    summary = summarise(runs)
    tables = ReportTables.of(summary, runs)
    write_text(f"{out}.html", report_page(summary, runs, tables, pictures))
    write_text(f"{out}.md", render("report.md", tables=list(filter(None, tables))))
    write_csv(Path(f"{out}.csv"), summary)
    short = filter(None, (tables.means, tables.gains, tables.problems))
    printed = "\n\n".join(f"{table.title}\n\n{aligned(table.rows, table.sides)}" for table in short)
    print(printed.encode("utf-8", "backslashreplace").decode())  # names of files need not be valid Unicode
    print(f"\nreport: {out.absolute()}.html, .md, .csv")
