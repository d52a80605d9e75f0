"""``weights=FILE``: a training that starts from the network of another."""

from collections.abc import Callable
from pathlib import Path

import torch

from weakshot_seg import train as training

Train = Callable[..., Path]


def network(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {name: t for name, t in state.items() if name.startswith("model.") or ".simnet." in name}


def test_training_starts_from_the_weights(trained: Path, train: Train, tmp_path: Path) -> None:
    """With a learning rate of zero the parameters at the end are those given, another seed notwithstanding."""
    still = ("trainer.max_steps=1", "optim.lr=0.0", "optim.weight_decay=0.0", "seed=5")
    given = network(trained)
    started = network(train(tmp_path / "run", *still, f"weights={trained}/checkpoints/last.ckpt", "split=2"))
    assert all(torch.equal(started[n], given[n]) for n in given if "running" not in n and "num_batches" not in n)


def test_weights_of_another_model_are_refused(
    trained: Path, refusal: Callable[..., str], small: tuple[str, ...], few_scenes: tuple[str, ...], tmp_path: Path
) -> None:
    path = f"{trained}/checkpoints/last.ckpt"
    settings = (*small, *few_scenes, f"hydra.run.dir={tmp_path}/run", f"weights={path}")
    line = refusal(training.main, *settings, "model.num_layers=1")
    assert f"weights={path} does not fit this model" in line
    assert "model.query_decoder.layers.1." in line
