"""A whole training with network and losses compiled."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from weakshot_seg.checkpoints.building import load_module

BACKEND = "eager"  # the graphs that inductor would get, without its minutes of generated code


def losses(folder: Path) -> list[float]:
    with (folder / "csv" / "version_0" / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def test_losses_are_those_of_the_plain_training(train: Callable[..., Path], trained: Path, tmp_path: Path) -> None:
    torch.compiler.reset()
    compiled = train(tmp_path / "compiled", f"model.compile={BACKEND}")
    assert losses(compiled) == pytest.approx(losses(trained), rel=1e-3)


def test_a_compiler_that_is_missing_does_not_keep_from_predicting(trained: Path, tmp_path: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    for part in ("model", "loss"):
        assert checkpoint["weakshot_seg"]["recipe"][part]["compile"] is None
        checkpoint["weakshot_seg"]["recipe"][part]["compile"] = "compiler_of_another_machine"
    compiled = tmp_path / "compiled.ckpt"
    torch.save(checkpoint, compiled)
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        ours, plain = (load_module(path).eval().model(images) for path in (compiled, last))
    torch.testing.assert_close(ours.mask_logits, plain.mask_logits)
