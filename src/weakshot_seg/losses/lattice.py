"""On which pixels mask losses are taken: all of them, or every n-th row and column from a random start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from weakshot_seg.losses.resize import LinearResize


@dataclass(frozen=True)
class PixelLattice:
    """Every ``stride``-th row and column of the full-resolution image.

    Attributes:
        size: (H, W) of the image.
        stride: 1 takes all pixels.
        top: first row, below ``stride``.
        left: first column, below ``stride``.
    """

    size: tuple[int, int]
    stride: int = 1
    top: int = 0
    left: int = 0

    @classmethod
    def draw(cls, size: Sequence[int], stride: int) -> PixelLattice:
        """With a random start; over the steps all pixels of a map that is no smaller come up equally often."""
        top, left = torch.randint(stride, (2,)).tolist() if stride > 1 else (0, 0)
        return cls((size[0], size[1]), stride, top % size[0], left % size[1])  # at least one row and column

    def pick(self, maps: Tensor) -> Tensor:
        """``[..., H, W]`` -> ``[..., H', W']``."""
        return maps[..., self.top :: self.stride, self.left :: self.stride]

    def resize(self, like: Tensor) -> LinearResize:
        """Upsampling to the lattice of maps that have the size, dtype and device of ``like`` (``[..., h, w]``)."""
        return _resize(self, like.shape[-2], like.shape[-1], like.dtype, like.device)


@lru_cache(maxsize=32)  # made on the host, so a matrix made in every step would wait for the device
def _resize(lattice: PixelLattice, height: int, width: int, dtype: torch.dtype, device: torch.device) -> LinearResize:
    vertical = _bilinear(height, lattice.size[0])[lattice.top :: lattice.stride]
    horizontal = _bilinear(width, lattice.size[1])[lattice.left :: lattice.stride]
    return LinearResize.of(vertical, horizontal).to(device, dtype)


def _bilinear(source: int, target: int) -> Tensor:
    """Matrix ``[target, source]`` of one-dimensional bilinear resizing."""
    identity = torch.eye(source, dtype=torch.float64)
    return F.interpolate(identity[None], target, mode="linear", align_corners=False)[0].T
