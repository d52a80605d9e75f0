"""Losses of masks at full resolution, of which nothing is kept for the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from weakshot_seg.losses.functional import mask_losses, with_gradient


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
    values = logits.new_empty(2, *logits.shape[:2])
    gradients = logits.new_empty(2, *logits.shape)
    with torch.no_grad():
        for layer, value, gradient in zip(logits, values.unbind(1), gradients.unbind(1), strict=True):
            full = vertical @ (layer @ horizontal.T)  # [M, S, H, W]
            union, winner = full.max(1) if full.shape[1] > 1 else (full[:, 0], None)
            losses = mask_losses(union, masks)
            value[0], value[1] = losses.focal, losses.dice
            for by_union, out in zip((losses.focal_gradient, losses.dice_gradient), gradient, strict=True):
                torch.matmul(vertical.T @ _by_slot(by_union, winner, full.shape[1]), horizontal, out=out)
    return with_gradient(values[0], logits, gradients[0]), with_gradient(values[1], logits, gradients[1])


def _by_slot(gradient: Tensor, winner: Tensor | None, slots: int) -> Tensor:
    """Gradient by the union ``[M, H, W]`` -> by the slots ``[M, S, H, W]``: each pixel's goes to its maximum."""
    if winner is None:
        return gradient[:, None]
    return gradient[:, None] * (winner[:, None] == torch.arange(slots, device=winner.device)[:, None, None])
