"""Splits of a sweep in several processes: Hydra's launchers and ``scripts/sweep.sh``."""

import json
import os
import runpy
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from joblib.externals.loky import get_reusable_executor

from run_rows import training_rows
from weakshot_seg.cli.train import check_processes
from weakshot_seg.errors import ConfigError
from weakshot_seg.reporting.runs import find_runs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sweep(command, small, few_scenes, tmp_path, monkeypatch):
    """``python -m weakshot_seg.train -m ...`` in ``tmp_path``, in this process but for what the launcher starts."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))

    def main() -> None:
        runpy.run_module("weakshot_seg.train", run_name="__main__", alter_sys=True)

    def call(*overrides: str) -> None:
        command(main, "-m", *small, *few_scenes, *overrides, folder=tmp_path)

    yield call
    get_reusable_executor().shutdown()  # else joblib keeps its processes for minutes


def logged_steps(folder: Path, session: int) -> list[int]:
    return [int(row["step"]) for row in training_rows(folder, session)]


def jobs_of(process: int) -> list[int]:
    """The processes in which joblib runs the jobs of a sweep."""
    children = [pid for task in Path(f"/proc/{process}/task").glob("*/children") for pid in task.read_text().split()]
    return [int(pid) for pid in children if b"LokyProcess" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def kill_a_job(saved: list[Path]) -> None:
    """When all checkpoints of a sweep are new."""
    before = {path: path.stat().st_mtime_ns if path.exists() else 0 for path in saved}
    while not all(path.exists() and path.stat().st_mtime_ns > before[path] for path in saved):
        time.sleep(0.05)
    os.kill(jobs_of(os.getpid())[0], signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import:RuntimeWarning")
def test_a_sweep_goes_on_after_a_failed_and_a_killed_job(sweep, tmp_path, capfd):
    """In other processes: one split fails and the other is trained, then a process is killed, then nothing happens."""
    table, parent = tmp_path / "splits.json", tmp_path / "outputs" / "synthetic"
    folders = [parent / "split1", parent / "split2"]
    settings = ("split=1,2", f"+data.split_file={table}", "hydra/launcher=parallel", "callbacks.last.every_n_steps=1")
    settings += ("trainer.val_check_interval=500", "data.num_workers=1", "logger=wandb", "logger.wandb.mode=disabled")
    table.write_text(json.dumps({1: [99], 2: [1, 4]}))
    with pytest.raises(SystemExit) as caught:
        sweep(*settings, "trainer.max_steps=2")
    assert caught.value.code == 1
    failed, other = find_runs([parent])
    assert (failed.split, failed.state, other.split, other.state) == (1, "failed", 2, "finished")
    assert "must be distinct and in 0..15, got [99]" in (failed.reason or "")
    assert json.loads((folders[1] / "wandb_run.json").read_text())["group"].startswith("synthetic-2")

    table.write_text(json.dumps({1: [2], 2: [1, 4]}))
    killer = Thread(target=kill_a_job, args=([folder / "checkpoints" / "last.ckpt" for folder in folders],))
    killer.start()
    with pytest.raises(SystemExit) as caught:
        sweep(*settings, "trainer.max_steps=5000", "resume=true")  # in the processes that are still there
    killer.join()
    assert caught.value.code == 1
    assert "SIGKILL" in capfd.readouterr().err
    assert {run.state for run in find_runs([parent])} == {"killed"}

    last = max(logged_steps(*session)[-1] for session in ((folders[0], 0), (folders[1], 1))) + 3
    sweep(*settings, f"trainer.max_steps={last + 1}", "resume=true")
    assert [run.state for run in find_runs([parent])] == ["finished"] * 2
    assert sorted(parent.iterdir()) == folders
    for folder, sessions in zip(folders, (2, 3), strict=True):
        steps = [logged_steps(folder, session) for session in range(sessions)]
        assert len(list((folder / "csv").iterdir())) == sessions
        assert steps[0][0] == 0
        for before, after in pairwise(steps):
            assert 1 <= after[0] <= before[-1] + 1  # nothing was begun anew
        assert steps[-1][-1] == last


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import:RuntimeWarning")
def test_a_job_of_slurm(sweep, tmp_path):
    sweep("split=2", "hydra/launcher=slurm_local", "trainer.max_steps=2", "data.num_workers=1")
    assert [(run.split, run.state) for run in find_runs([tmp_path / "outputs"])] == [(2, "finished")]


def test_sweep_goes_on_after_a_split_that_fails(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$WANDB_RUN_GROUP $*" >> calls\ncase $3 in split=1 | split=3) exit 2;; esac\n')
    python.chmod(0o755)

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(ROOT / "scripts" / "sweep.sh"), *arguments]
        settings = {**os.environ, "PYTHON": str(python), **environment}
        return subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)

    result = call("name=a b", "seed=1")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "failed: split 1 3"
    calls = (tmp_path / "calls").read_text().splitlines()
    group = calls[0].split()[0]
    assert group.startswith("sweep-2")
    assert calls == [f"{group} -m weakshot_seg.train split={split} name=a b seed=1" for split in (1, 2, 3, 4)]
    result = call(SPLITS="2 4", WANDB_RUN_GROUP="mine")
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "calls").read_text().splitlines()[4:] == [
        f"mine -m weakshot_seg.train split={split}" for split in (2, 4)
    ]


def test_several_devices_per_job_only_where_slurm_starts_the_processes(monkeypatch):
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: SimpleNamespace(mode=RunMode.MULTIRUN)))
    options: dict[str, Any] = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "logger": False}
    with pytest.raises(ConfigError, match=r"scripts/sweep\.sh"):
        check_processes(pl.Trainer(**options))
    slurm = {"NTASKS": "2", "NTASKS_PER_NODE": "2", "JOB_NAME": "job", "JOB_ID": "1", "PROCID": "0", "LOCALID": "0"}
    for name, value in {**slurm, "NODEID": "0", "NNODES": "1", "NODELIST": "localhost"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    check_processes(pl.Trainer(**options))
