"""A training does not depend on W&B, and gives no secret away."""

import json
import os
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb

from processes import Environment, start
from run_rows import training_rows
from wandb_files import OfflineRun, sessions
from weakshot_seg.training.module import WeakShotModule

Train = Callable[..., Path]
SECRETS = {
    "WANDB_API_KEY": "5ec2e75ec2e75ec2e75ec2e75ec2e75ec2e75ec2",
    "HF_TOKEN": "hf_OnlyTheEnvironmentKnowsThis",
    "AWS_SECRET_ACCESS_KEY": "another/SecretOfTheEnvironment",
}
SEEN = "c0ffee" * 5
OFFLINE = ("logger=wandb", "logger.wandb.mode=offline")


def service() -> list[int]:
    """W&B's service processes that this process has started."""
    table = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()[1:]]
    return [int(pid) for pid, parent, name in rows if int(parent) == os.getpid() and name == "wandb-core"]


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kills W&B's service in the third step; the processes that this hit."""
    step, pids = WeakShotModule.training_step, []

    def kill(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 2:
            pids.extend(service())
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            time.sleep(1)  # W&B notices that nobody reads any more; what it sends until then is lost
        return step(module, batch, batch_idx)

    monkeypatch.setattr(WeakShotModule, "training_step", kill)
    return pids


def test_the_service_is_killed(train, killed, tmp_path):
    """It is started anew: what is logged afterwards goes to the same run."""
    train(tmp_path, *OFFLINE)
    assert len(killed) == 1
    assert len(training_rows(tmp_path)) == 4
    wandb.teardown()  # the service has written everything then
    *_, last = sorted(tmp_path.glob("wandb/offline-run-*"))  # the file of the killed process may hold nothing
    run = OfflineRun.read(last)
    assert run.start.run_id == json.loads((tmp_path / "wandb_run.json").read_text())["id"]
    assert {row["trainer/global_step"] for row in run.history if "train/loss" in row} >= {3}


def test_the_service_cannot_be_started_again(train, killed, tmp_path, monkeypatch, capsys):
    start = wandb.init

    def init(**settings: Any) -> Any:
        if killed:
            raise ConnectionResetError("Connection lost")
        return start(**settings)

    monkeypatch.setattr("wandb.init", init)
    train(tmp_path, *OFFLINE)
    assert len(training_rows(tmp_path)) == 4
    assert capsys.readouterr().out.count("nothing more goes to W&B (ConnectionResetError: Connection lost)") == 1


def test_wandb_cannot_be_reached(train, tmp_path, monkeypatch, capsys):
    """The run is kept offline."""
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    nowhere = {"base_url": "http://127.0.0.1:9", "init_timeout": 1, "x_graphql_retry_max": 0}
    settings = [f"+logger.wandb.settings.{name}={value}" for name, value in nowhere.items()]
    train(tmp_path, "logger=wandb", "logger.wandb.mode=online", *settings)
    assert "W&B cannot be reached" in capsys.readouterr().out
    assert len(training_rows(tmp_path)) == 4
    wandb.teardown()
    (run,) = sessions(tmp_path)
    assert len([row for row in run.history if "train/loss" in row]) == 4


def test_no_secret_is_written(small, few_scenes, tmp_path):
    """Neither by W&B nor by Hydra, in checkpoints (also compressed), logs or on the console."""
    run = (*small, *few_scenes, "logger=wandb", "logger.wandb.mode=offline", "name=${oc.env:SEEN}")
    job = start(tmp_path, *run, fault=Environment({**SECRETS, "SEEN": SEEN}))
    assert job.finish() == 0, job.output
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    kinds = {path.suffix for path in files}
    assert kinds >= {".ckpt", ".wandb", ".yaml", ".json", ".csv", ".log", ".txt", ".png"}
    contents = {str(path): path.read_bytes() for path in files}
    for path in filter(zipfile.is_zipfile, files):
        with zipfile.ZipFile(path) as archive:
            contents |= {f"{path}: {member}": archive.read(member) for member in archive.namelist()}
    assert len(contents) > len(files) + 10
    assert any(SEEN.encode() in content for content in contents.values())  # what is asked for is written, and found
    for where, content in contents.items():
        for name, value in SECRETS.items():
            assert value.encode() not in content, f"{name} is in {where}"
