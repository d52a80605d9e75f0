"""``resume=true`` goes on with the run of the folder, or says why it does not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from run_rows import training_rows
from weakshot_seg.cli import train as training
from weakshot_seg.utils.files import remove_leftovers

Refusal = Callable[..., str]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run of four steps."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def resumed(small: tuple[str, ...], few_scenes: tuple[str, ...], run: Path) -> tuple[str, ...]:
    """Settings that resume it for two more steps."""
    return (*small, *few_scenes, "resume=true", "trainer.max_steps=6", f"hydra.run.dir={run}")


def contents(folder: Path) -> dict[str, bytes]:
    kept = ("checkpoints/", "metrics.json", "status.json")
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name.startswith(kept)}


@pytest.mark.parametrize(
    ("setting", "text"),
    {
        "split=2": "novel classes: striped disc",
        "data.novel_classes=[cross]": "novel classes: striped disc",
        "supervision=full": "supervision: weakshot instead of full",
        "seed=3": "seed: 0 instead of 3",
        "data.label_scope=crop": "data.label_scope: image instead of crop",
    }.items(),
)
def test_another_run_is_not_resumed(setting, text, resumed, run, refusal):
    before = contents(run)
    line = refusal(training.main, *resumed, setting)
    assert f"resume=true, but {run}/checkpoints/last.ckpt was trained with other {text}" in line
    assert f"weights={run}/checkpoints/last.ckpt" in line
    assert contents(run) == before


def test_other_settings_are_logged(train, run):
    # the checkpoint is that of a validation after step 4, where none is due now
    less = ("data.num_workers=1", "data.val.num_images=5", "trainer.val_check_interval=3")
    train(run, "resume=true", "trainer.max_steps=5", *less)
    assert "other settings" not in (run / "train.log").read_text()
    train(run, "resume=true", "trainer.max_steps=7", "optim.lr=0.5", "data.batch_size=2")
    # the numbers of the logged steps go on, and the rate is that of the longer schedule, though a finished one was at 0
    for session, max_steps, steps in ((1, 5, [4]), (2, 7, [5, 6])):
        rows = training_rows(run, session)
        assert [int(row["step"]) for row in rows] == steps
        expected = [0.0015 * (1 - step / max_steps) ** 0.9 for step in steps]
        assert [float(row["lr-AdamW/head"]) for row in rows] == pytest.approx(expected)
    text = "other settings than the run began with: data.batch_size=2 (was 4), optim.lr=0.5 (was 0.0015); the optimiser"
    assert text in (run / "train.log").read_text()


@pytest.mark.parametrize("best", [False, True])
def test_results_without_checkpoints_are_not_overwritten(best, resumed, run, refusal):
    for path in (run / "checkpoints").iterdir():
        if not (best and path.name == "best.ckpt"):
            path.unlink()
    before = contents(run)
    assert f"resume=true, but {run} has results and no checkpoint" in refusal(training.main, *resumed)
    assert contents(run) == before


def test_only_what_killed_processes_left_is_removed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead, mine, other = ended.pid, os.getpid(), os.getppid()
    left = [f".metrics.json.{dead}.tmp", f"pictures/.a.png.{dead}.tmp", f".status.json.{mine}.tmp"]
    kept = [".notes.tmp", f"notes.{dead}.tmp", f".last.ckpt.{other}.tmp", f"other/.x.{dead}.tmp", "other/.lock"]
    for name in [*left, *kept]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / f".folder.{dead}.tmp").mkdir()
    remove_leftovers(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == set(kept)


def test_a_name_that_leads_elsewhere(small, few_scenes, command, tmp_path):
    command(training.main, *small, *few_scenes, "name=a/../b", "trainer.max_steps=1", folder=tmp_path)
    assert (tmp_path / "outputs" / "b" / "split1" / "metrics.json").is_file()
