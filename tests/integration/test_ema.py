"""``callbacks=[default,ema]``: validated, saved and predicted with is the average of the weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from weakshot_seg.checkpoints.building import load_module
from weakshot_seg.cli import evaluate
from weakshot_seg.training.module import WeakShotModule

DECAY = 0.75


def test_the_average_is_saved_validated_and_loaded(
    train: Callable[..., Path],
    command: Callable[..., None],
    metrics_of: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights: list[dict[str, torch.Tensor]] = []
    means: list[torch.Tensor] = []
    end = WeakShotModule.on_train_batch_end

    def spy(module: WeakShotModule, *args: Any) -> None:
        weights.append({name: tensor.detach().clone() for name, tensor in module.state_dict().items()})
        means.append(module.model.mean)
        end(module, *args)

    monkeypatch.setattr(WeakShotModule, "on_train_batch_end", spy)
    # the last step has no validation of its own
    train(tmp_path / "run", "callbacks=[default,ema]", f"callbacks.ema.decay={DECAY}", "trainer.val_check_interval=3")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    torch.testing.assert_close(checkpoint["current_model_state"], weights[-1], rtol=0, atol=0)
    for name, average in checkpoint["state_dict"].items():
        if average.is_floating_point():
            expected = weights[0][name].double()
            for later in weights[1:]:
                expected = DECAY * expected + (1 - DECAY) * later[name].double()
            torch.testing.assert_close(average.double(), expected, rtol=1e-5, atol=1e-7)
    loaded = load_module(last)
    state = loaded.state_dict()
    torch.testing.assert_close(state, checkpoint["state_dict"], rtol=0, atol=0)
    assert torch.equal(means[0], loaded.model.mean)  # the average of a constant
    assert not torch.equal(state["model.head.classify.weight"], weights[-1]["model.head.classify.weight"])
    alone = tmp_path / "alone"
    command(evaluate.main, f"ckpt={last}", "trainer.accelerator=cpu", f"hydra.run.dir={alone}", folder=tmp_path)
    assert metrics_of(alone) == metrics_of(tmp_path / "run")
