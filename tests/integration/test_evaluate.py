"""``weakshot evaluate``, and what may be given as a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from weakshot_seg.cli import evaluate, predict

Command = Callable[..., None]
Metrics = Callable[[Path], dict[str, Any]]
Refusal = Callable[..., str]
Measure = Callable[..., dict[str, Any]]
CPU = "trainer.accelerator=cpu"


@pytest.fixture
def measure(command: Command, metrics_of: Metrics, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs the command; returns its metrics."""

    def run(ckpt: Path, *settings: str, name: str = "here") -> dict[str, Any]:
        command(evaluate.main, f"ckpt={ckpt}", CPU, *settings, f"hydra.run.dir={tmp_path / name}", folder=tmp_path)
        return metrics_of(tmp_path / name)

    return run


def test_evaluation_repeats_the_last_validation(
    trained: Path, measure: Measure, metrics_of: Metrics, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert measure(trained / "checkpoints" / "last.ckpt") == metrics_of(trained)
    assert len(list((tmp_path / "here" / "pictures").iterdir())) == 4
    printed = capsys.readouterr().out
    assert "novel *" in printed
    assert str(tmp_path / "here" / "metrics.json") in printed


def test_another_inference(eager: Path, measure: Measure) -> None:
    """Without scales and flip, augmentation is the plain evaluation, and so is a window as large as the image."""
    whole = measure(eager, name="whole")
    for name, settings, is_same in (
        ("tta of nothing", "inference=tta inference.scales=[1.0] inference.flip=false", True),
        ("one window", "inference=sliding inference.window=32", True),
        ("both", "inference=tta inference@inference.inner=sliding inference.inner.window=16", False),
    ):
        assert (measure(eager, *settings.split(), name=name) == whole) == is_same, name


@pytest.fixture
def spoilt(trained: Path, tmp_path: Path) -> dict[str, Path]:
    """Files that are no checkpoints of ours."""
    good = (trained / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "truncated.ckpt").write_bytes(good[: len(good) // 2])
    (tmp_path / "empty.ckpt").write_bytes(b"")
    (tmp_path / "text.ckpt").write_text("hello\n" * 100)
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, tmp_path / "foreign.ckpt")
    torch.save(torch.zeros(2), tmp_path / "tensor.ckpt")
    torch.save(pytest.MonkeyPatch, tmp_path / "code.ckpt")
    changed = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    del changed["state_dict"][next(iter(changed["state_dict"]))]
    torch.save(changed, tmp_path / "incomplete.ckpt")
    return {path.stem: path for path in tmp_path.glob("*.ckpt")}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated", "truncated"),
        ("empty", "truncated"),
        ("text", "no checkpoint"),
        ("foreign", "not written by weakshot_seg.train"),
        ("tensor", "not written by weakshot_seg.train"),
        ("code", "cannot be read"),
        ("incomplete", "does not fit"),
    ],
)
def test_bad_checkpoints(name: str, reason: str, spoilt: dict[str, Path], refusal: Refusal) -> None:
    line = refusal(evaluate.main, f"ckpt={spoilt[name]}", CPU)
    assert str(spoilt[name]) in line
    assert reason in line


@pytest.mark.parametrize("main", [evaluate.main, predict.main])
def test_missing_checkpoint(main: Callable[[], object], trained: Path, refusal: Refusal) -> None:
    source = ["source=" + str(next((trained / "pictures").iterdir()))] if main is predict.main else []
    line = refusal(main, "ckpt=nowhere/last.ckpt", *source)
    assert "ckpt=nowhere/last.ckpt: no such file" in line
    assert "ckpt" in refusal(main, *source)
