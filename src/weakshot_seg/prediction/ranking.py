"""Which photos to annotate next: those whose pixels the model is least sure of, and that look unlike each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weakshot_seg.inference.semantic import SCORES_AT_ONCE, Scores, Size

Features = NDArray[np.float32]
LARGEST = 512
"""Longer edge in pixels at which the uncertainty is measured."""
DISTANCES_AT_ONCE = 2**24
"""Numbers in the largest table of distances."""


@torch.inference_mode()
def uncertainty(scores: Scores, size: Size) -> float:
    """Mean entropy of an image's pixels over their classes, 0 (each has one class) to 1 (all classes alike).

    Scores of a pixel are divided by their sum; one without any score counts as 1. ``size`` is that of the image, which
    is shrunk to :data:`LARGEST`.
    """
    factor = min(1.0, LARGEST / max(size))
    size = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    chunk = max(1, SCORES_AT_ONCE // max(scores.pixels, size[0] * size[1]))
    total, weighted = torch.zeros(()), torch.zeros(())
    for start in range(0, scores.num_classes, chunk):  # sums, so that few classes are in memory at any time
        planes = scores(slice(start, start + chunk), size)
        total = total.to(planes) + planes.sum(0)
        weighted = weighted.to(planes) + torch.xlogy(planes, planes).sum(0)
    most, tiny = float(np.log(scores.num_classes)), torch.finfo(total.dtype).tiny
    if most == 0:
        return 0.0
    divisor = total.clamp(min=tiny)
    # -sum p log p, with p = score / total
    entropy = torch.where(total > tiny, divisor.log() - weighted / divisor, most)
    return float(entropy.clamp(0, most).mean()) / most


@contextmanager
def pooled_features(backbone: nn.Module) -> Iterator[list[Tensor]]:
    """The deepest features ``[C]`` of each image that goes through the backbone in a block, as mean of their pixels."""
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, features: Sequence[Tensor]) -> None:
        found.extend(features[-1].float().mean((2, 3)).cpu())

    hook = backbone.register_forward_hook(keep)
    try:
        yield found
    finally:
        hook.remove()


def choose(
    uncertainties: NDArray[np.float64], features: Features, number: int, diversity: float, known: Features
) -> list[tuple[int, float]]:
    """Greedily, the image with the largest uncertainty x distance^diversity, and its distance.

    Distance (0..2) is that to the closest image chosen before or ``known``, between features of length 1
    (farthest-point sampling, weighted; core-set, arXiv 1708.00489). It is 1 where there is no such image. Of equals the
    first counts.

    Args:
        uncertainties: ``[N]``, at least 0.
        features: ``[N, C]``, of length 1.
        number: how many to choose, at most.
        diversity: at least 0; 0 ranks by uncertainty alone.
        known: ``[M, C]``, of length 1, of images that are annotated already; M may be 0.
    """
    nearest = distances(features, known) if len(known) else np.ones(len(features))
    open_, alone = np.ones(len(features), dtype=bool), not len(known)
    chosen: list[tuple[int, float]] = []
    for _ in range(min(number, len(features))):
        best = int(np.where(open_, uncertainties * nearest**diversity, -1.0).argmax())
        open_[best] = False
        chosen.append((best, float(nearest[best])))
        away = distances(features, features[best : best + 1])
        nearest, alone = away if alone else np.minimum(nearest, away), False
    return chosen


def distances(features: Features, centres: Features) -> NDArray[np.float64]:
    """Distance of each row to the closest centre, ``[N, C]``, ``[M, C]`` -> ``[N]``; all rows are of length 1."""
    squares = np.full(len(features), 4.0)
    step = max(1, DISTANCES_AT_ONCE // max(len(features), 1))
    for start in range(0, len(centres), step):
        likeness = (features @ centres[start : start + step].T).max(1)
        squares = np.minimum(squares, 2 - 2 * likeness.astype(np.float64))
    return np.sqrt(squares.clip(min=0))


def unit(features: Sequence[Tensor]) -> Features:
    """Features ``[C]`` of images as rows ``[N, C]``, each of length 1."""
    if not features:
        return np.empty((0, 0), np.float32)
    rows = torch.stack(list(features)).numpy()
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)
