"""Faults that are really injected: what was saved is not lost, and a resumed run is the one that was not disturbed.

A run is decided by its settings alone: dropout, random points and random rows draw from torch's generator.
"""

import csv
import errno
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from processes import Environment, Signal, start
from weakshot_seg.cli import evaluate
from weakshot_seg.cli import train as training
from weakshot_seg.training.module import WeakShotModule

Train = Callable[..., Path]
Metrics = Callable[[Path], dict[str, Any]]
MODULE = "weakshot_seg.training.module.WeakShotModule"
EIGHT_STEPS = (
    "loss/presence=head",
    "trainer.max_steps=8",
    "trainer.val_check_interval=4",
    "callbacks.last.every_n_steps=2",
    "model.dropout=0.1",
    "data.num_workers=1",
    "data.val_batch_size=1",
    "~callbacks.panels",
    "~callbacks.ranked",
)


def state(folder: Path, name: str = "last") -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return checkpoint


def logged(folder: Path) -> dict[str, dict[str, str]]:
    """What was logged of each step, over all sessions of a run, as text; the last session counts."""
    steps: dict[str, dict[str, str]] = {}
    for file in sorted(folder.glob("csv/version_*/metrics.csv")):
        for row in csv.DictReader(file.open()):
            kept = {name: cell for name, cell in row.items() if cell and name.startswith(("train/", "val/"))}
            steps.setdefault(row["step"], {}).update(kept)
    return {step: row for step, row in steps.items() if row}


def assert_same_run(first: Path, second: Path, metrics_of: Metrics) -> None:
    a, b = state(first), state(second)
    assert a["global_step"] == b["global_step"]
    assert a["lr_schedulers"] == b["lr_schedulers"]
    moments = [checkpoint["optimizer_states"][0].pop("state") for checkpoint in (a, b)]
    torch.testing.assert_close(*moments, rtol=0, atol=0)
    assert a["optimizer_states"] == b["optimizer_states"]
    for part in {"state_dict", "current_model_state", "averaging_state"} & (a.keys() | b.keys()):
        torch.testing.assert_close(a[part], b[part], rtol=0, atol=0)
    mine, other = logged(first), logged(second)
    assert mine.keys() == other.keys()
    for step, row in mine.items():
        differ = {name for name in row.keys() | other[step].keys() if row.get(name) != other[step].get(name)}
        assert not differ, (step, {name: (row.get(name), other[step].get(name)) for name in differ})
    assert metrics_of(first) == metrics_of(second)
    assert state(first, "best")["global_step"] == state(second, "best")["global_step"]


@pytest.fixture(scope="module")
def settings(small: tuple[str, ...], few_scenes: tuple[str, ...]) -> tuple[str, ...]:
    return (*small, *few_scenes, *EIGHT_STEPS)


@pytest.fixture(scope="module")
def undisturbed(train: Train, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("undisturbed"), *EIGHT_STEPS)


@pytest.fixture
def goes_on_undisturbed(undisturbed: Path, train: Train, metrics_of: Metrics) -> Callable[[Path], None]:
    """Resumes the run in a folder and compares it with the undisturbed one."""
    return lambda folder: assert_same_run(train(folder, *EIGHT_STEPS, "resume=true"), undisturbed, metrics_of)


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_workers_gives_the_same_run(workers, undisturbed, train, metrics_of, tmp_path):
    assert_same_run(train(tmp_path, *EIGHT_STEPS, f"data.num_workers={workers}"), undisturbed, metrics_of)


def test_another_seed_gives_another_run(trained, train, tmp_path):
    ours, theirs = (state(folder)["state_dict"] for folder in (train(tmp_path, "seed=1"), trained))
    assert ours.keys() == theirs.keys()
    assert not torch.equal(ours["model.query_decoder.queries.weight"], theirs["model.query_decoder.queries.weight"])


def test_killed_at_random_moments(settings, undisturbed, metrics_of, tmp_path):
    """SIGKILL in a backward pass, in a validation and in a write, session after session."""
    run = (*settings, f"hydra.run.dir={tmp_path}", "resume=true")
    call = random.randint(1, 3)
    print("killed at call", call)
    for owner, function, number in (
        ("torch.Tensor", "backward", call),
        (MODULE, "validation_step", 1),
        ("os", "replace", call),
    ):
        job = start(tmp_path, *run, fault=Signal(signal.SIGKILL, owner, function, number))
        assert job.finish() == -signal.SIGKILL, job.output
    job = start(tmp_path, *run)
    assert job.finish() == 0, job.output
    assert_same_run(tmp_path, undisturbed, metrics_of)


def test_killed_in_the_last_validation_and_resumed_with_more_steps(settings, train, metrics_of, tmp_path):
    constant = "optim.power=0"  # a schedule that does not depend on the number of steps
    run = (*settings, constant, f"hydra.run.dir={tmp_path}", "resume=true")
    job = start(tmp_path, *run, "trainer.max_steps=4", fault=Signal(signal.SIGKILL, MODULE, "validation_step", 1))
    assert job.finish() == -signal.SIGKILL, job.output
    assert state(tmp_path)["global_step"] == 4
    job = start(tmp_path, *run)
    assert job.finish() == 0, job.output
    assert_same_run(tmp_path, train(tmp_path / "undisturbed", *EIGHT_STEPS, constant), metrics_of)


def test_asked_to_end(settings, train, metrics_of, tmp_path):
    """Ctrl-C, SIGTERM and SIGUSR1 to all processes of the job, amid accumulated gradients and amid a validation.

    With an average of the weights, which goes on as well.
    """
    accumulate = ("trainer.accumulate_grad_batches=2", "trainer.val_check_interval=2", "callbacks=[default,ema]")
    accumulate += ("data.batch_size=2", "trainer.max_steps=5", "callbacks.ema.decay=0.5")
    run = (*settings, *accumulate, f"hydra.run.dir={tmp_path}", "resume=true")
    for number, function, call, step in (
        (signal.SIGTERM, "training_step", 1, 1),
        (signal.SIGINT, "validation_step", 1, 2),
        (signal.SIGUSR1, "training_step", 3, 4),
    ):
        job = start(tmp_path, *run, fault=Signal(number, MODULE, function, call, group=True))
        assert job.finish() == 128 + number, job.output
        line = f"stopped by {number.name}: step {step} is saved in {tmp_path}/checkpoints/last.ckpt; the same command"
        assert job.output.count(line) == 1, job.output
        assert "Traceback" not in job.output
        assert state(tmp_path)["global_step"] == step
    job = start(tmp_path, *run)
    assert job.finish() == 0, job.output
    undisturbed = train(tmp_path / "undisturbed", *EIGHT_STEPS, *accumulate)
    assert_same_run(tmp_path, undisturbed, metrics_of)


def test_slurm_requeues(settings, tmp_path):
    """The state is saved before the job is put into the queue again; the same command goes on in the same folder."""
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(
        f"#!/bin/sh\necho $* >> {tmp_path}/calls; ls {tmp_path}/*/*/*/checkpoints >> {tmp_path}/calls\n"
    )
    scontrol.chmod(0o755)
    slurm = {"PATH": f"{scontrol.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train"}
    slurm |= {"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    job = start(
        tmp_path, *settings, fault=Environment(slurm, Signal(signal.SIGUSR1, MODULE, "training_step", 3, group=True))
    )
    assert job.finish() == 128 + signal.SIGUSR1, job.output
    assert (tmp_path / "calls").read_text().split() == ["requeue", "77", "last.ckpt", "previous.ckpt"]
    assert "the SLURM job is in the queue again" in job.output
    run = tmp_path / "outputs" / "synthetic" / "split1"
    assert state(run)["global_step"] == 3
    job = start(tmp_path, *settings, fault=Environment(slurm | {"SLURM_RESTART_COUNT": "1"}))
    assert job.finish() == 0, job.output
    assert list(run.parent.iterdir()) == [run]
    assert state(run)["global_step"] == 8
    assert f"going on from {run}/checkpoints/last.ckpt" in job.output.replace("\n", "")


def test_full_disk(settings, refusal, goes_on_undisturbed, tmp_path, monkeypatch):
    """The system refuses to write more than half a checkpoint: what was saved before stays, and no half file."""
    step, limits = WeakShotModule.training_step, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 3:
            half = (tmp_path / "checkpoints" / "last.ckpt").stat().st_size // 2
            resource.setrlimit(resource.RLIMIT_FSIZE, (half, limits[1]))
        return step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(WeakShotModule, "training_step", fill)
        try:
            line = refusal(training.main, *settings, f"hydra.run.dir={tmp_path}")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.strerror(errno.EFBIG) in line
    assert f"{tmp_path}/checkpoints/new.ckpt" in line
    assert "make room" in line
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]
    assert state(tmp_path)["global_step"] == 2
    goes_on_undisturbed(tmp_path)


def test_a_truncated_checkpoint(settings, undisturbed, refusal, train, tmp_path, capsys):
    """``evaluate`` refuses it; a resumed training takes the one before, which the spoilt one must not replace."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    last, previous = (tmp_path / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt"))
    os.truncate(last, last.stat().st_size // 2)
    line = refusal(evaluate.main, f"ckpt={last}", "trainer.accelerator=cpu")
    assert f"ckpt={last}" in line
    assert "truncated" in line
    train(tmp_path, *EIGHT_STEPS, "resume=true", "trainer.max_steps=9")
    assert f"going on from {previous}" in capsys.readouterr().out
    assert state(tmp_path)["global_step"] == 9
    assert state(tmp_path, "previous")["global_step"] == 8
    for path in (last, previous):
        os.truncate(path, 1000)
    assert "truncated" in refusal(training.main, *settings, "resume=true", f"hydra.run.dir={tmp_path}")


def test_a_killed_worker(settings, refusal, goes_on_undisturbed, tmp_path, monkeypatch):
    """As the system does when memory is short."""
    step = WeakShotModule.training_step

    def kill(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 3:
            workers = multiprocessing.active_children()
            assert workers
            for worker in workers:
                worker.kill()
        return step(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(WeakShotModule, "training_step", kill)
        line = refusal(training.main, *settings, f"hydra.run.dir={tmp_path}")
    assert "DataLoader worker" in line
    assert "data.num_workers=0" in line
    goes_on_undisturbed(tmp_path)


def test_two_runs_in_one_folder(settings, refusal, train, tmp_path):
    """Started at the same moment, one trains; the lock of a killed process is no obstacle."""
    run = (*settings, f"hydra.run.dir={tmp_path}")
    jobs = [start(tmp_path, *run), start(tmp_path, *run)]
    codes = [job.finish() for job in jobs]
    assert sorted(codes) == [0, 2], [job.output for job in jobs]
    refused = jobs[codes.index(2)].output.splitlines()
    assert refused[-1].startswith(f"error: another process is training in {tmp_path}")
    assert state(tmp_path)["global_step"] == 8
    hold = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"
    command = [sys.executable, "-c", hold, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert str(tmp_path) in refusal(training.main, *run, "resume=true")
        holder.kill()
    train(tmp_path, *EIGHT_STEPS, "resume=true")
