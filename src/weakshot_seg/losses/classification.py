"""Proposal classification: learnable from tags, so for base and novel classes alike (method section 4.1)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from weakshot_seg.losses.term import LossTerm
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.distributed import mean_over_ranks


class ClassificationLoss(LossTerm):
    """Cross-entropy over K+1 classes; proposals without a target are "no object".

    In an image without masks they are that or any base class without a tag (of which nothing is known there).

    Args:
        weight: weight of the term.
        no_object: class weight of "no object"; the other classes weigh 1.
        layers: decoder layers.
    """

    def __init__(self, weight: float = 1.0, no_object: float = 0.1, layers: Literal["all", "last"] = "all") -> None:
        super().__init__(weight, layers, {"cross_entropy": 1.0})
        self.no_object = no_object

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Weighted mean over all proposals of the (global) batch."""
        logits = output.class_logits  # [L, B, Q, K+1]
        num_classes = logits.shape[-1] - 1
        queries = assignment.queries  # [L, B, N]
        classes = targets.classes.expand_as(queries)
        # padding slots write into one column too many, which is cut off
        column = torch.where(classes >= 0, queries, logits.shape[2])
        target = torch.full((*logits.shape[:2], logits.shape[2] + 1), num_classes, device=logits.device)
        target = target.scatter(2, column, classes)[..., :-1]
        weight = torch.where(target == num_classes, self.no_object, 1.0)
        log_probs = logits.log_softmax(-1)
        # without masks, a proposal without a target may well have found a base class that has no tag
        allowed = F.pad(targets.unknown, (0, 1), value=True)[:, None]  # [B, 1, K+1]
        no_target = log_probs.masked_fill(~allowed, -torch.inf).logsumexp(-1)
        chosen = log_probs.gather(-1, target[..., None])[..., 0]
        loss = -torch.where(target == num_classes, no_target, chosen) * weight  # [L, B, Q]
        normaliser = mean_over_ranks(weight.sum((1, 2)))  # [L]
        return {"cross_entropy": (loss.sum((1, 2)) / normaliser).sum()}
