"""How many tags and masks it takes: novel IoU by the number of tagged photos, base IoU by the number of masks.

    python scripts/benchmark_amounts.py ROOT OUT --overrides model.backbone.checkpoint=FILE

ROOT is a folder for data=folder with validation photos, whose training photos all have masks. Photos that show a novel
class have tags alone here, the others masks. Of one of the two kinds only so many are there; all of the other. Called
again it goes on where it stopped. OUT/amounts.png shows mean and deviation over the splits, OUT/amounts.md the numbers.
"""

import argparse
from pathlib import Path
from statistics import mean, stdev
from typing import Literal, NamedTuple

from matplotlib.figure import Figure

from benchmark_settings import SPLITS, make_setting
from benchmark_tags import call, iou, spread, training
from weakshot_seg.errors import DataError, UserError
from weakshot_seg.reporting.figures import BASE, NOVEL
from weakshot_seg.reporting.runs import read_run

Kind = Literal["tags", "masks"]
KINDS: dict[Kind, tuple[str, str]] = {
    "tags": ("novel IoU by tagged photos", NOVEL),
    "masks": ("base IoU by photos with masks", BASE),
}


class Job(NamedTuple):
    """A training with so many photos of a kind."""

    kind: Kind
    amount: int
    split: int

    def folder(self, out: Path, what: str) -> Path:
        """Where its ``data`` or ``runs`` are."""
        return out / what / f"{self.kind}{self.amount}" / f"split{self.split}"


def main() -> None:
    """Trains what is missing, and draws after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--amounts", type=int, nargs="+", default=[10, 30, 100, 300])
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=tuple(KINDS))
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--split-file", type=Path, help="default: splits.json of ROOT, else random splits")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--overrides", nargs="+", default=[], help="settings of all trainings")
    args = parser.parse_args()
    args.root, args.out = args.root.resolve(), args.out.resolve()
    if not (args.root / "images/validation").is_dir():
        raise DataError(f"{args.root} has no images/validation: nothing could be compared")
    failed = []
    for job in [Job(kind, amount, split) for amount in args.amounts for kind in args.kinds for split in args.splits]:
        folder, data = job.folder(args.out, "runs"), job.folder(args.out, "data")
        if read_run(folder, folder.name).result is None:
            if not (data / SPLITS).exists():
                make_setting(args.root, data, job.split, "tags_only", args.split_file, **{job.kind: job.amount})
            own = [f"data.root={data}", f"data.split_file={data / SPLITS}", f"split={job.split}"]
            if not call(training(folder, *own, f"trainer.max_steps={args.steps}", *args.overrides)):
                failed.append(f"{job.amount} {job.kind}, split {job.split}")
                continue
        draw(args.out)
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}; the same command goes on")


def measured(out: Path) -> dict[Kind, dict[int, list[float]]]:
    """By kind and number of photos, the IoU of the classes that they teach, in percent, of each split."""
    found: dict[Kind, dict[int, list[float]]] = {kind: {} for kind in KINDS}
    for kind, values in found.items():
        for path in sorted(out.glob(f"runs/{kind}*/split*")):
            amount, result = int(path.parent.name.removeprefix(kind)), read_run(path, path.name).result
            if result:
                values.setdefault(amount, []).append(iou(result, result.novel, kind == "tags"))
    return found


def draw(out: Path) -> None:
    """Figure and table of all trainings so far."""
    figure = Figure((6, 3.6), layout="constrained", facecolor="white")
    axes, lines = figure.subplots(), ["| photos | | IoU | splits |", "|---:|---|---:|---:|"]
    for kind, values in measured(out).items():
        title, colour = KINDS[kind]
        amounts = sorted(values)
        means = [mean(values[amount]) for amount in amounts]
        deviations = [stdev(values[amount]) if len(values[amount]) > 1 else 0.0 for amount in amounts]
        axes.errorbar(amounts, means, deviations, color=colour, marker="o", capsize=4, label=title)
        lines += [f"| {n} | {title} | {spread(values[n])} | {len(values[n])} |" for n in amounts]
    ticks = sorted({amount for values in measured(out).values() for amount in values})
    axes.set(xscale="log", xlabel="photos", ylabel="IoU, %", ylim=(0, None))
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.grid(color="#e6e8ec")
    axes.legend(frameon=False)
    figure.savefig(out / "amounts.png", dpi=130)
    (out / "amounts.md").write_text("\n".join(lines) + "\n", encoding="utf8")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
