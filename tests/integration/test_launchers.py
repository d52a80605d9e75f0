"""Splits of a sweep in several processes: Hydra's launchers and ``scripts/sweep.sh``."""

import csv
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from joblib.externals.loky import get_reusable_executor

from weakshot_seg.errors import ConfigError
from weakshot_seg.reporting.runs import find_runs
from weakshot_seg.train import check_processes

ROOT = Path(__file__).parents[2]
Command = Callable[..., None]


@pytest.fixture
def sweep(
    command: Command,
    small: tuple[str, ...],
    few_scenes: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., None]]:
    """``python -m weakshot_seg.train -m ...`` in ``tmp_path``, in this process but for what the launcher starts."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))

    def main() -> None:
        runpy.run_module("weakshot_seg.train", run_name="__main__", alter_sys=True)

    def call(*overrides: str) -> None:
        command(main, "-m", *small, *few_scenes, *overrides, folder=tmp_path)

    yield call
    get_reusable_executor().shutdown()  # else joblib keeps its processes for minutes


def logged_steps(session: Path) -> list[int]:
    with (session / "metrics.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import:RuntimeWarning")
@pytest.mark.parametrize(("launcher", "splits"), [("parallel", (1, 2, 3)), ("slurm_local", (1, 2))])
def test_other_splits_are_trained_and_the_failed_one_later(
    launcher: str, splits: tuple[int, ...], sweep: Callable[..., None], tmp_path: Path
) -> None:
    table = tmp_path / "splits.json"
    novel = {1: [99], 2: [1, 4], 3: [5, 7]}
    table.write_text(json.dumps(novel))
    settings = (
        f"split={','.join(map(str, splits))}",
        f"+data.split_file={table}",
        f"hydra/launcher={launcher}",
        "callbacks.last.every_n_steps=1",
        "trainer.val_check_interval=4",
        "data.num_workers=1",
        *(("logger=wandb", "logger.wandb.mode=disabled") if launcher == "parallel" else ()),
    )
    with pytest.raises(SystemExit) as caught:
        sweep(*settings, "trainer.max_steps=2")
    assert caught.value.code == 1
    folders = [tmp_path / "outputs" / "synthetic" / f"split{split}" for split in splits]
    failed, *others = find_runs([folders[0].parent])
    assert (failed.split, failed.state) == (1, "failed")
    assert "must be distinct and in 0..15, got [99]" in (failed.reason or "")
    assert [(run.split, run.state) for run in others] == [(split, "finished") for split in splits[1:]]
    if launcher != "parallel":
        return  # the rest is the same, and these processes take their time to start
    groups = {json.loads((folder / "wandb_run.json").read_text())["group"] for folder in folders[1:]}
    assert len(groups) == 1
    table.write_text(json.dumps({**novel, 1: [2]}))
    sweep(*settings, "trainer.max_steps=4", "resume=true")  # in the workers that are still there
    assert [run.state for run in find_runs([folders[0].parent])] == ["finished"] * len(splits)
    assert sorted(path.name for path in folders[0].parent.iterdir()) == [folder.name for folder in folders]
    assert [[logged_steps(path) for path in sorted(folder.glob("csv/*"))] for folder in folders] == [
        [[0, 1, 2, 3]],
        [[0, 1], [2, 3]],
        [[0, 1], [2, 3]],
    ]


def jobs_of(process: int) -> list[int]:
    """The processes in which joblib runs the jobs of a sweep."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(pid) for pid in children if b"LokyProcess" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_sweep_of_which_a_job_was_killed_goes_on_when_resumed(
    small: tuple[str, ...], few_scenes: tuple[str, ...], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "weakshot_seg.train", "-m", *small, *few_scenes, "split=1,2"]
    command += ["hydra/launcher=parallel", "callbacks.last.every_n_steps=5", "trainer.val_check_interval=150"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("WANDB_SERVICE", None)
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL, "text": True}
    folder = tmp_path / "outputs" / "synthetic"
    with subprocess.Popen([*command, "trainer.max_steps=5000"], stderr=subprocess.PIPE, **options) as sweep:
        while sweep.poll() is None and len(list(folder.glob("*/checkpoints/last.ckpt"))) < 2:
            time.sleep(0.05)
        os.kill(jobs_of(sweep.pid)[0], signal.SIGKILL)
        _, printed = sweep.communicate(timeout=60)
    assert sweep.returncode != 0
    assert "SIGKILL" in printed
    assert {run.state for run in find_runs([folder])} == {"killed"}
    subprocess.run([*command, "trainer.max_steps=150", "resume=true"], check=True, stderr=subprocess.DEVNULL, **options)
    assert [(run.split, run.state) for run in find_runs([folder])] == [(1, "finished"), (2, "finished")]
    for run in ("split1", "split2"):
        first, second = (logged_steps(path) for path in sorted((folder / run / "csv").iterdir()))
        assert first[0] == 0
        assert 5 <= second[0] <= first[-1] + 1  # nothing was begun anew
        assert second[-1] == 149


def test_sweep_goes_on_after_a_split_that_fails(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("by_slurm", [False, True])
def test_several_devices_per_job_only_where_slurm_starts_the_processes(
    by_slurm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: SimpleNamespace(mode=RunMode.MULTIRUN)))
    options: dict[str, Any] = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "logger": False}
    if not by_slurm:
        with pytest.raises(ConfigError, match=r"scripts/sweep\.sh"):
            check_processes(pl.Trainer(**options))
        return
    slurm = {"NTASKS": "2", "NTASKS_PER_NODE": "2", "JOB_NAME": "job", "JOB_ID": "1", "PROCID": "0", "LOCALID": "0"}
    for name, value in {**slurm, "NODEID": "0", "NNODES": "1", "NODELIST": "localhost"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    check_processes(pl.Trainer(**options))
