"""Random pixels of a region, for whole batches at once (method section 4.4)."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_points(region: Tensor, count: int) -> Tensor:
    """Draws pixels of each image's region; when it has fewer than ``count``, the rest come from anywhere.

    Args:
        region: bool ``[B, P]`` over flattened pixels.
        count: pixels per image, at most P.

    Returns:
        int64 ``[B, count]`` pixel indices, distinct within an image.
    """
    noise = torch.rand(region.shape, device=region.device)
    return (region + 0.1 * noise).topk(min(count, region.shape[1]), dim=1).indices


def choose_class(candidates: Tensor) -> Tensor:
    """One of the candidate classes of each row, uniformly.

    Args:
        candidates: bool ``[B, K]``.

    Returns:
        int64 ``[B]``, -1 in rows without a candidate.
    """
    noise = torch.rand(candidates.shape, device=candidates.device)
    choice = (candidates + 0.5 * noise).argmax(1)
    return torch.where(candidates.any(1), choice, -1)
