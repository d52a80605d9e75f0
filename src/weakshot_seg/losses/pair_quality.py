"""How well SimNet tells similar pairs of pixels from dissimilar ones."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def pair_quality(logits: Tensor, same: Tensor, counted: Tensor) -> dict[str, Tensor]:
    """Accuracy, and precision, recall and F1 of either kind of pairs, without waiting for the device.

    Args:
        logits: float ``[..., 2]`` for (different, same).
        same: bool ``[...]``, the truth.
        counted: bool ``[...]``, the pairs to judge.

    Returns:
        Scalars 0..1: ``accuracy``, ``precision_similar``, ..., ``f1_dissimilar``; NaN where it is 0 / 0.
    """
    said = logits[..., 1] > logits[..., 0]
    hits, positives = said & same, torch.stack([said, same])
    quality = {"accuracy": ((said == same) & counted).sum() / counted.sum()}
    for kind, hit, both in (("similar", hits, positives), ("dissimilar", ~(said | same), ~positives)):
        hit = (hit & counted).sum()
        predicted, true = (both & counted).flatten(1).sum(1)
        quality[f"precision_{kind}"] = hit / predicted
        quality[f"recall_{kind}"] = hit / true
        quality[f"f1_{kind}"] = 2 * hit / (predicted + true)
    return quality
