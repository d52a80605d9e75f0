"""The checkpoint to resume from, and files of checkpoints that an interruption cannot spoil."""

import os
import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from weakshot_seg.errors import StoppedBySignal
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.ranges import Count
from weakshot_seg.utils.signals import StopRequest, requeue_slurm_job


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames; Lightning's own writer may copy from another disk, and be cut off."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Saves to a local file; if the disk is full, the former one stays and an :class:`OSError` names it."""
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())  # network file systems may find only now that the disk is full
        except (OSError, RuntimeError) as error:  # torch hides the failed write behind what followed from it
            cause = error if isinstance(error, OSError) else error.__context__
            if not isinstance(cause, OSError) or cause.errno is None:
                raise
            raise OSError(cause.errno, cause.strerror, os.fspath(path)) from None


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``, and as ``previous.ckpt`` the one before, should the last be spoilt.

    Saves at a step interval, around every validation, at the end, and when the process is asked to end (Ctrl-C,
    SIGTERM, SIGUSR1): then training stops after the current step with :class:`StoppedBySignal`. Always between two
    optimiser steps, for a checkpoint amid accumulated gradients would not resume to the same run. A validation that was
    interrupted is made up for. (``ModelCheckpoint`` does neither of the last two.)
    """

    def __init__(self, directory: str, every_n_steps: Count = 250) -> None:
        self.path = Path(directory) / "last.ckpt"
        self.every_n_steps = every_n_steps
        self._stop = StopRequest()
        self._stopping = 0  # by this signal
        self._step_before = 0  # the latest batch
        self._between_steps = True
        self._saved_step = 0
        self._validated_step = 0
        self._keep_last = False  # as the previous one: not if it is of another run or spoilt

    def state_dict(self) -> dict[str, Any]:
        """Which step was validated last."""
        return {"validated_step": self._validated_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes that over from a checkpoint."""
        self._validated_step = state_dict["validated_step"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listens to signals from now on; Lightning gives them back after the training."""
        self._stop.install()
        if trainer.received_sigterm:  # while the training was prepared
            self._stop.received = signal.SIGTERM
        self._saved_step = trainer.global_step
        self._keep_last = trainer.ckpt_path is not None and Path(trainer.ckpt_path) == self.path
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.current.ready < trainer.num_training_batches:
            loop.batch_progress.is_last_batch = False  # it was, if max_steps is larger now; no batch would be run
        self._make_up(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stops on request: only now have the loggers got the step before."""
        self._stop_if_asked(trainer)
        self._step_before = trainer.global_step
        # the number of what is logged next: Lightning's is one short after a checkpoint saved at a validation
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Saves at every multiple of the interval and on request."""
        self._between_steps = trainer.global_step > self._step_before
        if self._between_steps and (self._asked(trainer) or trainer.global_step % self.every_n_steps == 0):
            self._save(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves what a long validation might lose."""
        if self._amid_training(trainer):
            self._stop_if_asked(trainer)
            self._save(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Stops on request."""
        if self._amid_training(trainer) and self._asked(trainer):
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves again: now it also knows the best score."""
        if self._amid_training(trainer):
            self._validated_step = trainer.global_step
            self._save(trainer, again=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the state after the last step."""
        self._save(trainer)
        self._asked(trainer)
        self._stop_if_asked(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """If the last validation was interrupted, no step is left: this is the first hook of the resumed training."""
        self._make_up(trainer)

    def _amid_training(self, trainer: pl.Trainer) -> bool:
        return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and self._between_steps

    def _make_up(self, trainer: pl.Trainer) -> None:
        """Runs the validation after the current step if it is due and was not finished; Lightning leaves it out."""
        batches = trainer.global_step * trainer.accumulate_grad_batches
        if not (trainer.enable_validation and batches and self._validated_step < trainer.global_step):
            return
        if trainer.val_check_batch is not None and batches % trainer.val_check_batch == 0:
            trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step - 1
            trainer.validating = True
            validation = trainer.fit_loop.epoch_loop.val_loop
            validation.restarting = False  # all batches, not what the checkpoint's last validation left
            validation.run()
            trainer.training = True

    def _save(self, trainer: pl.Trainer, again: bool = False) -> None:
        if trainer.global_step == self._saved_step and not again:
            return
        self._saved_step = trainer.global_step
        new, previous = self.path.with_name("new.ckpt"), self.path.with_name("previous.ckpt")
        trainer.save_checkpoint(new, weights_only=False)  # with the state of the training
        if trainer.is_global_zero:
            if self._keep_last:
                os.replace(self.path, previous)
            elif trainer.ckpt_path is None:
                previous.unlink(missing_ok=True)  # of an earlier run in this folder
            os.replace(new, self.path)
        self._keep_last = True

    def _asked(self, trainer: pl.Trainer) -> int:
        """The signal by which to stop, 0 if none; all processes of a run stop after the same step."""
        self._stopping = self._stop.received
        if trainer.world_size > 1:
            number = torch.tensor(self._stopping, device=trainer.strategy.root_device)
            self._stopping = int(trainer.strategy.reduce(number, reduce_op="max"))
        return self._stopping

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        if not self._stopping:
            return
        if not trainer.is_global_zero:
            raise SystemExit(0)  # the first process prints the message
        name, how = signal.Signals(self._stopping).name, "the same command with resume=true goes on from there"
        if name == "SIGUSR1" and requeue_slurm_job():
            how = "the SLURM job is in the queue again and will go on from there"
        message = f"stopped by {name}: step {trainer.global_step} is saved in {self.path}; {how}"
        raise StoppedBySignal(self._stopping, message)
