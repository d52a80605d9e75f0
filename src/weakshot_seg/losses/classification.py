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
        loss = F.cross_entropy(logits.movedim(-1, 1), target, reduction="none") * weight
        normaliser = mean_over_ranks(weight.sum((1, 2)))  # [L]
        return {"cross_entropy": (loss.sum((1, 2)) / normaliser).sum()}
