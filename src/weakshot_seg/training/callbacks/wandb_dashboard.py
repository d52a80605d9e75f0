"""Weights & Biases: what its dashboard shows beside the curves of the logger."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import wandb
from wandb.plot.custom_chart import CustomChart

from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.training.callbacks.pictures import ValidatedImage, ValidationCallback
from weakshot_seg.training.callbacks.wandb_logger import ResilientWandbLogger
from weakshot_seg.training.metrics import SegmentationReport
from weakshot_seg.utils.ranges import NonNegativeInt
from weakshot_seg.utils.visualize import resized

MAX_CELLS = 10_000
"""Cells of a confusion matrix to show: W&B cuts off longer tables."""


class WandbDashboard(ValidationCallback):
    """Adds to the run of a :class:`ResilientWandbLogger`, if there is one, what is no curve.

    Config: the recipe and the classes. After every validation: the table ``val/classes``, ``val/confusion_matrix``,
    and ``val/images`` with true and predicted masks. Summary: the latest means as ``final/base_iou``, ... In the
    re-training stage: the quality of its pseudo-labels, in the summary and, by class, as ``pseudo_labels/classes``.

    Args:
        num_images: How many validation images to show.
        pseudo_labels: Folder of the pseudo-labels of the re-training stage.
    """

    def __init__(self, num_images: NonNegativeInt = 8, pseudo_labels: str | None = None) -> None:
        self.num_images = num_images
        self.pseudo_labels = pseudo_labels

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Logs the configuration, and the quality of the pseudo-labels."""
        split: ClassSplit = pl_module.class_split
        classes = {"base": [split.names[index] for index in split.base], "novel": list(split.novel_names)}
        config = {**pl_module.recipe.to_dict(), "classes": classes}
        for logger in _loggers(trainer):
            logger.send(lambda run: run.config.update(config, allow_val_change=True))
            if self.pseudo_labels:
                logger.send(partial(_log_pseudo_labels, folder=Path(self.pseudo_labels)))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the images of the validation before."""
        super().on_validation_start(trainer, pl_module)
        self._images: list[wandb.Image] = []
        self._wants_more &= self.num_images > 0 and any(_loggers(trainer))

    def see(self, image: ValidatedImage, split: ClassSplit) -> bool:
        """Keeps an image, of at most 640 pixels, under label maps that W&B switches on and off."""
        labels = dict(enumerate(_starred(split))) | {IGNORE: "unlabelled"}
        maps = {"prediction": image.prediction, "ground_truth": image.truth}
        masks = {name: {"mask_data": resized(label_map), "class_labels": labels} for name, label_map in maps.items()}
        self._images.append(wandb.Image(resized(image.photo), masks=masks, caption=image.name))
        return len(self._images) < self.num_images

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Logs images and tables, and brings the summary up to date."""
        if trainer.sanity_checking or not any(_loggers(trainer)):
            return
        report: SegmentationReport = pl_module.report
        shown = {"val/classes": class_table(report), "val/confusion_matrix": confusion_chart(report)}
        shown |= {"val/images": self._images} if self._images else {}
        shown |= {"trainer/global_step": pl_module.report_step}
        means = {f"final/{name}": value for name, value in report.summary().items()}
        for logger in _loggers(trainer):
            logger.send(lambda run: run.log(shown))
            logger.send(lambda run: run.summary.update(means))


def class_table(report: SegmentationReport) -> wandb.Table:
    """IoU, accuracy and share of the pixels of every class, in percent."""
    rows = [
        [c["id"], c["name"], "novel" if c["novel"] else "base", c["iou"], c["accuracy"], c["pixels"]]
        for c in report.to_dict()["classes"]
    ]
    return wandb.Table(columns=["id", "class", "kind", "IoU", "accuracy", "pixels"], data=rows)


def confusion_chart(report: SegmentationReport) -> CustomChart:
    """W&B's confusion matrix, in percent of the pixels of the true class; cells without pixels are left out.

    Of more than :data:`MAX_CELLS` the largest are shown.
    """
    counts = report.confusion.numpy()
    share = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    true, predicted = np.nonzero(share)
    largest = np.sort(np.argsort(-share[true, predicted], kind="stable")[:MAX_CELLS])
    names = _starred(report.split)
    rows = [[names[t], names[p], float(share[t, p])] for t, p in zip(true[largest], predicted[largest], strict=True)]
    columns = ["Actual", "Predicted", "nPredictions"]  # names of W&B's chart
    return wandb.plot_table(
        "wandb/confusion_matrix/v1",
        wandb.Table(columns=[*columns], data=rows),  # it keeps the list
        {name: name for name in columns},
        {"title": "confusion matrix, % of the true class"},
    )


def _log_pseudo_labels(run: wandb.Run, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    quality = manifest["quality"]
    means = {**manifest["agreement"], "novel_iou": quality["novel_iou"]}
    run.summary.update({f"pseudo_labels/{name}": value for name, value in means.items()})
    rows = [[name, iou] for name, iou in quality["iou"].items()]
    run.log({"pseudo_labels/classes": wandb.Table(columns=["name", "iou"], data=rows)})


def _starred(split: ClassSplit) -> list[str]:
    return [f"{name} *" if index in split.novel else name for index, name in enumerate(split.names)]


def _loggers(trainer: pl.Trainer) -> Iterator[ResilientWandbLogger]:
    """The loggers of W&B, in the first process only."""
    if trainer.is_global_zero:
        yield from (logger for logger in trainer.loggers if isinstance(logger, ResilientWandbLogger))
