"""How long a training will take, from its first steps."""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

import pytorch_lightning as pl

from weakshot_seg.utils.ranges import Count

WARM_UP = 0.25
"""Share of the steps that are not counted: they start processes and choose kernels."""

log = logging.getLogger(__name__)


class TimeEstimate(pl.Callback):
    """Logs once, ``after`` so many steps of this session, when the last step will be done; validations come on top."""

    def __init__(self, after: Count = 20) -> None:
        self.after, self._warm = after, int(after * WARM_UP)
        self._first, self._done, self._begin, self._said = 0, 0, 0.0, False

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Counts from the step that the training continues from."""
        self._first, self._done, self._begin = trainer.global_step, 0, time.monotonic()
        self._said = trainer.global_rank > 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Starts the clock after the first steps, and reads it after all."""
        done, left = trainer.global_step - self._first, trainer.max_steps - trainer.global_step
        if self._done < done <= self._warm:  # a step can have several batches
            self._done, self._begin = done, time.monotonic()
        elif done >= self.after and left > 0 and not self._said:
            self._said = True
            seconds = (time.monotonic() - self._begin) / (done - self._warm)
            end = datetime.now() + timedelta(seconds=left * seconds)
            text = "%s for the other %d steps (%.2f s each), until about %s; validations come on top"
            log.info(text, duration(left * seconds), left, seconds, f"{end:%H:%M}")


def duration(seconds: float) -> str:
    """In words: ``14 minutes``."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{max(1, round(seconds))} seconds" if seconds < 90 else "2 minutes"
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"
