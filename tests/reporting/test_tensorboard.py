"""What TensorBoard's own reader finds after a validation."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray
from PIL import Image, ImageColor
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from weakshot_seg.reporting.figures import BASE, NOVEL
from weakshot_seg.reporting.tensorboard import TensorBoardDashboard
from weakshot_seg.structures import ClassSplit
from weakshot_seg.training.metrics import SegmentationReport

SPLIT = ClassSplit(("sky", "heron"), (1,))
PHOTO = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


def read(events: EventAccumulator, tag: str) -> tuple[int, NDArray[np.uint8]]:
    (event,) = events.Images(tag)
    return event.step, np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))


def area(pixels: NDArray[np.uint8], colour: str) -> int:
    return int((abs(pixels.astype(int) - ImageColor.getrgb(colour)) <= 1).all(-1).sum())  # rounding


def test_the_panels_of_a_validation(tmp_path: Path) -> None:
    report = SegmentationReport.from_confusion(torch.tensor([[60, 20], [20, 20]]), SPLIT)  # IoU 60 and 33.3 %
    logger = TensorBoardLogger(str(tmp_path), name="", version="")
    TensorBoardDashboard().show(logger, [PHOTO], report, 7)
    logger.experiment.flush()
    events = EventAccumulator(str(tmp_path)).Reload()
    step, photo = read(events, "val/images/0")
    assert step == 7
    assert (photo == PHOTO).all()
    bars = read(events, "val/classes")[1]
    assert abs(area(bars, NOVEL) / area(bars, BASE) - 100 / 3 / 60) < 0.03
    cells = read(events, "val/confusion_matrix")[1]
    areas = [area(cells, to_hex(colormaps["Blues"](share))) for share in (0.75, 0.25, 0.5)]  # of the true class
    assert areas[0] == pytest.approx(areas[1], rel=0.1)
    assert areas[2] == pytest.approx(2 * areas[0], rel=0.1)  # two cells
