"""Absence loss: a class that is not in the image has an empty mask (ours, for class queries; not in the paper)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.functional import empty_focal
from weakshot_seg.losses.term import LossTerm
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.distributed import mean_over_ranks


class AbsenceLoss(LossTerm):
    """Focal loss of the masks of absent classes against nothing.

    Image-level labels say which classes are *not* there, for every pixel. With one query per class this is pixel
    supervision for base and novel classes alike, which the mask loss (present base classes only) never gives.

    Args:
        weight: weight of the term.
        layers: decoder layers.
    """

    def __init__(self, weight: float = 20.0, layers: Literal["all", "last"] = "all") -> None:
        super().__init__(weight, layers, {"focal": 1.0})

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Sum over absent classes, divided by the number of present ones (mean over ranks, at least 1).

        Raises:
            ConfigError: the proposals are not assigned by class.
        """
        if not assignment.by_class:
            raise ConfigError(
                "loss.terms.absence needs class queries: set loss/assignment=class_queries, model.num_queries=null "
                "or drop the term with ~loss.terms.absence"
            )
        present = targets.with_mask | targets.tagged  # [B, K]
        absent = ~(present | targets.unknown)
        focal = empty_focal(output.mask_logits)  # [L, B, Q = K]
        count = mean_over_ranks(present.sum().float()).clamp(min=1)
        return {"focal": (focal * absent).sum() / count}
