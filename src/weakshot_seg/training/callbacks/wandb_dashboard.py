"""Weights & Biases: what its dashboard shows beside the curves of the logger."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import wandb
from numpy.typing import NDArray
from wandb.plot.custom_chart import CustomChart

from weakshot_seg.structures import IGNORE, ClassSplit, EvalBatch
from weakshot_seg.training.callbacks.module import EvaluatedModule
from weakshot_seg.training.callbacks.pictures import original_image
from weakshot_seg.training.callbacks.wandb_logger import ResilientWandbLogger
from weakshot_seg.training.metrics import SegmentationReport
from weakshot_seg.utils.visualize import resized

MAX_CELLS = 10_000
"""Cells of a confusion matrix to show: W&B cuts off longer tables."""


class WandbDashboard(pl.Callback):
    """Adds to the run of a :class:`ResilientWandbLogger` what is no curve; without such a logger it rests.

    Config: the recipe and the classes. After every validation: the table ``val/classes``, ``val/confusion_matrix``,
    and ``val/images`` with true and predicted masks. Summary: the latest means as ``final/base_iou``, ... In the
    re-training stage: the quality of its pseudo-labels, in the summary and, by class, as ``pseudo_labels/classes``.

    The hooks are those of :class:`~weakshot_seg.training.callbacks.pictures.PredictionPanels`.

    Args:
        num_images: How many validation images to show.
        pseudo_labels: Folder of the pseudo-labels of the re-training stage.
    """

    def __init__(self, num_images: int = 8, pseudo_labels: str | None = None) -> None:
        self.num_images = num_images
        self.pseudo_labels = pseudo_labels
        self._images: list[wandb.Image] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the configuration, and the quality of the pseudo-labels."""
        module = cast(EvaluatedModule, pl_module)
        names, split = module.class_split.names, module.class_split
        classes = {"base": [names[index] for index in split.base], "novel": list(split.novel_names)}
        config = {**module.recipe.to_dict(), "classes": classes}
        for logger in _loggers(trainer):
            logger.send(lambda run: run.config.update(config, allow_val_change=True))
            if self.pseudo_labels:
                logger.send(partial(_log_pseudo_labels, folder=Path(self.pseudo_labels)))

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the images of the validation before."""
        self._images.clear()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: EvalBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the images of a batch while some are missing."""
        if not any(_loggers(trainer)):
            return
        split = cast(EvaluatedModule, pl_module).class_split
        for index in range(min(len(batch.names), self.num_images - len(self._images))):
            maps = {"prediction": outputs["predictions"][index], "ground_truth": batch.truths[index]}
            masks = {name: label_map.cpu().numpy() for name, label_map in maps.items()}
            self._images.append(segmented(original_image(batch, index), masks, split, batch.names[index]))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs images and tables, and brings the summary up to date."""
        module = cast(EvaluatedModule, pl_module)
        report = module.report
        loggers = list(_loggers(trainer))
        if trainer.sanity_checking or report is None or not loggers:
            return
        shown: dict[str, Any] = {
            "val/classes": class_table(report),
            "val/confusion_matrix": confusion_chart(report),
            "trainer/global_step": module.report_step,
        }
        if self._images:
            shown["val/images"] = self._images
        means = {f"final/{name}": value for name, value in report.summary().items()}
        for logger in loggers:
            logger.send(lambda run: run.log(shown))
            logger.send(lambda run: run.summary.update(means))


def segmented(
    image: NDArray[np.uint8], masks: dict[str, NDArray[np.uint8]], split: ClassSplit, caption: str
) -> wandb.Image:
    """An image of at most 640 pixels under label maps that W&B switches on and off.

    Args:
        image: RGB uint8 ``[h, w, 3]``.
        masks: uint8 maps ``[h, w]`` by name.
        split: The classes; novel ones are starred.
        caption: Below it.
    """
    labels = dict(enumerate(_starred(split))) | {IGNORE: "unlabelled"}
    overlays = {name: {"mask_data": resized(mask), "class_labels": labels} for name, mask in masks.items()}
    return wandb.Image(resized(image), masks=overlays, caption=caption)


def class_table(report: SegmentationReport) -> wandb.Table:
    """IoU, accuracy and share of the pixels of every class, in percent."""
    split = report.split
    kinds = ["novel" if index in split.novel else "base" for index in range(split.num_classes)]
    columns = (range(split.num_classes), split.names, kinds, report.iou, report.accuracy, report.pixels)
    names = ["id", "class", "kind", "IoU", "accuracy", "pixels"]
    return _table(names, [list(row) for row in zip(*columns, strict=True)])


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
        _table(columns, rows),
        {name: name for name in columns},
        {"title": "confusion matrix, % of the true class"},
    )


def _log_pseudo_labels(run: wandb.Run, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    quality = manifest["quality"]
    means = {**manifest["agreement"], "novel_iou": quality["novel_iou"]}
    run.summary.update({f"pseudo_labels/{name}": value for name, value in means.items()})
    columns = ["id", "name", "iou", "precision", "recall"]
    rows = [[entry[column] for column in columns] for entry in quality["classes"]]
    run.log({"pseudo_labels/classes": _table(columns, rows)})


def _table(columns: Sequence[str], rows: list[list[Any]]) -> wandb.Table:
    return wandb.Table(columns=[*columns], data=rows)


def _starred(split: ClassSplit) -> list[str]:
    return [f"{name} *" if index in split.novel else name for index, name in enumerate(split.names)]


def _loggers(trainer: pl.Trainer) -> Iterator[ResilientWandbLogger]:
    """The loggers of W&B, in the first process only."""
    if trainer.is_global_zero:
        yield from (logger for logger in trainer.loggers if isinstance(logger, ResilientWandbLogger))
