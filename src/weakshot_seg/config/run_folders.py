"""Which folder a run gets: ``outputs/<name>/split<split>``, never that of another run."""

import os
from itertools import count
from pathlib import Path

from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from weakshot_seg.utils.run_status import claim


def run_folder(parent: str, name: str, resume: bool, job: int | None = None) -> str:
    """Resolver ``${run_folder:PARENT,NAME,RESUME,JOB}``: the folder within ``parent`` for a run.

    A new run never touches another one: while ``name`` holds checkpoints or metrics, or another process has claimed it,
    ``name-2``, ``name-3``, ... are tried. With ``resume`` it is the newest run of that row. A ``job`` that starts makes
    the folder and claims it for this process; with None, as while settings are checked or shown, nothing is changed.
    """
    latest = name
    for number in count(1):
        folder = Path(parent, place := name if number == 1 else f"{name}-{number}")
        if not _holds_run(folder) and (resume or job is None or claim(folder)):
            break
        latest = place
    return latest if resume else place


def _holds_run(folder: Path) -> bool:
    return (folder / "metrics.json").exists() or any(folder.glob("checkpoints/*.ckpt"))


def run_name(split: int, seed: int) -> str:
    """Resolver ``${run_name:SPLIT,SEED}``: the folder of a run within those of its name."""
    return f"split{split}-seed{seed}" if seed else f"split{split}"


def requeued() -> bool:
    """Resolver ``${requeued:}``: whether SLURM runs this job again, so that it goes on by itself."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


class SweepStart(Callback):
    """Hydra callback: ``${hydra:callbacks.sweep_start.time}`` is the start of the job, in a sweep that of the sweep.

    Making this object resolves ``${now:...}``, and Hydra hands what is resolved to all jobs, wherever they run.
    """

    def __init__(self, time: str) -> None:
        self.time = time


for resolver in (run_folder, run_name, requeued):
    OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
