"""CPU seconds of what a user waits for: help, completion, refused settings, and a training up to its first step.

    python scripts/benchmark_startup.py

One thread, each command in a process of its own; the lowest of ``--repeats``. The last line is ``make train``.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ANSWERS = (
    "--help",
    "train --help",
    "train --cfg job",
    "-sc query=bash",
    "train model.dim=-1",
    "train +data.bach_size=4 experiment=coco data.root=DIR",
    "train optim._target_=weakshot_seg.training.optim.Lion",
    "train logger=wandb trainer=ddp trainer.max_steps=0",
    "predict ckpt=FILE source=DIR overlay_size=-1",
    "evaluate ckpt=FILE inference=sliding inference.window=0",
    "export",
)
"""Arguments of ``weakshot`` that are answered at once; a line to complete is in COMP_LINE."""
COMPLETED = "weakshot train optim.l"


def stop() -> object:
    """A Lightning callback that ends the process when the first step begins."""
    from pytorch_lightning import Callback

    class Stop(Callback):
        def on_train_batch_start(self, *args: object) -> None:
            os._exit(0)

    return Stop()


def cpu_seconds(*command: str) -> float:
    """Of a process and those it waits for; user and system."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parent),
        "COMP_LINE": COMPLETED,
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    first_step = ("-m", "weakshot_seg.train", "+callbacks.stop._target_=benchmark_startup.stop")
    commands = {"import weakshot_seg": ("-c", "import weakshot_seg")}
    commands |= {f"weakshot {answer}": ("-m", "weakshot_seg", *answer.split()) for answer in ANSWERS}
    for name, command in (commands | {"weakshot train, to the first step": first_step}).items():
        print(f"{min(cpu_seconds(*command) for _ in range(repeats)):6.2f}  {name}", flush=True)


if __name__ == "__main__":
    main()
