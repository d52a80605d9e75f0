"""Masks of the classes that an image leaves open, as a teacher sees them (ours, not in the paper)."""

import torch
from torch import Tensor

from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.functional import mask_losses, with_gradient
from weakshot_seg.losses.terms import Layers, LossTerm, mean_over_ranks
from weakshot_seg.structures import IGNORE, Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.ranges import NonNegative


class PseudoMaskLoss(LossTerm):
    """Focal and dice loss of class queries against the teacher's map, on the pixels of which it is sure.

    In an image with unknown classes these pixels teach the queries of all classes that a pixel can be of there, tagged
    or unknown; dice only those that have some.
    """

    def __init__(
        self,
        weight: NonNegative = 1.0,
        focal_weight: NonNegative = 20.0,
        dice_weight: NonNegative = 1.0,
        layers: Layers = "all",
    ) -> None:
        super().__init__(weight, layers, {"focal": focal_weight, "dice": dice_weight})

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Sum over classes, divided by the number of masks, true ones and the teacher's (mean over ranks, at least 1).

        Raises:
            ConfigError: the proposals are not assigned by class.
        """
        if not assignment.by_class:
            raise ConfigError(
                "loss.terms.pseudo_masks needs class queries: set loss/assignment=class_queries, "
                "model.num_queries=null or loss/teacher=none"
            )
        logits, labels = output.mask_logits, targets.pseudo_map  # [L, B, Q = K, h, w], [B, h, w]
        if labels is None:
            labels = torch.full_like(logits[0, :, 0], IGNORE, dtype=torch.uint8)
        classes = torch.arange(logits.shape[2], device=logits.device)
        masks, known = (
            labels[:, None] == classes[:, None, None],
            (labels != IGNORE)[:, None],
        )  # [B, K, h, w], [B, 1, h, w]
        losses = mask_losses(logits.detach(), masks, known)
        focal = with_gradient(losses.focal, logits, losses.gradients[0])  # [L, B, K]
        dice = with_gradient(losses.dice, logits, losses.gradients[1])
        taught = targets.unlabelled & known.flatten(1).any(1, keepdim=True)  # [B, K]
        found = taught & masks.flatten(2).any(2)
        count = mean_over_ranks((found.sum() + targets.with_mask.sum()).float()).clamp(min=1)
        return {"focal": (focal * taught).sum() / count, "dice": (dice * found).sum() / count}
