"""Linear resizing as a matrix, and its adjoint: the gradient at low resolution of a gradient at full resolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

OUT_ROWS, IN_ROWS = 16, 8
"""Rows of a block: of the resized map, and of the adjoint's."""


@dataclass(frozen=True)
class BandedMatrix:
    """A matrix whose rows have few entries, in neighbouring columns; multiplied block by block, past the zeros.

    Attributes:
        size: number of rows.
        blocks: float ``[N, G, R]``, G rows each with the R columns in which they have entries.
        columns: int64 ``[N * R]``, which these are.
    """

    size: int
    blocks: Tensor
    columns: Tensor

    @classmethod
    def of(cls, matrix: Tensor, rows: int) -> BandedMatrix:
        """Of a float matrix ``[size, n]``, in blocks of ``rows`` rows."""
        size, width = matrix.shape
        blocks = F.pad(matrix, (0, 0, 0, -size % rows)).view(-1, rows, width)
        used = (blocks != 0).any(1).byte()
        first, last = used.argmax(1), width - 1 - used.flip(1).argmax(1)
        span = max((last - first).tolist()) + 1
        columns = first.clamp(max=width - span)[:, None] + torch.arange(span, device=matrix.device)  # [N, R]
        return cls(size, blocks.gather(2, columns[:, None].expand(-1, rows, -1)), columns.flatten())

    def to(self, device: torch.device, dtype: torch.dtype) -> BandedMatrix:
        """On another device, in another dtype."""
        return BandedMatrix(self.size, self.blocks.to(device, dtype), self.columns.to(device))

    def __matmul__(self, x: Tensor) -> Tensor:
        """``[..., n, W]`` -> ``[..., size, W]``."""
        parts = x.index_select(-2, self.columns).unflatten(-2, (len(self.blocks), -1))  # [..., N, R, W]
        return (self.blocks @ parts).flatten(-3, -2)[..., : self.size, :]


@dataclass(frozen=True)
class LinearResize:
    """x -> V x H^T, one matrix for the vertical direction and one for the horizontal.

    Attributes:
        vertical: V, ``[H, h]``.
        vertical_adjoint: V^T.
        horizontal: H, float ``[W, w]``.
    """

    vertical: BandedMatrix
    vertical_adjoint: BandedMatrix
    horizontal: Tensor

    @classmethod
    def of(cls, vertical: Tensor, horizontal: Tensor) -> LinearResize:
        """Of float matrices ``[H, h]`` and ``[W, w]``."""
        return cls(BandedMatrix.of(vertical, OUT_ROWS), BandedMatrix.of(vertical.T, IN_ROWS), horizontal)

    def to(self, device: torch.device, dtype: torch.dtype) -> LinearResize:
        """On another device, in another dtype."""
        vertical, adjoint = self.vertical.to(device, dtype), self.vertical_adjoint.to(device, dtype)
        return LinearResize(vertical, adjoint, self.horizontal.to(device, dtype))

    def __call__(self, x: Tensor) -> Tensor:
        """``[..., h, w]`` -> ``[..., H, W]``."""
        return self.vertical @ (x @ self.horizontal.T)

    def adjoint(self, gradient: Tensor) -> Tensor:
        """The gradient by x ``[..., h, w]`` of one by the resized x ``[..., H, W]``."""
        return self.vertical_adjoint @ gradient @ self.horizontal
