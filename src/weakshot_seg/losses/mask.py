"""Mask loss on the proposals of classes with masks (method section 4.2)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from weakshot_seg.losses.functional import mask_losses
from weakshot_seg.losses.lattice import PixelLattice
from weakshot_seg.losses.term import LossTerm
from weakshot_seg.losses.upsampled import upsampled_mask_losses
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.compiling import Compilable
from weakshot_seg.utils.distributed import mean_over_ranks


class MaskLoss(LossTerm):
    """Focal and dice loss of the assigned mask logits, bilinearly upsampled to the target size.

    Args:
        weight: weight of the term.
        focal_weight: weight of the focal part.
        dice_weight: weight of the dice part.
        layers: decoder layers.
        stride: take every n-th row and column of the target, from a random start; 1 = all pixels, as the paper.
    """

    def __init__(
        self,
        weight: float = 1.0,
        focal_weight: float = 20.0,
        dice_weight: float = 1.0,
        layers: Literal["all", "last"] = "all",
        stride: int = 1,
    ) -> None:
        super().__init__(weight, layers, {"focal": focal_weight, "dice": dice_weight})
        self.stride = stride
        self.mask_losses = Compilable(mask_losses)

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Sum over targets with a mask, divided by their number (mean over ranks, at least 1)."""
        image, slot = targets.mask_index
        lattice = PixelLattice.draw(targets.label_map.shape[-2:], self.stride)
        logits = output.masks_of(assignment.queries)[:, image, slot]  # [L, M, h, w]
        masks = lattice.pick(targets.label_map)[image] == targets.classes[image, slot][:, None, None]
        focal, dice = upsampled_mask_losses(logits[:, :, None], masks, lattice.resize(logits), self.mask_losses)
        count = mean_over_ranks(logits.new_full((), len(image))).clamp(min=1)
        return {"focal": focal.sum() / count, "dice": dice.sum() / count}
