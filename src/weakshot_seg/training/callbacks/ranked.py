"""Scores of the single validation images, and panels of the best, the median and the worst of them."""

from __future__ import annotations

import csv
from bisect import bisect_left, insort
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from weakshot_seg.structures import EvalBatch
from weakshot_seg.training.callbacks.module import EvaluatedModule
from weakshot_seg.training.callbacks.pictures import original_image
from weakshot_seg.training.metrics import image_miou
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.visualize import panel

Bytes = NDArray[np.uint8]
Place = tuple[float, int]
"""Score and number of an image: sorted, they are its rank."""
KEPT = 8
"""Images in memory for each that is shown."""


class RankedImages(pl.Callback):
    """Writes ``image_scores.csv`` and ``ranked/{best,median,worst}_<n>.png`` after every validation.

    The score of an image is :func:`~weakshot_seg.training.metrics.image_miou`: images without ground truth have none. A
    few images are kept in memory, those nearest to the ranks that are wanted among the images so far. This always gives
    the best and the worst; of a large data set, the images shown as median may be a few ranks away from it.

    The hooks are those of :class:`~weakshot_seg.training.callbacks.pictures.PredictionPanels`. Under DDP the first
    process's images take part.

    Args:
        directory: Folder of the file and of ``ranked``, made when needed.
        num_images: How many best, median and worst images to show.
    """

    def __init__(self, directory: str, num_images: int = 3) -> None:
        self.directory = Path(directory)
        self.num_images = num_images
        self._names: list[str] = []
        self._scores: list[float] = []
        self._order: list[Place] = []
        self._kept: dict[Place, tuple[Bytes, Bytes, Bytes]] = {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the validation before."""
        for memory in (self._names, self._scores, self._order, self._kept):
            memory.clear()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Scores the images of a batch, and keeps those that may be shown."""
        if not trainer.is_global_zero:
            return
        for index, name in enumerate(batch.names):
            truth, prediction = batch.truths[index].cpu().numpy(), outputs["predictions"][index].cpu().numpy()
            score = image_miou(prediction, truth)
            if score is None:
                continue
            place = (score, len(self._names))
            self._names.append(name)
            self._scores.append(score)
            insort(self._order, place)
            kept = [*self._kept, place]
            dropped = max(kept, key=self._distance) if len(kept) > 3 * KEPT * self.num_images else None
            if dropped != place:
                self._kept[place] = (original_image(batch, index), truth, prediction)
                if dropped:
                    del self._kept[dropped]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the scores and the panels."""
        if trainer.sanity_checking or not self._names:
            return
        split = cast(EvaluatedModule, pl_module).class_split
        for old in (self.directory / "ranked").glob("*.png"):
            old.unlink()
        files = {}
        for title, places in self._chosen().items():
            for number, place in enumerate(places, 1):
                files[place[1]] = f"ranked/{title}_{number}.png"
                with replacing(self.directory / files[place[1]]) as temporary:
                    panel(*self._kept[place], split.names, split.novel).save(temporary, "PNG")
        with (
            replacing(self.directory / "image_scores.csv") as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            table = csv.writer(file)
            table.writerow(["image", "miou", "panel"])
            for index, (name, score) in enumerate(zip(self._names, self._scores, strict=True)):
                table.writerow([name, f"{score:.4f}", files.get(index, "")])

    def _distance(self, place: Place) -> int:
        """Ranks between an image and the nearest one to be shown, if no more images came."""
        rank, last, wanted = bisect_left(self._order, place), len(self._order) - 1, self.num_images
        first = (len(self._order) - wanted) // 2
        inner = max(first - rank, rank - (first + wanted - 1))
        return max(0, min(inner, rank - (wanted - 1), last - (wanted - 1) - rank))

    def _chosen(self) -> dict[str, list[Place]]:
        """The images to show, none of them twice."""
        count = max(1, min(self.num_images, len(self._order) // 3))
        ranked = sorted(self._kept)
        best = ranked[::-1][:count]
        worst = [place for place in ranked if place not in best][:count]
        middle = (len(self._order) - 1) / 2
        others = [place for place in ranked if place not in best + worst]
        median = sorted(others, key=lambda place: abs(bisect_left(self._order, place) - middle))[:count]
        return {"best": best, "median": median, "worst": worst}
