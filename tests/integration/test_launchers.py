"""Splits of a sweep in several processes: Hydra's launchers and ``scripts/sweep.sh``, as a shell would start them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from weakshot_seg.errors import ConfigError
from weakshot_seg.train import check_processes

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(small: tuple[str, ...], few_scenes: tuple[str, ...], tmp_path: Path) -> Run:
    """Runs a command on a few scenes in ``tmp_path``."""

    def call(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [*command, *small, *few_scenes, "trainer.max_steps=2"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "WANDB_SILENT": "true", **environment},
            capture_output=True,
            text=True,
        )

    return call


@pytest.mark.parametrize("launcher", ["parallel", "slurm_local"])
def test_two_splits_at_a_time(launcher: str, run: Run, tmp_path: Path) -> None:
    options = ("split=1,2", f"hydra/launcher={launcher}", "logger=wandb")
    result = run(sys.executable, "-m", "weakshot_seg.train", "-m", *options)
    assert result.returncode == 0, result.stderr
    assert "deprecated in Hydra" not in result.stderr
    folders = [tmp_path / "outputs" / "synthetic" / f"split{split}" for split in (1, 2)]
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert [content["split"] for content in metrics] == [1, 2]
    assert metrics[0]["novel_classes"] != metrics[1]["novel_classes"]
    assert sorted(path.name for path in folders[0].parent.iterdir()) == ["split1", "split2"]
    runs = [json.loads((folder / "wandb_run.json").read_text()) for folder in folders]
    assert runs[0]["group"] == runs[1]["group"]
    assert runs[0]["id"] != runs[1]["id"]


def test_sweep_goes_on_after_a_split_that_fails(run: Run, tmp_path: Path) -> None:
    (tmp_path / "outputs" / "synthetic").mkdir(parents=True)
    (tmp_path / "outputs" / "synthetic" / "split1").write_text("a file where a folder should be")
    result = run("sh", str(ROOT / "scripts" / "sweep.sh"), "logger=wandb", SPLITS="1 2", PYTHON=sys.executable)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == "failed: split 1"
    done = tmp_path / "outputs" / "synthetic" / "split2"
    assert (done / "metrics.json").is_file()
    assert json.loads((done / "wandb_run.json").read_text())["group"].startswith("sweep-2")


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
