"""What one sees of a training: the progress bar with loss terms and time left, and the learning rates in the logs."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import LearningRateMonitor, TQDMProgressBar


class TrainingProgress(TQDMProgressBar):
    """Lightning's bar for a training of one pass: no epoch number, short names, and a right estimate after resuming.

    Args:
        refresh_rate: Batches between two updates; every update waits for the GPU.
    """

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate)

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Sets up the bar also where a training resumes amid its pass: then Lightning leaves the next hook out."""
        super().on_train_start(trainer)
        self.on_train_epoch_start(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Starts the bar at the batch a resumed training continues from, so that the speed is that of this session."""
        super().on_train_epoch_start(trainer)
        done = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self.train_progress_bar.initial = self.train_progress_bar.n = done
        self.train_progress_bar.set_description("training")

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, int | str | float | Any]:
        """``{"loss": "1.23", ...}``: names without ``train/`` and ``val/``, three digits, no version of the logger."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {
            name.removeprefix("train/").removeprefix("val/"): f"{value:.3g}" if isinstance(value, float) else value
            for name, value in metrics.items()
        }


class LearningRates(LearningRateMonitor):
    """Logs the learning rate of every parameter group at every step; without a logger it rests (Lightning's fails)."""

    def __init__(self) -> None:
        super().__init__(logging_interval="step")

    def on_train_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Finds the parameter groups."""
        if trainer.loggers:
            super().on_train_start(trainer, *args)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        """Logs."""
        if trainer.loggers:
            super().on_train_batch_start(trainer, *args)
