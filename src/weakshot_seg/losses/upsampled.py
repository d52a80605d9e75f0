"""Losses of masks at full resolution, of which nothing is kept for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from weakshot_seg.losses.functional import mask_losses


def upsampled_mask_losses(logits: Tensor, masks: Tensor, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
    """Focal and dice loss of the union (maximum) of the ``S`` upsampled proposals that share a target.

    Works on one decoder layer at a time and keeps the gradients at the resolution of ``logits`` only.

    Args:
        logits: float ``[L, M, S, h, w]``, S at least 1.
        masks: bool ``[M, H, W]``, the target of each union.
        vertical: float ``[H, h]``, e.g. of bilinear resizing; gets no gradient.
        horizontal: float ``[W, w]``; gets no gradient.

    Returns:
        (focal, dice), each float ``[L, M]``; see :func:`~weakshot_seg.losses.functional.mask_losses`.
    """
    return _UpsampledMaskLosses.apply(logits, masks, vertical, horizontal)


class _UpsampledMaskLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, masks: Tensor, vertical: Tensor, horizontal: Tensor) -> tuple[Tensor, Tensor]:
        values = logits.new_empty(2, *logits.shape[:2])
        gradients = logits.new_empty(2, *logits.shape)
        for layer, value, gradient in zip(logits, values.unbind(1), gradients.unbind(1), strict=True):
            full = vertical @ (layer @ horizontal.T)  # [M, S, H, W]
            union, winner = full.max(1) if full.shape[1] > 1 else (full[:, 0], None)
            losses = mask_losses(union, masks)
            value[0], value[1] = losses.focal, losses.dice
            for by_union, out in zip((losses.focal_gradient, losses.dice_gradient), gradient, strict=True):
                torch.matmul(vertical.T @ _by_slot(by_union, winner, full.shape[1]), horizontal, out=out)
        ctx.save_for_backward(gradients)
        return values[0], values[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradients,) = ctx.saved_tensors
        focal, dice = (gradient[..., None, None, None] for gradient in outer)
        return torch.addcmul(focal * gradients[0], dice, gradients[1]), None, None, None


def _by_slot(gradient: Tensor, winner: Tensor | None, slots: int) -> Tensor:
    """Gradient by the union ``[M, H, W]`` -> by the slots ``[M, S, H, W]``: each pixel's goes to its maximum."""
    if winner is None:
        return gradient[:, None]
    return gradient[:, None] * (winner[:, None] == torch.arange(slots, device=winner.device)[:, None, None])
