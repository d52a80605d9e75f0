"""What every logger gets beside the losses: weighted terms, the norm of the gradient, how SimNet judges pairs."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.overrides import TorchFunctionMode

from run_rows import training_rows
from weakshot_seg.training.module import WeakShotModule


def rows(folder: Path) -> list[dict[str, float]]:
    return [{name: float(cell) for name, cell in row.items()} for row in training_rows(folder)]


def test_weighted_terms_add_up_to_the_loss_and_pairs_are_judged(trained):
    config = yaml.safe_load((trained / ".hydra" / "config.yaml").read_text())
    terms = config["loss"]["terms"]
    kinds = [f"{name}_{kind}" for name in ("precision", "recall", "f1") for kind in ("similar", "dissimilar")]
    for row in rows(trained):
        assert {name for name in row if "/pairs/" in name} == {f"train/pairs/{name}" for name in (*kinds, "accuracy")}
        assert 0 <= row["train/pairs/accuracy"] <= 1
        weighted = {name: value for name, value in row.items() if name.startswith("train/weighted/")}
        assert {name.removeprefix("train/weighted/").split("/")[0] for name in weighted} == set(terms)
        assert sum(weighted.values()) == pytest.approx(row["train/loss"], rel=1e-5)
        similarity = terms["similarity"]
        for part in ("base", "novel"):
            factor = similarity["weight"] * similarity[f"{part}_weight"]
            raw = row[f"train/similarity/{part}"]
            assert row[f"train/weighted/similarity/{part}"] == pytest.approx(factor * raw, rel=1e-5)


def test_gradient_norm_before_clipping_at_the_logged_steps(train, tmp_path, monkeypatch):
    norms: list[tuple[float, float]] = []
    clip = WeakShotModule.configure_gradient_clipping

    def spy(self: WeakShotModule, *args: Any, **kwargs: Any) -> None:
        def norm() -> float:
            return math.sqrt(sum((p.grad.double() ** 2).sum().item() for p in self.parameters() if p.grad is not None))

        before = norm()
        clip(self, *args, **kwargs)
        norms.append((before, norm()))

    monkeypatch.setattr(WeakShotModule, "configure_gradient_clipping", spy)
    options = ("trainer.accumulate_grad_batches=2", "trainer.log_every_n_steps=2", "trainer.gradient_clip_val=0.01")
    train(tmp_path, "trainer.max_steps=4", "trainer.val_check_interval=4", *options)
    logged = rows(tmp_path)
    assert len(norms) == 4
    assert [row["train/grad_norm"] for row in logged] == pytest.approx([norms[1][0], norms[3][0]], rel=1e-4)
    assert all(after < 0.0101 < before for before, after in norms)
    assert all("train/weighted/mask/dice" in row for row in logged)


class Host(torch.Tensor):
    """A tensor that was copied to the host."""


def test_between_logged_steps_nothing_is_read_from_the_device(train, tmp_path, monkeypatch):
    """On a GPU every number that is read waits for all work so far; the copy for the matcher must be the only one."""
    reads: list[int] = []
    module: WeakShotModule | None = None

    class Watch(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            if function is torch.Tensor.cpu:
                return result.as_subclass(Host)
            if module is not None and function is torch.Tensor.item and not isinstance(args[0], Host):
                reads.append(module.global_step)  # counted up by the optimiser
            return result

    start = WeakShotModule.on_train_start

    def watched(self: WeakShotModule) -> None:
        nonlocal module
        module = self
        start(self)

    monkeypatch.setattr(WeakShotModule, "on_train_start", watched)
    with Watch():
        train(tmp_path, "trainer.max_steps=8", "trainer.log_every_n_steps=4", "trainer.val_check_interval=8")
    assert set(reads) <= {0, 4, 8}
