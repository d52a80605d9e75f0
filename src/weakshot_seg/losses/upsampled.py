"""Losses of masks at full resolution, of which nothing is kept for the backward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weakshot_seg.losses.functional import MaskLosses, at_once, with_gradient
from weakshot_seg.losses.resize import LinearResize


def upsampled_mask_losses(
    logits: Tensor, masks: Tensor, resize: LinearResize, mask_losses: Callable[[Tensor, Tensor], MaskLosses]
) -> tuple[Tensor, Tensor]:
    """Focal and dice loss of the union (maximum) of the ``S`` upsampled proposals that share a target.

    Works on a few masks, or on those of a few decoder layers, at a time and keeps the gradients at the resolution of
    ``logits`` only.

    Args:
        logits: float ``[L, M, S, h, w]``, S at least 1.
        masks: bool ``[M, H, W]``, the target of each union.
        resize: from ``[h, w]`` to ``[H, W]``.
        mask_losses: :func:`~weakshot_seg.losses.functional.mask_losses`, or it compiled.

    Returns:
        (focal, dice), each float ``[L, M]``.
    """
    values = logits.new_empty(2, *logits.shape[:2])
    gradients = logits.new_empty(2, *logits.shape)
    chunk = max(1, at_once(logits.device) // (logits.shape[2] * masks.shape[1] * masks.shape[2]))
    layers = max(1, chunk // max(1, len(masks)))
    with torch.no_grad():
        for start in range(0, len(masks), chunk):
            y = masks[start : start + chunk].to(logits.dtype)
            for first in range(0, len(logits), layers):
                some = slice(first, first + layers), slice(start, start + chunk)
                full = resize(logits[some])  # [l, m, S, H, W]
                union, winner = full.max(2) if full.shape[2] > 1 else (full[:, :, 0], None)
                losses = mask_losses(union, y)
                values[0][some], values[1][some] = losses.focal, losses.dice
                gradients[:, *some] = resize.adjoint(_by_slot(losses.gradients, winner, full.shape[2]))
    return with_gradient(values[0], logits, gradients[0]), with_gradient(values[1], logits, gradients[1])


def _by_slot(gradients: Tensor, winner: Tensor | None, slots: int) -> Tensor:
    """Gradients by the union ``[2, ..., H, W]`` -> by the slots ``[2, ..., S, H, W]``: each pixel's to its maximum."""
    gradients = gradients.unsqueeze(-3)
    if winner is None:
        return gradients
    return gradients * (winner.unsqueeze(-3) == torch.arange(slots, device=winner.device)[:, None, None])
