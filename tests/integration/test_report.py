"""The report of a sweep of which one split fails."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from weakshot_seg.cli import report
from weakshot_seg.cli import train as training
from weakshot_seg.reporting.runs import find_runs

Command = Callable[..., None]


@pytest.fixture(scope="module")
def sweep(
    command: Command, small: tuple[str, ...], few_scenes: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Three splits, of which the second cannot work."""
    folder = tmp_path_factory.mktemp("sweep")
    splits = folder / "splits.json"
    splits.write_text(json.dumps({"1": [1, 4], "2": [99], "3": [5, 7]}))
    wandb = ("logger=wandb", "logger.wandb.mode=offline", "hydra.callbacks.sweep_start.time=${now:%f}")
    settings = (f"+data.split_file={splits}", *small, *few_scenes, *wandb)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.delenv("WANDB_MODE", raising=False)
        patch.setenv("WANDB_SILENT", "true")
        command(training.main, "-m", "split=1,2,3", *settings, folder=folder)
    assert caught.value.code == 1
    return folder / "outputs" / "synthetic"


def test_the_other_splits_of_a_sweep_are_trained(sweep: Path) -> None:
    first, second, third = find_runs([sweep])
    assert [run.state for run in (first, second, third)] == ["finished", "failed", "finished"]
    assert [run.split for run in (first, second, third)] == [1, 2, 3]
    assert first.result is not None
    assert third.result is not None
    assert (first.result.step, third.result.step) == (4, 4)
    assert first.result.novel != third.result.novel
    assert second.result is None
    assert "novel class ids must be distinct and in 0..15, got [99]" in (second.reason or "")


def test_jobs_of_a_sweep_do_not_know_of_each_other(
    sweep: Path, train: Callable[..., Path], metrics_of: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    folders = [sweep / "split1", sweep / "split3"]
    first, second = (json.loads((folder / "wandb_run.json").read_text()) for folder in folders)
    assert first["id"] != second["id"]
    assert first["group"] == second["group"]
    for folder, run in zip(folders, (first, second), strict=True):
        assert len(list(folder.glob(f"wandb/offline-run-*-{run['id']}/run-{run['id']}.wandb"))) == 1
        assert len(list((folder / "wandb").glob("offline-run-*"))) == 1
    table = f"+data.split_file={sweep.parents[1]}/splits.json"  # alone, and without W&B
    assert metrics_of(train(tmp_path / "alone", "split=3", table)) == metrics_of(folders[1])


def test_the_report_shows_what_there_is_and_lists_what_failed(
    sweep: Path, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command(report.main, f"runs={sweep}", "out=report", folder=tmp_path)
    rows = [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    means = next(row for row in rows if row and row[0] == "synthetic")
    metrics = [json.loads((sweep / f"split{split}" / "metrics.json").read_text()) for split in (1, 3)]
    assert means[1].split()[0] == f"{sum(m['base_iou'] for m in metrics) / 2:.1f}"
    assert means[-1] == "2 of 3"
    assert [row[:2] for row in rows if row and row[0].startswith("synthetic/")] == [["synthetic/split2", "failed"]]
    page = (tmp_path / "report.html").read_text()
    for text in ("Best, median and worst", "classification/cross entropy", "SimNet", "striped disc ", "got [99]"):
        assert text in page
    assert page.count("data:image/jpeg") == 2 * 3


@pytest.mark.parametrize("setting", ["runs=[A,B]", "runs=A/.."])
def test_several_folders_or_one(
    setting: str, sweep: Path, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, split in (("A", 1), ("B", 3)):
        (tmp_path / name).mkdir()
        shutil.copy(sweep / f"split{split}" / "metrics.json", tmp_path / name)
    command(report.main, setting, "pictures=0", folder=tmp_path)
    assert "2" in [row.split()[-1] for row in capsys.readouterr().out.splitlines() if row.startswith("synthetic ")]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("runs=nothing",), "nothing: no such folder"),
        ((), "runs"),
        (("runs=.", "pictures=-1"), "pictures"),
    ],
)
def test_errors_are_one_line(settings: tuple[str, ...], reason: str, refusal: Callable[..., str]) -> None:
    assert reason in refusal(report.main, *settings)


def test_a_failed_second_stage_leaves_the_first_one_finished(
    train: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(training, "make_pseudo_labels", fail)
    with pytest.raises(SystemExit):
        train(tmp_path / "run", "retrain=true", "trainer.max_steps=2")
    first, second = find_runs([tmp_path])
    assert (first.state, first.stage) == ("finished", "first")
    assert (second.state, second.stage, second.reason) == ("failed", "retrain", "OSError: disk full")
