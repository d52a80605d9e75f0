"""Mask losses as pure maths on logits (method sections 3 and 4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ALPHA = 0.25
"""Weight of the positive pixels in the focal loss."""

LN2 = math.log(2)

AT_ONCE = {"cpu": 2**19, "cuda": 2**26}
"""Numbers in a tensor of element-wise work: a CPU's cache should hold several, on a GPU it must be worth the launch."""


def at_once(device: torch.device) -> int:
    """See :data:`AT_ONCE`."""
    return AT_ONCE.get(device.type, AT_ONCE["cuda"])


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), of any shape. Through log2: torch's own is up to ten times as slow on some CPUs (MKL's log1p)."""
    return x.relu() - LN2 * x.abs().sigmoid().log2()


@dataclass(frozen=True)
class MaskLosses:
    """Losses of masks and their derivatives.

    Attributes:
        focal: float ``[...]``, mean over pixels, at least 0.
        dice: float ``[...]``, 1 - (2 pq + 1) / (p + q + 1), in [0, 1).
        gradients: float ``[2, ..., H, W]``, of focal and of dice by the logits.
    """

    focal: Tensor
    dice: Tensor
    gradients: Tensor


@torch.no_grad()
def mask_losses(logits: Tensor, masks: Tensor) -> MaskLosses:
    """Focal and dice loss of mask logits, and their gradients written down: autograd would keep far more.

    All is written with the log-odds of the *right* side z = +-logit, its probability r = sigmoid(z), the error
    e = 1 - r = |y - p| and q = y: focal = a e^2 softplus(-z) and d focal / dz = -a e^2 (2 r softplus(-z) + e), where
    a = 0.75 - 0.5 y; d dice / dp = (2 pq + 1) / (p + q + 1)^2 - 2 y / (p + q + 1) and dp / dlogit = e r. Most of it
    happens in place: reading and writing memory is what takes the time.

    Args:
        logits: float ``[..., H, W]``.
        masks: bool or 0/1 ``[..., H, W]``, broadcastable in the leading dimensions.
    """
    y = masks.to(logits.dtype)
    sign = 2 * y - 1
    log_odds = logits * sign
    right = log_odds.sigmoid().clamp_(min=torch.finfo(logits.dtype).tiny)
    # log2(right), and where that would be minus infinity its asymptote
    log_right = torch.minimum(right.log2(), log_odds.mul_(1 / LN2))
    error = torch.sub(1, right, out=log_odds)
    pixels = y.shape[-2] * y.shape[-1]
    minus_alpha = ((1 - 2 * ALPHA) / pixels * y).add_((ALPHA - 1) / pixels)
    weight = error.square().mul_(minus_alpha)
    entropy = log_right.mul_(weight)
    focal = LN2 * entropy.sum((-2, -1))
    gradients = weight.new_empty(2, *weight.shape)
    torch.mul(weight.mul_(error).addcmul_(entropy, right, value=-2 * LN2), sign, out=gradients[0])

    area = y.sum((-2, -1))
    error_inside = (error * y).sum((-2, -1))
    overlap = 2 * (area - error_inside) + 1
    total = error.sum((-2, -1)) + 2 * (area - error_inside) + 1  # p + q + 1
    inside, everywhere = (v[..., None, None] for v in (-2 / total, overlap / total.square()))
    torch.mul(error.mul_(right), (y * inside).add_(everywhere), out=gradients[1])
    return MaskLosses(focal, 1 - overlap / total, gradients)


def with_gradient(value: Tensor, logits: Tensor, gradient: Tensor) -> Tensor:
    """``value`` with a given derivative: for autograd, d value / d logits is ``gradient`` (once).

    Args:
        value: float ``[...]``.
        logits: float ``[..., *dims]`` that ``value`` was computed from.
        gradient: float, shape of ``logits``.
    """
    return value + (gradient * (logits - logits.detach())).flatten(value.ndim).sum(-1)


@torch.no_grad()
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
    wrong = (-logits).sigmoid_().clamp_(min=torch.finfo(logits.dtype).tiny)  # 1 - p, of a pixel in the mask
    penalty = torch.maximum(wrong.log2().mul_(-LN2), logits)  # softplus(logits), and its asymptote
    probability = 1 - wrong
    inside = wrong.square_().mul_(penalty - logits).mul_(ALPHA)  # focal loss of a pixel if in the mask
    outside = penalty.mul_(probability).mul_(probability).mul_(1 - ALPHA)  # ... if not
    outside_sum = outside.sum(-1, keepdim=True)
    focal = (inside.sub_(outside) @ masks + outside_sum) / logits.shape[-1]
    total = probability.sum(-1, keepdim=True) + masks.sum(-2, keepdim=True)
    dice = 1 - (2 * (probability @ masks) + 1) / (total + 1)
    return focal_weight * focal + dice_weight * dice


def empty_focal(logits: Tensor) -> Tensor:
    """Focal loss of mask logits ``[..., H, W]`` against an empty mask, mean over pixels: float ``[...]``."""
    return (1 - ALPHA) * (logits.sigmoid().square() * softplus(logits)).mean((-2, -1))
