"""Values of maps at single pixels."""

from __future__ import annotations

from torch import Tensor


def take_points(maps: Tensor, points: Tensor) -> Tensor:
    """Values at pixels: ``[B, C, P]``, ``[B, J]`` -> ``[B, J, C]``."""
    return maps.gather(2, points[:, None].expand(-1, maps.shape[1], -1)).transpose(1, 2)
