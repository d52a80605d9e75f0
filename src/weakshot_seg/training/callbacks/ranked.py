"""Scores of the single validation images, and panels of the best, the median and the worst of them."""

from __future__ import annotations

import csv
from bisect import bisect_left, insort
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytorch_lightning as pl

from weakshot_seg.training.callbacks.pictures import ValidatedImage, ValidationCallback
from weakshot_seg.training.metrics import image_miou
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.ranges import NonNegativeInt
from weakshot_seg.utils.tables import csv_text

if TYPE_CHECKING:
    from weakshot_seg.training.module import WeakShotModule

Place = tuple[float, int]
"""Score and number of an image: sorted, they are its rank."""
KEPT = 8
"""Images in memory for each that is shown."""


class RankedImages(ValidationCallback):
    """Writes ``image_scores.csv`` and ``ranked/{best,median,worst}_<n>.png`` after every validation.

    The score of an image is :func:`~weakshot_seg.training.metrics.image_miou`: images without ground truth have none. A
    few images are kept in memory, those nearest to the ranks that are wanted among the images so far. This always gives
    the best and the worst; of a large data set, the images shown as median may be a few ranks away from it.

    Args:
        directory: Folder of the file and of ``ranked``, made when needed.
        num_images: How many best, median and worst images to show.
    """

    def __init__(self, directory: str, num_images: NonNegativeInt = 3) -> None:
        self.directory = Path(directory)
        self.num_images = num_images
        self._scores: list[tuple[str, float]] = []
        self._order: list[Place] = []
        self._kept: dict[Place, ValidatedImage] = {}

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the validation before."""
        super().on_validation_start(trainer, pl_module)
        for memory in (self._scores, self._order, self._kept):
            memory.clear()

    def see(self, image: ValidatedImage, trainer: pl.Trainer, module: WeakShotModule) -> bool:
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

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the scores and the panels."""
        if trainer.sanity_checking or not self._scores:
            return
        split = cast("WeakShotModule", pl_module).class_split
        for old in (self.directory / "ranked").glob("*.png"):
            old.unlink()
        files = {}
        for title, places in self._chosen().items():
            for number, place in enumerate(places, 1):
                files[place[1]] = f"ranked/{title}_{number}.png"
                with replacing(self.directory / files[place[1]]) as temporary:
                    self._kept[place].panel(split).save(temporary, "PNG")
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
