"""Does an exported file say what the model says, and how fast?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from weakshot_seg.exporting.formats import Run
from weakshot_seg.inference.graph import SegmentationGraph
from weakshot_seg.segmenter import Pixels, Segmenter


@dataclass(frozen=True)
class Agreement:
    """Of one batch.

    Attributes:
        images: In the batch.
        height: Of each.
        width: Of each.
        labels: Share of the pixels that have the same class.
        difference: Largest difference of a score; None for graphs that give labels.
    """

    images: int
    height: int
    width: int
    labels: float
    difference: float | None


def compare(run: Run, output: str, segmenter: Segmenter, images: Sequence[Pixels]) -> list[Agreement]:
    """Compares with the predictions of ``segmenter`` (``inference=whole``).

    Each image alone at its own size; then three at once, and one cut to a size that is no multiple of anything.

    Args:
        run: the exported file.
        output: "labels" or "scores": what it gives.
        segmenter: the model.
        images: uint8 ``[h, w, 3]``, resized for the model.
    """
    height, width = (min(image.shape[axis] for image in images) for axis in (0, 1))
    three = [images[index % len(images)][:height, :width] for index in range(3)]
    odd = images[0][: max(1, height - 5), : max(1, width - 11)]
    return [_agreement(run, output, segmenter, batch) for batch in [*([image] for image in images), three, [odd]]]


def _agreement(run: Run, output: str, segmenter: Segmenter, batch: Sequence[Pixels]) -> Agreement:
    found = run(np.stack(batch).transpose(0, 3, 1, 2))
    same, difference = [], []
    for ours, expected in zip(found, segmenter.predict_resized(batch), strict=True):
        if output == "scores":
            scores = np.stack([expected.scores(name) for name in segmenter.class_names])
            difference.append(float(np.abs(ours - scores).max()))
            ours = ours.argmax(0)
        same.append(float((ours == expected.labels).mean()))
    height, width = batch[0].shape[:2]
    return Agreement(len(batch), height, width, float(np.mean(same)), max(difference, default=None))


def time_both(run: Run, graph: SegmentationGraph, image: Pixels, repeats: int = 7) -> tuple[float, float]:
    """Median seconds for one image: of the exported file, and of PyTorch; the two take turns."""
    array: NDArray[np.uint8] = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
    tensor = torch.from_numpy(array)
    with torch.inference_mode():
        pairs = [(_seconds(lambda: run(array)), _seconds(lambda: graph(tensor))) for _ in range(repeats + 1)]
    theirs, ours = zip(*pairs[1:], strict=True)
    return statistics.median(theirs), statistics.median(ours)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
