"""The checkpoint to resume from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.trainer.states import TrainerFn


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt`` at a step interval and at the end of training.

    ``ModelCheckpoint`` has no such mode: with a step interval it leaves out the end, and with a monitored metric its
    ``last.ckpt`` is only written along with a new best one.

    Args:
        directory: Folder of ``last.ckpt``.
        every_n_steps: Optimiser steps between two saves.
    """

    def __init__(self, directory: str, every_n_steps: int = 250) -> None:
        self.path = Path(directory) / "last.ckpt"
        self.every_n_steps = every_n_steps
        self._saved_step = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Saves at every multiple of the interval (once, however many batches make a step)."""
        if trainer.global_step % self.every_n_steps == 0:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves again what was saved just before this validation: now it also knows the best score."""
        if trainer.state.fn == TrainerFn.FITTING and trainer.global_step == self._saved_step > 0:
            self._saved_step = 0
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the state after the last step."""
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step != self._saved_step:
            self._saved_step = trainer.global_step
            trainer.save_checkpoint(self.path, weights_only=False)  # with the state of the training
