"""Mask losses as pure maths on logits (method sections 3 and 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ALPHA = 0.25
"""Weight of the positive pixels in the focal loss."""


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), of any shape. Through log2: torch's own is up to ten times as slow on some CPUs (MKL's log1p)."""
    return x.relu() - math.log(2) * x.abs().sigmoid().log2()


@dataclass(frozen=True)
class MaskLosses:
    """Losses of ``M`` masks and their derivatives.

    Attributes:
        focal: float ``[M]``, mean over pixels, at least 0.
        dice: float ``[M]``, 1 - (2 pq + 1) / (p + q + 1), in [0, 1).
        focal_gradient: float ``[M, H, W]``, by the logits.
        dice_gradient: likewise.
    """

    focal: Tensor
    dice: Tensor
    focal_gradient: Tensor
    dice_gradient: Tensor


@torch.no_grad()
def mask_losses(logits: Tensor, masks: Tensor) -> MaskLosses:
    """Focal and dice loss of mask logits, and their gradients written down: autograd would keep far more.

    All is written with z = +-logit and the probability of the *wrong* side e = sigmoid(z) = |y - p|, q = y:
    focal = a e^2 softplus(z) and d focal / dz = a e^2 (2 (1 - e) softplus(z) + e), where a = 0.75 - 0.5 y;
    d dice / dp = (2 pq + 1) / (p + q + 1)^2 - 2 y / (p + q + 1) and dp / dlogit = e (1 - e).

    Args:
        logits: float ``[M, H, W]``.
        masks: bool ``[M, H, W]``.
    """
    y = masks.to(logits.dtype)
    sign = 1 - 2 * y
    z = logits * sign
    error = z.sigmoid()
    right = 1 - error
    penalty = softplus(z)
    alpha = ((1 - ALPHA) + (2 * ALPHA - 1) * y) / (y.shape[1] * y.shape[2])
    weight = error.square().mul_(alpha)
    focal = torch.einsum("mp,mp->m", weight.flatten(1), penalty.flatten(1))
    focal_gradient = penalty.mul_(right).mul_(2).add_(error).mul_(weight).mul_(sign)

    area = y.sum((1, 2))
    error_inside = torch.einsum("mp,mp->m", error.flatten(1), y.flatten(1))
    overlap = 2 * (area - error_inside) + 1
    total = error.sum((1, 2)) + 2 * (area - error_inside) + 1  # p + q + 1
    inside, everywhere = (v[:, None, None] for v in (-2 / total, overlap / total.square()))
    dice_gradient = torch.addcmul(everywhere, inside, y).mul_(error).mul_(right)
    return MaskLosses(focal, 1 - overlap / total, focal_gradient, dice_gradient)


def with_gradient(value: Tensor, logits: Tensor, gradient: Tensor) -> Tensor:
    """``value`` with a given derivative: for autograd, d value / d logits is ``gradient`` (once).

    Args:
        value: float ``[...]``.
        logits: float ``[..., *dims]`` that ``value`` was computed from.
        gradient: float, shape of ``logits``.
    """
    return value + (gradient * (logits - logits.detach())).flatten(value.ndim).sum(-1)


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
    penalty = softplus(logits)
    inside = ALPHA * (1 - probability).square() * (penalty - logits)  # focal loss of a pixel if in the mask
    outside = (1 - ALPHA) * probability.square() * penalty  # ... if not
    focal = ((inside - outside) @ masks + outside.sum(-1, keepdim=True)) / logits.shape[-1]
    total = probability.sum(-1, keepdim=True) + masks.sum(-2, keepdim=True)
    dice = 1 - (2 * probability @ masks + 1) / (total + 1)
    return focal_weight * focal + dice_weight * dice


def empty_focal(logits: Tensor) -> Tensor:
    """Focal loss of mask logits ``[..., H, W]`` against an empty mask, mean over pixels: float ``[...]``."""
    return (1 - ALPHA) * (logits.sigmoid().square() * softplus(logits)).mean((-2, -1))
