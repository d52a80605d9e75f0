"""Parts of the ecosystem as configuration groups: loggers, early stopping, trainers, Optuna's search."""

import io
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from optuna.distributions import CategoricalDistribution
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from composing import compose_all, compose_own
from run_rows import training_rows
from weakshot_seg.cli import train as training
from weakshot_seg.config.schema import check_settings
from weakshot_seg.errors import ConfigError
from weakshot_seg.training.trainer import make_trainer

SEARCH = (
    "hydra/sweeper=search",
    "hydra.sweeper.n_trials=2",
    "trainer.max_steps=1",
    "trainer.val_check_interval=1",
)


@pytest.fixture(autouse=True)
def no_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def test_several_loggers_get_the_same_numbers(
    train: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow keeps a database of a relative path open, whichever folder it was in
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    folder = train(tmp_path / "run", "logger=[csv,tensorboard,mlflow]", "name=birds", "trainer.max_steps=2")
    losses = [float(row["train/loss"]) for row in training_rows(folder)]
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(losses)
    (panel, *_) = sorted(folder.glob("pictures/*.png"))
    (shown,) = events.Images("val/images/0")
    assert (np.asarray(Image.open(io.BytesIO(shown.encoded_image_string))) == np.asarray(Image.open(panel))).all()
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        rows = database.execute("SELECT value FROM metrics WHERE key = 'train/loss' ORDER BY step").fetchall()
        names = database.execute("SELECT name FROM runs").fetchall()
        experiments = {name for (name,) in database.execute("SELECT name FROM experiments")}
    assert [value for (value,) in rows] == pytest.approx(losses)
    assert names == [("split1-seed0-first",)]
    assert "birds" in experiments


def test_a_training_that_gets_no_better_ends(train: Callable[..., Path], tmp_path: Path) -> None:
    settings = ("trainer.max_steps=50", "trainer.val_check_interval=1", "callbacks.early_stopping.patience=2")
    folder = train(tmp_path, "callbacks=[default,early_stopping]", *settings, "callbacks.early_stopping.min_delta=100")
    assert len(training_rows(folder)) == 3  # the first validation, and two that are no better
    assert (folder / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("name", ["cpu", "gpu", "mps"])
def test_trainers(name: str) -> None:
    config = compose_own("train", f"trainer={name}")
    check_settings(config, "train")
    present = {"cpu": True, "gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if present[name]:
        trainer = make_trainer(config.trainer, logger=False)
        assert type(trainer.accelerator).__name__.lower().startswith({"gpu": "cuda"}.get(name, name))
    else:
        with pytest.raises(ConfigError, match="trainer do not work here"):
            make_trainer(config.trainer, logger=False)


@pytest.mark.parametrize("experiment", ["experiment=folder", "data=synthetic"])
def test_every_setting_of_the_search_can_be_set(experiment: str) -> None:
    from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides

    params = compose_all("train", "hydra/sweeper=search").hydra.sweeper.params
    space, _ = create_params_from_overrides([f"{key}={value}" for key, value in params.items()])
    assert set(space) == set(params)
    ends = {"low": {}, "high": {}}
    for key, values in space.items():
        numbers = values.choices if isinstance(values, CategoricalDistribution) else (values.low, values.high)
        ends["low"][key], ends["high"][key] = min(numbers), max(numbers)
    for end in ends.values():
        words = [f"{key}={value}" for key, value in end.items()]
        check_settings(compose_own("train", experiment, "data.root=." if "folder" in experiment else "seed=0", *words))


def test_optuna_searches(
    command: Callable[..., None], small: tuple[str, ...], few_scenes: tuple[str, ...], tmp_path: Path
) -> None:
    command(training.main, "-m", *small, *few_scenes, *SEARCH, folder=tmp_path)
    found = yaml.safe_load((tmp_path / "outputs" / "optimization_results.yaml").read_text())
    runs = [
        yaml.safe_load((run / ".hydra" / "config.yaml").read_text())
        for run in (tmp_path / "outputs" / "synthetic").iterdir()
    ]
    assert len({run["optim"]["lr"] for run in runs}) == 2
    assert found["best_params"]["optim.lr"] in {run["optim"]["lr"] for run in runs}
    assert all(2e-4 <= run["optim"]["lr"] <= 4e-3 for run in runs)
