"""How much tags teach: trains in every setting of the benchmark, and compares with masks of all classes.

    python scripts/benchmark_tags.py ROOT OUT --background background --overrides model.backbone.checkpoint=FILE
    python scripts/benchmark_tags.py ROOT OUT --settings tags_only --variant loss/teacher=none

ROOT is a folder for data=folder whose training photos all have masks. Settings: those of benchmark_settings.py; full
(masks of all classes), base_only (masks of the base classes alone) and cam (cam_baseline.py on the photos of
tags_only, then plain MaskFormer). --variant runs the settings once more with other settings of the training.

Called again it goes on where it stopped, and trains what is new. A fully supervised training is the same whatever the
split, so there is one, and each split divides its classes as its own. The table is OUT/table.md.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import cast, get_args

from benchmark_settings import SPLITS, Setting, make_setting
from weakshot_seg.errors import UserError
from weakshot_seg.reporting.results import Result
from weakshot_seg.reporting.runs import Run, read_run

FULL, BASE_ONLY, CAM = "full", "base_only", "cam"
SETTINGS = (*get_args(Setting), FULL, BASE_ONLY, CAM)
Rows = Mapping[str, Mapping[tuple[int, int], Result]]
"""Results of a setting, by split and seed."""


@dataclass(frozen=True)
class Job:
    """A training: the setting and split of its data, and what else the user changed."""

    setting: str
    split: int
    variant: tuple[str, ...]

    @property
    def name(self) -> str:
        """A row of the table, and the folder of its runs."""
        return " ".join([self.setting, *self.variant])

    def folder(self, out: Path) -> Path:
        """Where it is trained."""
        return out / "runs" / self.name.replace("/", "-").replace(" ", "_") / f"split{self.split}"


def main() -> None:
    """Trains what is missing, and writes the table after each training."""
    args = arguments()
    jobs = [
        Job(setting, split, tuple(args.variant))
        for split in args.splits
        for setting in args.settings
        if setting != FULL or split == args.splits[0]
    ]
    failed = [
        f"{job.name} of split {job.split}"
        for job in jobs
        if read_run(job.folder(args.out), job.name).result is None and not run(job, args)
    ]
    print(table(finished(args.out)))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}; the same command goes on")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--split-file", type=Path, help="default: splits.json of ROOT, else random splits")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--variant", nargs="+", default=[], help="settings of trainings to compare with the usual ones")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--background", help="see cam_baseline.py")
    parser.add_argument("--overrides", nargs="+", default=[], help="settings of all trainings")
    args = parser.parse_args()
    args.root, args.out = args.root.resolve(), args.out.resolve()
    return args


def run(job: Job, args: argparse.Namespace) -> bool:
    """Makes the data of a training, if need be, and trains; whether that went well."""
    kind = cast(Setting, {FULL: "complete", BASE_ONLY: "complete", CAM: "tags_only"}.get(job.setting, job.setting))
    data = args.out / "data" / kind / f"split{job.split}"
    if not (data / SPLITS).exists():
        make_setting(args.root, data, job.split, kind, args.split_file)
    words = [f"split={job.split}", f"data.split_file={data / SPLITS}", *args.overrides]
    commands = []
    if job.setting == CAM:
        source, data = data, args.out / "data" / CAM / f"split{job.split}"
        if not (data / SPLITS).exists():
            options = ["--steps", str(args.steps), *(["--background", args.background] if args.background else [])]
            commands += [[script("cam_baseline.py"), str(source), str(data), *options, "--overrides", *words]]
    supervision = {FULL: "full", CAM: "full", BASE_ONLY: "base_only"}.get(job.setting, "weakshot")
    own = [f"data.root={data}", f"trainer.max_steps={args.steps}", f"supervision={supervision}", *words, *job.variant]
    commands += [training(job.folder(args.out), *own)]
    if not all(call(command) for command in commands):
        return False
    (args.out / "table.md").write_text(table(finished(args.out)) + "\n", encoding="utf8")
    return True


def training(folder: Path, *settings: str) -> list[str]:
    """The command that trains in a folder, or goes on there."""
    started = any((folder / "checkpoints").glob("*.ckpt"))
    own = [f"hydra.run.dir={folder}", *(["resume=true"] if started else [])]
    return ["-m", "weakshot_seg.train", "experiment=folder", *settings, *own]


def call(command: Sequence[str]) -> bool:
    """Runs a command of Python, after printing it; whether that went well."""
    print(shlex.join(["python", *command]), flush=True)
    return subprocess.run([sys.executable, *command], check=False).returncode == 0


def script(name: str) -> str:
    """Path of another script."""
    return str(Path(__file__).with_name(name))


def finished(out: Path) -> Rows:
    """What the trainings so far have reached."""
    return by_setting((path.parent.name, read_run(path, path.name)) for path in sorted(out.glob("runs/*/split*")))


def by_setting(runs: Iterable[tuple[str, Run]]) -> Rows:
    """The results of finished runs, given with the names of their settings."""
    rows: dict[str, dict[tuple[int, int], Result]] = {}
    for name, run in runs:
        if run.result and run.split is not None and run.seed is not None:
            rows.setdefault(name, {})[run.split, run.seed] = run.result
    return rows


def table(rows: Rows, full: str = FULL) -> str:
    """IoU in percent, mean and deviation over splits and seeds, and the share of the novel IoU of the row ``full``.

    A training with all masks that has no run of some split stands in with one of another: the classes are divided anew.
    """
    novel = {place: result.novel for row in rows.values() for place, result in row.items()}
    spare = next(iter(rows.get(full, {}).values()), None)
    bounds = {place: bound for place in novel if (bound := rows.get(full, {}).get(place, spare))}
    lines = ["| setting | runs | base IoU | novel IoU | of full |", "|---|---:|---:|---:|---:|"]
    for name, results in rows.items():
        results = bounds if name == full else results
        means = [[iou(results[n], novel[n], side) for n in sorted(results)] for side in (False, True)]
        bound = [iou(bounds[n], novel[n], True) for n in sorted(results) if n in bounds]
        share = f"{100 * mean(means[1]) / mean(bound):.0f} %" if bound and mean(bound) else "-"
        lines.append(f"| {name} | {len(results)} | {spread(means[0])} | {spread(means[1])} | {share} |")
    return "\n".join(lines)


def iou(result: Result, novel: frozenset[str], is_novel: bool) -> float:
    """Mean over the novel or the base classes of a split that the validation photos show."""
    return mean(c.iou for c in result.classes if c.iou is not None and (c.name in novel) == is_novel)


def spread(values: Sequence[float]) -> str:
    """Such as ``40.1 ± 2.3``; the deviation is that of a sample."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
