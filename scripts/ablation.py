"""The ablation table: trains every variant on every split, a few jobs at a time, and reports means over the splits.

    python scripts/ablation.py --splits 1 2 3 4 --jobs 2 -- trainer.max_steps=800

What follows ``--`` goes to every ``weakshot_seg.train``. Finished runs are not repeated: call it again to continue or
only to report. The variants are those of ``weakshot_seg.train -m experiment=ablation``, several at a time.
The fully supervised model does not depend on the split: it is trained once per seed and its IoU is split into base and
novel afterwards.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from weakshot_seg.report import report

VARIANTS = ("base_only", "neither", "with_complement", "with_similarity", "all", "fully_supervised")  # conf/variant


def main() -> None:
    """Parses the command line, runs what is missing, reports."""
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
    report([args.out], args.out / "report")


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


if __name__ == "__main__":
    main()
