"""On which pixels mask losses are taken: all of them, or every n-th row and column from a random start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class PixelLattice:
    """Rows and columns of the full-resolution image.

    Attributes:
        size: (H, W) of the image.
        rows: slice over the H rows.
        columns: slice over the W columns.
    """

    size: tuple[int, int]
    rows: slice
    columns: slice

    @classmethod
    def draw(cls, size: Sequence[int], stride: int) -> PixelLattice:
        """Every ``stride``-th row and column; over the steps all pixels come up equally often."""
        top, left = torch.randint(stride, (2,)).tolist() if stride > 1 else (0, 0)
        return cls((size[0], size[1]), slice(top, None, stride), slice(left, None, stride))

    def pick(self, maps: Tensor) -> Tensor:
        """``[..., H, W]`` -> ``[..., H', W']``."""
        return maps[..., self.rows, self.columns]

    def matrices(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """``[H', h]`` and ``[W', w]`` that upsample maps of size, dtype and device of ``like`` (``[..., h, w]``)."""
        vertical = _bilinear(like.shape[-2], self.size[0], like)[self.rows]
        horizontal = _bilinear(like.shape[-1], self.size[1], like)[self.columns]
        return vertical, horizontal


def _bilinear(source: int, target: int, like: Tensor) -> Tensor:
    """Matrix ``[target, source]`` of one-dimensional bilinear resizing."""
    identity = torch.eye(source, device=like.device, dtype=like.dtype)
    return F.interpolate(identity[None], target, mode="linear", align_corners=False)[0].T
