"""Panels image | truth | prediction of the first validation images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.structures import EvalBatch
from weakshot_seg.training.callbacks.module import EvaluatedModule
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.visualize import panel


class PredictionPanels(pl.Callback):
    """Writes a PNG for each of the first validation images after every validation, over those of the one before.

    The hook: ``validation_step`` returns a dict with ``"predictions"``, a list of uint8 maps ``[h_i, w_i]`` at the
    sizes of ``batch.truths``; see also :class:`EvaluatedModule`. Under DDP the first process's images are shown.

    Args:
        directory: Folder of the PNG files, made when needed.
        num_images: How many images.
    """

    def __init__(self, directory: str, num_images: int = 8) -> None:
        self.directory = Path(directory)
        self.num_images = num_images
        self._panels: dict[str, Image.Image] = {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the panels of the validation before."""
        self._panels.clear()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws the panels of a batch while some are missing."""
        if not trainer.is_global_zero:
            return
        split = cast(EvaluatedModule, pl_module).class_split
        for index in range(min(len(batch.names), self.num_images - len(self._panels))):
            truth = batch.truths[index].cpu().numpy()
            prediction = outputs["predictions"][index].cpu().numpy()
            image = original_image(batch, index)
            self._panels[batch.names[index]] = panel(image, truth, prediction, split.names, split.novel)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the panels."""
        if trainer.sanity_checking or not self._panels:
            return
        for number, (name, picture) in enumerate(self._panels.items()):
            file = f"{number:02d}_{re.sub('[^A-Za-z0-9_.-]+', '_', name)}.png"
            with replacing(self.directory / file) as temporary:
                picture.save(temporary, "PNG")


def original_image(batch: EvalBatch, index: int) -> NDArray[np.uint8]:
    """Image ``index`` without its padding, at the size of its true map: RGB uint8 ``[h, w, 3]``."""
    height, width = batch.sizes[index]
    pixels = batch.images[index, :, :height, :width].permute(1, 2, 0).cpu().numpy()
    rows, columns = batch.truths[index].shape
    return np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BICUBIC))
