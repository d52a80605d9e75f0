"""Validated images one by one, and panels image | truth | prediction of the first of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from PIL import Image

from weakshot_seg.structures import ClassSplit, EvalBatch
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.ranges import NonNegativeInt
from weakshot_seg.utils.visualize import panel

if TYPE_CHECKING:
    from weakshot_seg.training.module import WeakShotModule

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class ValidatedImage:
    """An image of a validation.

    Attributes:
        name: Of its file.
        photo: RGB ``[h, w, 3]``, without padding and at the size of the true map.
        truth: ``[h, w]``, class ids or IGNORE.
        prediction: ``[h, w]``, class ids.
    """

    name: str
    photo: Bytes
    truth: Bytes
    prediction: Bytes

    @classmethod
    def of(cls, batch: EvalBatch, predictions: Any, index: int) -> ValidatedImage:
        """Image ``index`` of a batch."""
        (height, width), truth = batch.sizes[index], batch.truths[index].cpu().numpy()
        pixels = batch.images[index, :, :height, :width].permute(1, 2, 0).cpu().numpy()
        photo = Image.fromarray(pixels).resize(truth.shape[::-1], Image.Resampling.BICUBIC)
        return cls(batch.names[index], np.asarray(photo), truth, predictions[index].cpu().numpy())

    def panel(self, split: ClassSplit) -> Image.Image:
        """Photo, truth and prediction side by side."""
        return panel(self.photo, self.truth, self.prediction, split)


class ValidationCallback(pl.Callback, ABC):
    """Has :meth:`see` called with the images of every validation; under DDP with those of the first process.

    ``validation_step`` returns a dict with ``"predictions"``, a list of uint8 maps ``[h_i, w_i]`` at the sizes of
    ``batch.truths``.
    """

    @abstractmethod
    def see(self, image: ValidatedImage, trainer: pl.Trainer, module: WeakShotModule) -> bool:
        """Takes an image; False: no more of this validation are wanted."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins anew."""
        self._wants_more = True

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Hands out the images of a batch."""
        for index in range(len(batch.names)):
            if not (self._wants_more and trainer.is_global_zero):
                return
            image = ValidatedImage.of(batch, outputs["predictions"], index)
            self._wants_more = self.see(image, trainer, cast("WeakShotModule", pl_module))


class PredictionPanels(ValidationCallback):
    """Writes a PNG for each of the first validation images after every validation, over those of the one before.

    Args:
        directory: Folder of the PNG files, made when needed.
        num_images: How many images.
    """

    def __init__(self, directory: str, num_images: NonNegativeInt = 8) -> None:
        self.directory = Path(directory)
        self.num_images = num_images
        self._panels: list[tuple[str, Image.Image]] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the panels of the validation before."""
        self._panels.clear()
        self._wants_more = self.num_images > 0

    def see(self, image: ValidatedImage, trainer: pl.Trainer, module: WeakShotModule) -> bool:
        """Draws the panel of an image."""
        self._panels.append((image.name, image.panel(module.class_split)))
        return len(self._panels) < self.num_images

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the panels."""
        if trainer.sanity_checking:
            return
        for number, (name, picture) in enumerate(self._panels):
            file = f"{number:02d}_{re.sub('[^A-Za-z0-9_.-]+', '_', name)}.png"
            with replacing(self.directory / file) as temporary:
                picture.save(temporary, "PNG")
