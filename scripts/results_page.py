"""Writes docs/results.md: the text of a hand-written page with the tables of finished runs in it.

    python scripts/results_page.py scripts/results.md RUNS

RUNS has a folder of runs for each table, or a link to it: OUT of benchmark_tags.py, outputs/ablation/synthetic, ...
The text is a template (Jinja): ``{{ table("animals") }}`` is the table of RUNS/animals, ``{{ facts("animals") }}`` says
steps, splits, seeds, time and settings. ``only=["all", "neither"]`` chooses rows, ``full="fully_supervised"`` names the
one of the upper bound, if it is not ``full``. ``{% include "did_not_help.md" %}`` takes in a file beside the text.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmark_tags import FULL, by_setting, table
from weakshot_seg.errors import DataError, UserError
from weakshot_seg.reporting.runs import Run, find_runs
from weakshot_seg.reporting.summary import describing

OUT = Path(__file__).parents[1] / "docs" / "results.md"


def page(text: Path, runs: Path) -> str:
    """The filled-in text; a DataError if a folder or a row is missing, or a run is not finished."""
    environment = Environment(
        loader=FileSystemLoader(text.parent), undefined=StrictUndefined, keep_trailing_newline=True
    )

    def table_of(folder: str, full: str = FULL, only: Sequence[str] = ()) -> str:
        return table(by_setting(trainings(runs / folder, only)), full)

    def facts_of(folder: str, only: Sequence[str] = ()) -> str:
        return facts([run for _, run in trainings(runs / folder, only)])

    return environment.get_template(text.name).render(table=table_of, facts=facts_of)


def trainings(folder: Path, only: Sequence[str] = ()) -> list[tuple[str, Run]]:
    """All runs of a folder with the names of their settings, in the order of ``only`` if it is given."""
    found = [(setting(run.folder.relative_to(folder.resolve())), run) for run in find_runs([folder])]
    names = list(dict.fromkeys(name for name, _ in found))
    if unknown := set(only) - set(names):
        raise DataError(f"{folder} has no runs of {', '.join(sorted(unknown))}, only of {', '.join(names)}")
    chosen = [pair for wanted in only or names for pair in found if pair[0] == wanted]
    if unfinished := [f"{run.folder} is {run.state}" for _, run in chosen if run.result is None]:
        raise DataError(f"means need finished runs: {'; '.join(unfinished)}")
    return chosen


def setting(place: Path) -> str:
    """The folder that holds the splits, without ``runs``; what is in ``retrain`` is re-trained."""
    again = place.name == "retrain"
    parts = (place.parent if again else place).parent.parts
    name = "/".join(parts[1:] if parts[:1] == ("runs",) else parts)
    return f"{name}, re-trained" if again else name


def facts(runs: Sequence[Run]) -> str:
    """Such as "12 trainings of 800 steps, split 1 to 4, seed 0, 13 minutes each (median); settings: preset=laptop"."""
    steps, splits, seeds = (
        sorted({value for value in values if value is not None})
        for values in zip(*((run.measured.step, run.split, run.seed) for run in runs), strict=True)
    )
    minutes = median(run.measured.seconds for run in runs) / 60
    common = set.intersection(*(describing(run) for run in runs))
    settings = " ".join(f"{key}={value}" for key, value in sorted(common) if "/" not in value)  # no folders
    text = f"{len(runs)} trainings of {_span(steps)} steps, split {_span(splits)}, seed {_span(seeds)}, "
    return f"{text}{minutes:.0f} minutes each (median)" + (f"; settings: `{settings}`" if settings else "")


def _span(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) if len(numbers) < 3 else f"{numbers[0]} to {numbers[-1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    try:
        args.out.write_text(page(args.text, args.runs), encoding="utf-8")
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
