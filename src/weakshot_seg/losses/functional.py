"""Mask losses as pure maths on logits (method sections 3 and 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ALPHA = 0.25
"""Weight of the positive pixels in the focal loss."""


def mask_losses(logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Focal loss (mean over pixels) and dice loss 1 - (2 pq + 1) / (p + q + 1) of mask logits.

    Both are written with the probability of the *wrong* side e = |y - p|, the only large intermediate they share:
    focal = a e^2 softplus(-z) with z = +-logit; sum(p y) = sum(y) - sum(e y); sum(p) = sum(e) + sum(y) - 2 sum(e y).

    Args:
        logits: float ``[L, M, H, W]``.
        masks: bool ``[M, H, W]``.

    Returns:
        (focal, dice), each float ``[L, M]``, at least 0; dice below 1.
    """
    logits, y = logits.flatten(2), masks.flatten(1).to(logits.dtype)  # [L, M, P], [M, P]
    z = logits * (1 - 2 * y)
    error = z.sigmoid()
    alpha = (1 - ALPHA) + (2 * ALPHA - 1) * y
    focal = torch.einsum("lmp,mp->lm", error.square() * F.softplus(z), alpha) / y.shape[1]
    error_inside = torch.einsum("lmp,mp->lm", error, y)
    area = y.sum(1)
    overlap = area - error_inside
    total = error.sum(2) + overlap - error_inside + area  # p + q
    return focal, 1 - (2 * overlap + 1) / (total + 1)


def pairwise_mask_cost(logits: Tensor, masks: Tensor, focal_weight: float, dice_weight: float) -> Tensor:
    """focal_weight * focal + dice_weight * dice of every proposal with every mask, as matrix products.

    Args:
        logits: float ``[..., Q, P]`` over P pixels.
        masks: float 0/1 ``[..., P, N]``, broadcastable in the leading dimensions.
        focal_weight: weight of the focal part.
        dice_weight: weight of the dice part.

    Returns:
        float ``[..., Q, N]``.
    """
    probability = logits.sigmoid()
    softplus = F.softplus(logits)
    inside = ALPHA * (1 - probability).square() * (softplus - logits)  # focal loss of a pixel if in the mask
    outside = (1 - ALPHA) * probability.square() * softplus  # ... if not
    focal = ((inside - outside) @ masks + outside.sum(-1, keepdim=True)) / logits.shape[-1]
    total = probability.sum(-1, keepdim=True) + masks.sum(-2, keepdim=True)
    dice = 1 - (2 * probability @ masks + 1) / (total + 1)
    return focal_weight * focal + dice_weight * dice


def empty_focal(logits: Tensor) -> Tensor:
    """Focal loss of mask logits ``[..., H, W]`` against an empty mask, mean over pixels: float ``[...]``."""
    return (1 - ALPHA) * (logits.sigmoid().square() * F.softplus(logits)).mean((-2, -1))
