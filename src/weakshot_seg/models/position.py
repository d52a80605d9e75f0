"""The sine position embedding of DETR (normalised, temperature 10000; method section 2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position_embedding(height: int, width: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Position embedding of a grid.

    Channels: first half encodes y, second half x; sines and cosines alternate. Positions run over (0, 2 pi].

    Args:
        height: rows of the grid.
        width: columns of the grid.
        dim: channels, a multiple of 4.
        device: where to make it.

    Returns:
        float32 ``[dim, height, width]``.
    """
    half = dim // 2
    channel = torch.arange(half, device=device, dtype=torch.float32)
    wavelength = 10000 ** (2 * torch.div(channel, 2, rounding_mode="floor") / half)

    def encode(count: int) -> Tensor:
        steps = torch.arange(1, count + 1, device=device, dtype=torch.float32)
        angle = (steps / (count + 1e-6) * 2 * math.pi)[:, None] / wavelength  # [count, half]
        return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)

    y = encode(height)[:, None].expand(-1, width, -1)
    x = encode(width)[None].expand(height, -1, -1)
    return torch.cat([y, x], dim=2).permute(2, 0, 1)
