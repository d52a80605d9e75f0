"""The progress line of a training or an evaluation."""

import sys
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from weakshot_seg.utils.ranges import NonNegativeInt

LINE = "{desc} {n_fmt}/{total_fmt} |{bar:10}| {elapsed}<{remaining} {rate_noinv_fmt}{postfix}"
SHOWN = {"train/loss": "loss {:.3g}", "val/base_iou": "base IoU {:.1f}", "val/novel_iou": "novel IoU {:.1f}"}


class TrainingProgress(ProgressBar):
    """One line: step, time left, speed of this session, loss, and base and novel IoU of the latest validation.

    It waits for the GPU every ``refresh_rate`` steps, or batches of an evaluation; 0: no line.
    """

    def __init__(self, refresh_rate: NonNegativeInt = 10) -> None:
        super().__init__()
        self.refresh_rate = refresh_rate
        self._line: tqdm[Any] | None = None
        self._values: dict[str, float] = {}

    def disable(self) -> None:
        """Shows nothing: Lightning asks for it in all processes but the first."""
        self.refresh_rate = 0

    def state_dict(self) -> dict[str, Any]:
        """The values shown, so that a resumed training begins with them."""
        return {"values": self._values}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes them over from a checkpoint."""
        self._values = state_dict["values"]

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Begins the line at the step the training continues from."""
        self._begin("training", trainer.max_steps, " steps", trainer.global_step)
        self._show(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Brings the line up to date after every so many steps."""
        self._update(trainer, trainer.global_step)

    def on_validation_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Names what is going on; an evaluation has a line of its own."""
        if self._line is not None:
            self._line.set_description_str("validation")
        elif trainer.state.fn == "validate":
            self._values = {}
            self._begin("evaluation", sum(map(int, trainer.num_val_batches)), " batches")

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Counts the batches of an evaluation."""
        if trainer.state.fn == "validate":
            self._update(trainer, batch_idx + 1)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Shows the new IoU."""
        if trainer.state.fn == "validate":
            self.on_train_end()
        elif self._line is not None:
            self._line.set_description_str("training  ", refresh=False)
            self._show(trainer)

    def on_train_end(self, *_: Any) -> None:
        """Leaves the line as it is: what is printed next gets a line of its own."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def on_exception(self, *_: Any) -> None:
        """The same."""
        self.on_train_end()

    def _begin(self, title: str, total: int, unit: str, done: int = 0) -> None:
        if self.refresh_rate:
            options: dict[str, Any] = {"unit": unit, "initial": done, "bar_format": LINE, "smoothing": 0}
            self._line = tqdm(desc=title.ljust(10), total=total, dynamic_ncols=True, file=sys.stdout, **options)

    def _update(self, trainer: pl.Trainer, done: int) -> None:
        line = self._line
        if line is not None and done != line.n and (done % self.refresh_rate == 0 or done == line.total):
            line.n = done
            self._show(trainer)

    def _show(self, trainer: pl.Trainer) -> None:
        if self._line is not None:
            latest = trainer.callback_metrics
            self._values |= {name: float(latest[name]) for name in SHOWN if name in latest}
            shown = (text.format(self._values[name]) for name, text in SHOWN.items() if name in self._values)
            self._line.set_postfix_str(", ".join(shown))
