"""``metrics.json``: the result of a run in a file that needs no logger."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.recipe import Recipe


class MetricsFile(pl.Callback):
    """Writes ``metrics.json`` after every validation and at the end of training.

    It holds the latest report and the rules under which it was reached: split, stage, seed, supervision, label scope,
    novel classes.
    """

    def __init__(self, directory: str) -> None:
        self.path = Path(directory) / "metrics.json"
        self._seconds_before = 0.0
        self._start = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Seconds of the training or evaluation so far, with those of the sessions it was resumed from."""
        return {"seconds": self._seconds_before + time.monotonic() - self._start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the time from a checkpoint."""
        self._seconds_before = state_dict["seconds"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock."""
        self._start = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Writes the new report, and the final time."""
        if pl_module.report is None or not trainer.is_global_zero or trainer.sanity_checking:
            return
        recipe: Recipe = pl_module.recipe
        content = {
            **{key: getattr(recipe, key) for key in ("name", "split", "stage", "seed")},
            **{key: recipe.data.get(key) for key in ("supervision", "label_scope")},
            "novel_classes": list(pl_module.class_split.novel_names),
            "step": pl_module.report_step,
            "seconds": round(self.state_dict()["seconds"], 1),
            "skipped_steps": pl_module.guard.reported,
            **pl_module.report.to_dict(),
        }
        with replacing(self.path.with_name("confusion.csv")) as temporary:
            np.savetxt(temporary, pl_module.report.confusion.numpy(), "%d", ",")
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    on_fit_end = on_validation_end
