"""The ablation table: trains every variant on every split, a few jobs at a time, and prints means over the splits.

    python scripts/ablation.py --splits 1 2 3 4 --jobs 2 -- trainer.max_steps=800

What follows ``--`` goes to every ``weakshot_seg.train``. Finished runs are not repeated: call it again to continue or
only to print the table. The variants are those of ``weakshot_seg.train -m experiment=ablation``, several at a time.
The fully supervised model does not depend on the split: it is trained once per seed and its IoU is split into base and
novel afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VARIANTS = ("base_only", "neither", "with_complement", "with_similarity", "all", "fully_supervised")  # conf/variant
RETRAINED = "all, re-trained"  # the second stage of "all"


def main() -> None:
    """Parses the command line, runs what is missing, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time; the cores are shared out among them")
    parser.add_argument("--out", type=Path, default=Path("outputs/ablation"))
    parser.add_argument("overrides", nargs="*", help="for every training, after --")
    args = parser.parse_args()
    runs = [
        (variant, split, seed)
        for seed in args.seeds
        for split in args.splits
        for variant in args.variants
        if variant != "fully_supervised" or split == args.splits[0]
    ]
    threads = max(1, (os.cpu_count() or 1) // args.jobs)
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(lambda run: train(*run, args.out, args.overrides, threads), runs))
    print(table(args.out, args.variants, args.splits, args.seeds))


def folder(out: Path, variant: str, split: int, seed: int) -> Path:
    """Where a run lies."""
    return out / variant / f"split{split}-seed{seed}"


def train(variant: str, split: int, seed: int, out: Path, overrides: list[str], threads: int) -> None:
    """Runs one training in its own process, unless it is done."""
    target = folder(out, variant, split, seed)
    if (target / "done").exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "weakshot_seg.train", f"split={split}", f"seed={seed}", f"hydra.run.dir={target}"]
    with (target / "console.txt").open("w") as console:
        result = subprocess.run(
            [*command, f"variant={variant}", *overrides],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=console,
            stderr=subprocess.STDOUT,
        )
    if result.returncode == 0:
        (target / "done").touch()
    print(f"{variant}, split {split}, seed {seed}: {'done' if result.returncode == 0 else 'FAILED, see console.txt'}")


def table(out: Path, variants: list[str], splits: list[int], seeds: list[int]) -> str:
    """Mean and standard deviation over splits and seeds, as a Markdown table; failed and missing runs are counted."""
    rows = [
        "| variant | base IoU | novel IoU | all IoU | novel / fully supervised | runs |",
        "|---|---|---|---|---|---|",
    ]
    for variant in [*variants, *([RETRAINED] if "all" in variants else [])]:
        results, shares = [], []
        for split in splits:
            for seed in seeds:
                full = read(out, "fully_supervised", splits[0], seed)
                novel = novel_of_split(out, split, seed)
                run = full if variant == "fully_supervised" else read(out, variant, split, seed)
                if run is None or novel is None:
                    continue
                base_iou, novel_iou = means(run, novel)
                results.append((base_iou, novel_iou, run["miou"]))
                if full is not None:
                    shares.append(100 * novel_iou / means(full, novel)[1])
        cells = [spread(column) for column in zip(*results, strict=True)] or ["-"] * 3
        share = spread(tuple(shares)) + " %" if shares else "-"
        rows.append(f"| {variant} | {' | '.join(cells)} | {share} | {len(results)} of {len(splits) * len(seeds)} |")
    return "\n".join(rows)


def read(out: Path, variant: str, split: int, seed: int) -> dict | None:
    """``metrics.json`` of a finished run, or of its second stage."""
    target = folder(out, "all" if variant == RETRAINED else variant, split, seed)
    metrics = target / ("retrain/metrics.json" if variant == RETRAINED else "metrics.json")
    return json.loads(metrics.read_text()) if (target / "done").exists() and metrics.exists() else None


def novel_of_split(out: Path, split: int, seed: int) -> set[str] | None:
    """Names of the novel classes of a split, from any finished run of it."""
    finished = (read(out, variant, split, seed) for variant in VARIANTS)
    return next((set(run["novel_classes"]) for run in finished if run is not None), None)


def means(run: dict, novel: set[str]) -> tuple[float, float]:
    """Base and novel IoU of a run under the given split."""
    known = [c for c in run["classes"] if c["iou"] is not None]
    base_iou = statistics.mean(c["iou"] for c in known if c["name"] not in novel)
    return base_iou, statistics.mean(c["iou"] for c in known if c["name"] in novel)


def spread(values: tuple[float, ...]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
