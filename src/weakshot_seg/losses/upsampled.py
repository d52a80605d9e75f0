"""Losses of masks at full resolution, of which nothing is kept for the backward pass."""

from __future__ import annotations

import torch
from torch import Tensor

from weakshot_seg.losses.functional import at_once, mask_losses, with_gradient
from weakshot_seg.losses.resize import LinearResize


def upsampled_mask_losses(logits: Tensor, masks: Tensor, resize: LinearResize) -> tuple[Tensor, Tensor]:
    """Focal and dice loss of the union (maximum) of the ``S`` upsampled proposals that share a target.

    Works on a few masks of one decoder layer at a time and keeps the gradients at the resolution of ``logits`` only.

    Args:
        logits: float ``[L, M, S, h, w]``, S at least 1.
        masks: bool ``[M, H, W]``, the target of each union.
        resize: from ``[h, w]`` to ``[H, W]``.

    Returns:
        (focal, dice), each float ``[L, M]``; see :func:`~weakshot_seg.losses.functional.mask_losses`.
    """
    values = logits.new_empty(2, *logits.shape[:2])
    gradients = logits.new_empty(2, *logits.shape)
    chunk = max(1, at_once(logits.device) // (logits.shape[2] * masks.shape[1] * masks.shape[2]))
    with torch.no_grad():
        for start in range(0, len(masks), chunk):
            some = slice(start, start + chunk)
            y = masks[some].to(logits.dtype)
            for layer in range(len(logits)):
                full = resize(logits[layer, some])  # [m, S, H, W]
                union, winner = full.max(1) if full.shape[1] > 1 else (full[:, 0], None)
                losses = mask_losses(union, y)
                values[0, layer, some], values[1, layer, some] = losses.focal, losses.dice
                gradients[:, layer, some] = resize.adjoint(_by_slot(losses.gradients, winner, full.shape[1]))
    return with_gradient(values[0], logits, gradients[0]), with_gradient(values[1], logits, gradients[1])


def _by_slot(gradients: Tensor, winner: Tensor | None, slots: int) -> Tensor:
    """Gradients by the union ``[2, m, H, W]`` -> by the slots ``[2, m, S, H, W]``: each pixel's goes to its maximum."""
    if winner is None:
        return gradients[:, :, None]
    return gradients[:, :, None] * (winner[:, None] == torch.arange(slots, device=winner.device)[:, None, None])
