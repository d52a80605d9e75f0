"""What TensorBoard shows beside curves."""

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger

from weakshot_seg.reporting import figures
from weakshot_seg.reporting.run_pictures import class_bars
from weakshot_seg.structures import ClassSplit
from weakshot_seg.training.callbacks.pictures import Dashboard, ValidatedImage
from weakshot_seg.training.metrics import SegmentationReport
from weakshot_seg.utils.visualize import panel

Pixels = NDArray[np.uint8]


class TensorBoardDashboard(Dashboard):
    """Adds images: ``val/classes`` (IoU), ``val/confusion_matrix``; photo, truth and prediction in ``val/images``."""

    kind = TensorBoardLogger

    def picture(self, image: ValidatedImage, split: ClassSplit) -> Pixels:
        """Photo, truth and prediction side by side."""
        return np.asarray(panel(image.photo, image.truth, image.prediction, split))

    def show(self, logger: TensorBoardLogger, pictures: list[Pixels], report: SegmentationReport, step: int) -> None:
        """Logs images and charts."""
        split, counts = report.split, report.confusion.numpy()
        novel = frozenset(split.novel_names)
        bars = class_bars((name, name in novel, iou) for name, iou in zip(split.names, report.iou, strict=True))
        title = "IoU by class"
        images = {f"val/images/{number}": picture for number, picture in enumerate(pictures)}
        images["val/classes"] = figures.rastered(figures.bar_chart, title, bars)
        images["val/confusion_matrix"] = figures.rastered(figures.confusion_chart, "", counts, split.names, novel)
        for name, pixels in images.items():
            logger.experiment.add_image(name, pixels, step, dataformats="HWC")
