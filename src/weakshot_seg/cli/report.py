"""Compares runs: ``weakshot report DIR...``.

Gathers every training and evaluation in and below the folders: means over splits and seeds, novel IoU as a share of the
fully supervised model, what each part of the method adds, IoU by class, curves, pictures, pseudo-labels. Writes
OUT.html (one file, needs no network), OUT.md and OUT.csv, and prints the tables. Failed, unfinished and missing runs
are listed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from weakshot_seg.config.compose import entry_point
from weakshot_seg.reporting.page import report_page
from weakshot_seg.reporting.runs import find_runs
from weakshot_seg.reporting.summary import summarise
from weakshot_seg.reporting.tables import (
    gain_table,
    group_table,
    problem_table,
    pseudo_label_table,
    score_table,
    write_csv,
)
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.tables import markdown


@entry_point
def main(arguments: Sequence[str] | None = None) -> None:
    """Writes and prints as the command line says; see ``--help``."""
    options = _parser().parse_args(arguments)
    report([Path(folder).expanduser() for folder in options.folders], Path(options.out).expanduser(), options.pictures)


def report(folders: Sequence[Path], out: Path, pictures: int = 1) -> None:
    """Writes ``out`` with the endings ``.html``, ``.md`` and ``.csv``; prints the means and what is not in them.

    Raises:
        DataError: see :func:`~weakshot_seg.reporting.runs.find_runs`.
    """
    runs = find_runs(folders)
    summary = summarise(runs)
    problems = problem_table(summary) if summary.problems else None
    short = [table for table in (group_table(summary.groups), gain_table(summary.groups), problems) if table]
    labels = pseudo_label_table(runs)
    tables = [*short, score_table(summary.groups), *([labels] if labels else [])]
    with replacing(out.with_name(f"{out.name}.html")) as page:
        page.write_text(report_page(summary, runs, pictures), "utf-8", "backslashreplace")
    with replacing(out.with_name(f"{out.name}.md")) as text:
        text.write_text("\n\n".join(["# Runs", *map(markdown, tables)]) + "\n", "utf-8", "backslashreplace")
    with replacing(out.with_name(f"{out.name}.csv")) as table:
        write_csv(table, summary)
    # file names in errors need not be valid UTF-8
    print("\n\n".join(map(markdown, short)).encode("utf-8", "backslashreplace").decode())
    print(f"\nreport: {out.absolute()}.html, .md, .csv")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weakshot report",
        description=__doc__.split("\n", 2)[2] if __doc__ else None,
        epilog="Example: weakshot report outputs/ablation --out outputs/ablation/report",
    )
    parser.add_argument("folders", metavar="DIR", nargs="+", help="folders of runs, or folders above them")
    parser.add_argument("--out", metavar="OUT", default="report", help="files to write, without ending (report)")
    parser.add_argument("--pictures", metavar="N", type=int, default=1, help="best, median and worst of each run (1)")
    return parser


if __name__ == "__main__":
    main()
