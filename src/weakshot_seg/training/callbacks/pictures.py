"""Pictures of validated images: panels of the first, the best, the median and the worst; a score of every image."""

from __future__ import annotations

import csv
import re
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.loggers import Logger
from torch import Tensor

from weakshot_seg.data.evaluation import EvalSample
from weakshot_seg.structures import ClassSplit
from weakshot_seg.training.metrics import SegmentationReport, image_miou
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.ranges import NonNegativeInt
from weakshot_seg.utils.tables import csv_text
from weakshot_seg.utils.visualize import panel

Bytes = NDArray[np.uint8]
Place = tuple[float, int]
"""Score and number of an image: sorted, they are its rank."""
KEPT = 8
"""Ranked images in memory for each that is shown."""


@dataclass(frozen=True)
class ValidatedImage:
    """An image of a validation at the size of the true map."""

    name: str
    photo: Bytes  # RGB [h, w, 3]
    truth: Bytes  # [h, w], class ids or IGNORE
    prediction: Bytes  # [h, w], class ids

    @classmethod
    def of(cls, sample: EvalSample, prediction: Tensor) -> ValidatedImage:
        """Of a sample and its predicted map uint8 ``[h, w]``."""
        truth, pixels = sample.truth.numpy(), np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
        photo = Image.fromarray(pixels).resize(truth.shape[::-1], Image.Resampling.BICUBIC)
        return cls(sample.name, np.asarray(photo), truth, prediction.numpy())

    def write_panel(self, path: Path, split: ClassSplit) -> None:
        """Photo, truth and prediction side by side in a PNG file."""
        with replacing(path) as temporary:
            # the usual level takes three times as long, for a tenth of the size
            panel(self.photo, self.truth, self.prediction, split).save(temporary, "PNG", compress_level=1)


class ValidationCallback(pl.Callback, ABC):
    """Has :meth:`see` called with the images of every validation; under DDP with those of the first process.

    ``validation_step`` returns ``"predictions"``: uint8 maps ``[h_i, w_i]`` at the sizes of the true ones, on the CPU.
    """

    @abstractmethod
    def see(self, image: ValidatedImage, split: ClassSplit) -> bool:
        """Takes an image; False: no more of this validation are wanted."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins anew."""
        self._wants_more = trainer.is_global_zero and not trainer.sanity_checking

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Sequence[EvalSample], *_: Any
    ) -> None:
        """Hands out the images of a batch."""
        for sample, prediction in zip(batch, outputs["predictions"], strict=True):
            if self._wants_more:
                self._wants_more = self.see(ValidatedImage.of(sample, prediction), pl_module.class_split)


class Dashboard(ValidationCallback):
    """Adds to what a logger shows what is no curve: the first ``num_images`` of every validation, and its report."""

    kind: type[Logger]
    """The loggers it adds to."""

    def __init__(self, num_images: NonNegativeInt = 8) -> None:
        self.num_images = num_images

    @abstractmethod
    def picture(self, image: ValidatedImage, split: ClassSplit) -> Any:
        """An image as it is shown; it is kept until the validation ends."""

    @abstractmethod
    def show(self, logger: Any, pictures: list[Any], report: SegmentationReport, step: int) -> None:
        """Shows the pictures and the report of a validation after ``step`` steps."""

    def logger(self, trainer: pl.Trainer) -> Any:
        """The first logger of its kind, in the first process; None without one."""
        found = (logger for logger in trainer.loggers if isinstance(logger, self.kind))
        return next(found, None) if trainer.is_global_zero else None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the images of the validation before."""
        super().on_validation_start(trainer, pl_module)
        self._pictures: list[Any] = []
        self._wants_more &= self.num_images > 0 and self.logger(trainer) is not None

    def see(self, image: ValidatedImage, split: ClassSplit) -> bool:
        """Keeps an image."""
        self._pictures.append(self.picture(image, split))
        return len(self._pictures) < self.num_images

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Shows what was seen."""
        if (logger := self.logger(trainer)) and not trainer.sanity_checking:
            self.show(logger, self._pictures, pl_module.report, pl_module.report_step)


class PredictionPanels(ValidationCallback):
    """Writes PNG files of the first ``num_images`` of every validation, over those of the one before."""

    def __init__(self, directory: str, num_images: NonNegativeInt = 8) -> None:
        self.directory = Path(directory)
        self.num_images = num_images

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins with the first image."""
        super().on_validation_start(trainer, pl_module)
        self._wants_more &= self.num_images > 0
        self._written = 0

    def see(self, image: ValidatedImage, split: ClassSplit) -> bool:
        """Writes the panel of an image."""
        name = re.sub("[^A-Za-z0-9_.-]+", "_", image.name)
        image.write_panel(self.directory / f"{self._written:02d}_{name}.png", split)
        self._written += 1
        return self._written < self.num_images


class RankedImages(ValidationCallback):
    """Writes ``image_scores.csv`` and ``ranked/{best,median,worst}_<n>.png`` after every validation.

    The score of an image is :func:`~weakshot_seg.training.metrics.image_miou`: images without ground truth have none. A
    few images are kept in memory, those nearest to the ranks that are wanted among the images so far. This always gives
    the ``num_images`` best and worst; of a large data set, those shown as median may be a few ranks away from it.
    """

    def __init__(self, directory: str, num_images: NonNegativeInt = 3) -> None:
        self.directory = Path(directory)
        self.num_images = num_images

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the validation before."""
        super().on_validation_start(trainer, pl_module)
        self._scores: list[tuple[str, float]] = []
        self._order: list[Place] = []
        self._kept: dict[Place, ValidatedImage] = {}

    def see(self, image: ValidatedImage, split: ClassSplit) -> bool:
        """Scores an image, and keeps it if it may be shown."""
        score = image_miou(image.prediction, image.truth)
        if score is not None:
            place = (score, len(self._scores))
            self._scores.append((image.name, score))
            insort(self._order, place)
            self._kept[place] = image
            if len(self._kept) > 3 * KEPT * self.num_images:
                del self._kept[max(self._kept, key=self._distance)]
        return True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Writes the scores and the panels."""
        if not self._scores:
            return
        for old in (self.directory / "ranked").glob("*.png"):
            old.unlink()
        files = {}
        for title, places in self._chosen().items():
            for number, place in enumerate(places, 1):
                files[place[1]] = f"ranked/{title}_{number}.png"
                self._kept[place].write_panel(self.directory / files[place[1]], pl_module.class_split)
        rows = [(csv_text(name), f"{s:.4f}", files.get(index, "")) for index, (name, s) in enumerate(self._scores)]
        path = self.directory / "image_scores.csv"
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("image", "miou", "panel"), *rows])

    def _distance(self, place: Place) -> int:
        """Ranks between an image and the nearest one to be shown, if no more images came."""
        rank, last, wanted = bisect_left(self._order, place), len(self._order) - 1, self.num_images
        first = (len(self._order) - wanted) // 2
        inner = max(first - rank, rank - (first + wanted - 1))
        return max(0, min(inner, rank - (wanted - 1), last - (wanted - 1) - rank))

    def _chosen(self) -> dict[str, list[Place]]:
        """The images to show, none of them twice."""
        count, ranked = max(1, min(self.num_images, len(self._order) // 3)), sorted(self._kept)
        best = ranked[::-1][:count]
        worst = [place for place in ranked if place not in best][:count]
        middle = (len(self._order) - 1) / 2
        others = [place for place in ranked if place not in best + worst]
        median = sorted(others, key=lambda place: abs(bisect_left(self._order, place) - middle))[:count]
        return {"best": best, "median": median, "worst": worst}
