"""NaN and infinity, really injected into images, logits, a loss term and gradients of a training."""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from weakshot_seg.cli import train as training
from weakshot_seg.losses.terms import MaskLoss
from weakshot_seg.models.simformer import SimFormer
from weakshot_seg.structures import SegOutput
from weakshot_seg.training.module import WeakShotModule

QUICK = ("logger=none", "~callbacks.panels", "~callbacks.ranked")


class Injection:
    """Spoils something of one or more batches, and keeps what the module was before and after every batch."""

    def __init__(self, place: str, batches: Sequence[int], value: float = torch.nan) -> None:
        self.place, self.batches, self.value = place, batches, value
        self.spoilt = ""  # what is spoilt now
        self.states: list[dict[str, Any]] = []
        self.names: list[tuple[str, ...]] = []

    def install(self, patch: pytest.MonkeyPatch) -> None:
        begin, end = WeakShotModule.on_train_batch_start, WeakShotModule.on_train_batch_end
        step, model, mask = WeakShotModule.training_step, SimFormer.forward, MaskLoss.forward
        backward = WeakShotModule.on_after_backward

        def on_start(module: WeakShotModule, batch: Any, batch_idx: int) -> None:
            self.spoilt = self.place if batch_idx in self.batches else ""
            self.names.append(batch.names)
            self.states.append(self.state(module))
            begin(module, batch, batch_idx)

        def on_step(module: WeakShotModule, batch: Any, batch_idx: int) -> Any:
            if self.spoilt == "images":
                batch = replace(batch, images=batch.images.float())
                batch.images[1, 0, 3, 4] = self.value
            return step(module, batch, batch_idx)

        def on_forward(network: SimFormer, *args: Any, **kwargs: Any) -> SegOutput:
            output = model(network, *args, **kwargs)
            if self.spoilt == "class_logits":
                output = replace(output, class_logits=output.class_logits.clone())
                output.class_logits[-1, 1, 0] = self.value
            return output

        def on_mask(term: MaskLoss, *args: Any) -> dict[str, torch.Tensor]:
            parts = mask(term, *args)
            return parts | {"dice": parts["dice"] * self.value} if self.spoilt == "term" else parts

        def on_backward(module: WeakShotModule) -> None:
            if self.spoilt == "gradients":
                next(p.grad for p in module.model.parameters() if p.grad is not None).fill_(self.value)
            backward(module)

        def on_end(module: WeakShotModule, *args: Any) -> None:
            self.states.append(self.state(module))
            end(module, *args)

        patch.setattr(WeakShotModule, "on_train_batch_start", on_start)
        patch.setattr(WeakShotModule, "training_step", on_step)
        patch.setattr(SimFormer, "forward", on_forward)
        patch.setattr(MaskLoss, "forward", on_mask)
        patch.setattr(WeakShotModule, "on_after_backward", on_backward)
        patch.setattr(WeakShotModule, "on_train_batch_end", on_end)

    @staticmethod
    def state(module: WeakShotModule) -> dict[str, Any]:
        optimizer = module.trainer.optimizers[0].state_dict()["state"]
        return deepcopy({"weights and buffers": module.state_dict(), "moments": optimizer})

    def changed(self, step: int, accumulate: int = 1) -> bool:
        """Whether a step of some batches changed anything."""
        before, after = self.states[2 * accumulate * step], self.states[2 * accumulate * (step + 1) - 1]
        try:
            torch.testing.assert_close(before, after, rtol=0, atol=0)
        except AssertionError:
            return True
        return False


HALF = ("trainer.precision=bf16-mixed",)
LOGITS = ("loss=simformer", "model.num_queries=20")
ACCUMULATED = ("trainer.accumulate_grad_batches=4", "trainer.log_every_n_steps=2", "data.batch_size=2")


@pytest.mark.parametrize(
    ("place", "bad", "value", "text", "options"),
    [
        ("images", 6, torch.nan, "classification/cross_entropy is nan", ACCUMULATED),  # the third batch of a step
        ("class_logits", 1, torch.inf, "classification/cross_entropy is nan", LOGITS),
        ("gradients", 1, torch.inf, "the gradients are not finite, though the loss is", HALF),
    ],
)
def test_one_bad_batch_of_a_step_changes_nothing(
    place, bad, value, text, options, train, tmp_path, monkeypatch, capsys
):
    """Weights, moments, statistics of BatchNorm and the class balance; the steps around it do; its images are named."""
    injection = Injection(place, [bad], value)
    injection.install(monkeypatch)
    train(tmp_path, "trainer.max_steps=3", "trainer.val_check_interval=3", *QUICK, *options)
    batches = 4 if options == ACCUMULATED else 1
    assert [injection.changed(step, batches) for step in range(3)] == [True, False, True]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert f"1 step(s) skipped, the last was step 1: {text}" in line
    assert "learning rate" in line
    assert f"images {', '.join(injection.names[bad])})" in line
    assert json.loads((tmp_path / "metrics.json").read_text())["skipped_steps"] == 1


def test_a_training_that_has_diverged_stops_in_one_line(small, few_scenes, refusal, tmp_path, monkeypatch):
    injection = Injection("term", range(2, 99))
    injection.install(monkeypatch)
    arguments = ("trainer.max_steps=99", "trainer.val_check_interval=99", "max_skipped_steps=3")
    line = refusal(training.main, *small, *few_scenes, *arguments, f"hydra.run.dir={tmp_path}")
    assert line.startswith(
        "error: 3 steps in a row were skipped, the last was step 4: mask/dice is nan (learning rate "
    )
    assert "images training_" in line
    assert "optim.lr" in line
    assert len(injection.states) == 2 * 5
