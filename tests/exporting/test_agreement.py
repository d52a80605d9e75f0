"""The comparison sees what is wrong with a file."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from weakshot_seg.exporting.agreement import Agreement, Report, Tolerance, batches_of, compare, runner
from weakshot_seg.structures import SegOutput

BATCHES = [Agreement(1, 40, 50, 1e-6, 1.0), Agreement(2, 33, 50, 2e-4, 0.9995)]
REPORT = Report("model.onnx", "onnx", "last.ckpt", 1, "1 of 1 given images", BATCHES, Tolerance(1e-3, 0.999), {})


def test_the_worst_batch_counts_and_nan_never_passes() -> None:
    assert (*REPORT.totals, REPORT.passed) == (2e-4, 0.9995, True)
    assert not replace(REPORT, tolerance=Tolerance(1e-4, 0.999)).passed
    assert not replace(REPORT, tolerance=Tolerance(1e-3, 0.9999)).passed
    for place in (0, 1, 2):
        batches = list(REPORT.batches)
        batches.insert(place, Agreement(1, 40, 50, math.nan, 1.0))
        report = replace(REPORT, batches=batches)
        content = json.loads(report.as_json())
        assert not report.passed
        assert content["max_difference"] is content["batches"][place]["max_difference"] is None


def network(images: Tensor) -> SegOutput:
    """Two proposals of class 0 and 1; the second is where an image is red."""
    logits = torch.tensor([[[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]]]).expand(1, len(images), 2, 3)
    red = images[:, 0, ::4, ::4].float() - 127.5
    return SegOutput(logits, torch.stack([-red, red], 1)[None], red[:, None])


def test_differences_and_agreement_are_counted() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 3, 40, 50), dtype=np.uint8)
    model = runner(network)

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        labels, scores = model(images)
        labels, scores = labels.copy(), scores.copy()
        labels[1, :4, :5] = 1 - labels[1, :4, :5]
        scores[0, 1, 7, 9] += 0.25
        return labels, scores

    (found,) = compare(run, model, [images])
    assert (found.images, found.height, found.width) == (2, 40, 50)
    assert found.argmax_agreement == 1 - 20 / (2 * 40 * 50)
    assert found.max_difference == pytest.approx(0.25)


def test_batches_are_of_many_sizes() -> None:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (height, 70, 3), dtype=np.uint8) for height in (50, 64)]
    batches = batches_of(photos, "float32")
    sizes = [(1, 50, 70), (1, 64, 70), (2, 50, 70), (2, 64, 96), (1, 63, 93), (3, 17, 23)]
    assert [batch.shape for batch in batches] == [(count, 3, *size) for count, *size in sizes]
    assert all(batch.dtype == np.float32 for batch in batches)
    np.testing.assert_array_equal(batches[0][0].transpose(1, 2, 0), photos[0])
