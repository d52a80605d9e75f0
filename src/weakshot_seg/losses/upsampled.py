"""Focal and dice loss of masks at full resolution; nothing of that size is kept for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from weakshot_seg.losses.functional import ALPHA, mask_losses


def upsampled_mask_losses(logits: Tensor, masks: Tensor, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`mask_losses` of ``vertical @ logits @ horizontal.T``, one decoder layer at a time.

    The values are those of the plain composition. Backward computes the upsampled logits again and writes the
    derivatives down instead of keeping half a dozen intermediates of all layers at full resolution.

    Args:
        logits: float ``[L, M, h, w]``.
        masks: bool ``[M, H, W]``.
        vertical: float ``[H, h]``, e.g. of bilinear resizing; gets no gradient.
        horizontal: float ``[W, w]``; gets no gradient.

    Returns:
        (focal, dice), each float ``[L, M]``.
    """
    return _UpsampledMaskLosses.apply(logits, masks, vertical, horizontal)


class _UpsampledMaskLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, masks: Tensor, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(logits, masks, vertical, horizontal)
        layers = [mask_losses((vertical @ (layer @ horizontal.T))[None], masks) for layer in logits]
        return torch.cat([focal for focal, _ in layers]), torch.cat([dice for _, dice in layers])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        logits, masks, vertical, horizontal = ctx.saved_tensors
        y = masks.to(logits.dtype)
        result = torch.empty_like(logits)
        for layer, focal_gradient, dice_gradient, out in zip(logits, *gradients, result, strict=True):
            full = _derivative(vertical @ (layer @ horizontal.T), y, focal_gradient, dice_gradient)
            torch.matmul(vertical.T @ full, horizontal, out=out)
        return result, None, None, None


def _derivative(logits: Tensor, y: Tensor, focal_gradient: Tensor, dice_gradient: Tensor) -> Tensor:
    """Gradient ``[M, H, W]`` of the weighted sum of focal and dice losses by the logits.

    With z = +-logit, e = sigmoid(z) the probability of the wrong side and p that of the mask, q = y:
    d focal / dz = a e^2 (2 (1 - e) softplus(z) + e) / P and
    d dice / dp = (2 pq + 1) / (p + q + 1)^2 - 2 y / (p + q + 1), dp / dlogit = e (1 - e).
    """
    sign = 1 - 2 * y
    z = logits * sign
    error = z.sigmoid()
    right = 1 - error
    area = y.sum((1, 2))
    error_inside = torch.einsum("mhw,mhw->m", error, y)
    total = error.sum((1, 2)) + 2 * (area - error_inside) + 1  # p + q + 1
    overlap = 2 * (area - error_inside) + 1
    # e (1 - e) [dice], and sign a e^2 (...) [focal], where a = 0.75 - 0.5 y
    inside, everywhere = (-2 / total * dice_gradient, overlap / total.square() * dice_gradient)
    dice = torch.addcmul(everywhere[:, None, None], inside[:, None, None], y).mul_(error).mul_(right)
    weight = (focal_gradient / (y.shape[1] * y.shape[2]))[:, None, None] * sign * ((1 - ALPHA) + (2 * ALPHA - 1) * y)
    focal = F.softplus(z).mul_(right).mul_(2).add_(error).mul_(error).mul_(error).mul_(weight)
    return focal.add_(dice)
