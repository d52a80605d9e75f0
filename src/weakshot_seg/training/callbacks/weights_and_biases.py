"""Weights & Biases: a logger on which the training does not depend, and what the dashboard shows beside curves."""

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import wandb
from pytorch_lightning.loggers import WandbLogger
from wandb.errors import AuthenticationError, CommError
from wandb.plot.custom_chart import CustomChart
from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

from weakshot_seg.structures import IGNORE, ClassSplit
from weakshot_seg.training.callbacks.pictures import Dashboard, ValidatedImage
from weakshot_seg.training.metrics import SegmentationReport
from weakshot_seg.utils.files import replacing
from weakshot_seg.utils.ranges import NonNegativeInt, WandbProject
from weakshot_seg.utils.run_status import is_first_process
from weakshot_seg.utils.visualize import resized

BROKEN = (OSError, wandb.Error, HandleAbandonedError, MailboxClosedError)
"""What W&B raises when its service process is gone."""
MAX_CELLS = 10_000
"""Cells of a confusion matrix to show: W&B cuts off longer tables."""

log = logging.getLogger(__name__)


class ResilientWandbLogger(WandbLogger):
    """A ``WandbLogger`` that keeps its run in ``<save_dir>/wandb_run.json``: a resumed job continues this run.

    If W&B cannot be reached when the run begins, it is kept offline, to be uploaded later by ``wandb sync``. (Once it
    has begun, W&B itself waits for the network.) If W&B's service process dies, it is started anew; if that fails, the
    training goes on without. ``settings`` are of ``WandbLogger`` and ``wandb.init`` (``mode="offline"`` needs no
    account); ``group`` is that of a new run.
    """

    def __init__(
        self,
        save_dir: str,
        resume: bool = False,
        project: WandbProject = "weakshot_seg",
        group: str | None = None,
        **settings: Any,
    ) -> None:
        file = Path(save_dir) / "wandb_run.json"
        if is_first_process() and not (resume and file.is_file()):
            with replacing(file) as temporary:
                temporary.write_text(json.dumps({"id": secrets.token_hex(4), "group": group}), encoding="utf-8")
        run = json.loads(file.read_text("utf-8")) if file.is_file() else {}  # other ranks log nothing
        super().__init__(save_dir=save_dir, project=project, **run, **settings)
        self._given_up = False

    @property
    def experiment(self) -> wandb.Run:
        """The run; it begins when it is first asked for."""
        try:
            return super().experiment
        except AuthenticationError:
            raise
        except CommError as error:
            reason = str(error).splitlines()[0]
            log.warning("W&B cannot be reached (%s): the run is kept offline, for wandb sync", reason)
            self._wandb_init["mode"] = "offline"
            self._reset()  # else the service keeps the name of the run for the attempt that failed
            return super().experiment

    def send(self, action: Callable[[wandb.Run], object]) -> None:
        """Lets ``action`` log something to the run, whatever has become of W&B's service."""
        if self._given_up:
            return
        try:
            action(self.experiment)
        except BROKEN as error:
            log.warning("W&B's service process has failed (%s): it is started anew", _text(error))
            self._reset()
            try:
                action(self.experiment)
            except BROKEN as again:
                log.warning("nothing more goes to W&B (%s); other loggers go on", _text(again))
                self._given_up = True

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs numbers of a step."""
        self.send(lambda _: WandbLogger.log_metrics(self, metrics, step))

    def finish(self) -> None:
        """Ends the run; the next job of this process begins its own."""
        try:
            if self._experiment is not None:
                self._experiment.finish()
        except BROKEN as error:
            log.warning("W&B's service process has failed (%s)", _text(error))
            self._reset()

    def _reset(self) -> None:
        self._experiment = None
        with suppress(*BROKEN):  # it reports that the service is gone, and has forgotten it then
            wandb.teardown()
        wandb.run = None  # else Lightning would take it up


class WandbDashboard(Dashboard):
    """Adds to the run of a :class:`ResilientWandbLogger`, if there is one, what is no curve.

    Config: the recipe and the classes. After every validation: the table ``val/classes``, ``val/confusion_matrix``,
    and ``val/images`` with true and predicted masks. Summary: the latest means as ``final/base_iou``, ... In the
    re-training stage: the quality of the labels in ``pseudo_labels``, in the summary and, by class, as
    ``pseudo_labels/classes``.
    """

    kind = ResilientWandbLogger

    def __init__(self, num_images: NonNegativeInt = 8, pseudo_labels: str | None = None) -> None:
        super().__init__(num_images)
        self.pseudo_labels = pseudo_labels

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Logs the configuration, and the quality of the pseudo-labels."""
        split: ClassSplit = pl_module.class_split
        classes = {"base": [split.names[index] for index in split.base], "novel": list(split.novel_names)}
        config = {**pl_module.recipe.to_dict(), "classes": classes}
        if logger := self.logger(trainer):
            logger.send(lambda run: run.config.update(config, allow_val_change=True))
            if self.pseudo_labels:
                logger.send(partial(_log_pseudo_labels, folder=Path(self.pseudo_labels)))

    def picture(self, image: ValidatedImage, split: ClassSplit) -> wandb.Image:
        """An image, of at most 640 pixels, under label maps that W&B switches on and off."""
        labels = dict(enumerate(_starred(split))) | {IGNORE: "unlabelled"}
        maps = {"prediction": image.prediction, "ground_truth": image.truth}
        masks = {name: {"mask_data": resized(label_map), "class_labels": labels} for name, label_map in maps.items()}
        return wandb.Image(resized(image.photo), masks=masks, caption=image.name)

    def show(
        self, logger: ResilientWandbLogger, pictures: list[wandb.Image], report: SegmentationReport, step: int
    ) -> None:
        """Logs images and tables, and brings the summary up to date."""
        shown = {"val/classes": _class_table(report), "val/confusion_matrix": _confusion_chart(report)}
        shown |= {"val/images": pictures} if pictures else {}
        shown |= {"trainer/global_step": step}
        means = {f"final/{name}": value for name, value in report.summary().items()}
        logger.send(lambda run: run.log(shown))
        logger.send(lambda run: run.summary.update(means))


def _class_table(report: SegmentationReport) -> wandb.Table:
    """IoU, accuracy and share of the pixels of every class, in percent."""
    rows = [[*(c | {"novel": "novel" if c["novel"] else "base"}).values()] for c in report.to_dict()["classes"]]
    return wandb.Table(columns=["id", "class", "kind", "IoU", "accuracy", "pixels"], data=rows)


def _confusion_chart(report: SegmentationReport) -> CustomChart:
    """W&B's confusion matrix, in percent of the pixels of the true class: the largest :data:`MAX_CELLS` cells."""
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


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
