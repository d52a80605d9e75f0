"""Complement loss: base, novel and ignored regions together are the whole image (SimFormer; method section 4.3)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from weakshot_seg.losses.functional import mask_losses
from weakshot_seg.losses.lattice import PixelLattice
from weakshot_seg.losses.term import LossTerm
from weakshot_seg.losses.upsampled import upsampled_mask_losses
from weakshot_seg.structures import IGNORE, Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.compiling import Compilable
from weakshot_seg.utils.distributed import mean_over_ranks

IGNORE_LOGIT = -2.9444
"""Logit of the constant "ignore" plane: probability 0.05."""


class ComplementLoss(LossTerm):
    """The union of the novel masks (and a faint ignore plane) is supervised with the complement of the base masks.

    Args:
        weight: weight of the term (0.15 COCO-Stuff-10K, 0.2 ADE20K).
        focal_weight: weight of the focal part.
        dice_weight: weight of the dice part.
        layers: decoder layers.
        stride: take every n-th row and column, from a random start; 1 = all pixels, as the paper.
    """

    def __init__(
        self,
        weight: float = 0.2,
        focal_weight: float = 20.0,
        dice_weight: float = 1.0,
        layers: Literal["all", "last"] = "all",
        stride: int = 1,
    ) -> None:
        super().__init__(weight, layers, {"focal": focal_weight, "dice": dice_weight})
        self.stride = stride
        self.mask_losses = Compilable(mask_losses)

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Mean over the images with masks that have classes known by tag only; 0 when there are none.

        In an image without any mask, the complement of its base classes is not known.
        """
        slots = targets.tag_slots  # [B, S]
        queries = assignment.queries.gather(2, slots.clamp(min=0).expand(len(assignment.queries), -1, -1))  # [L, B, S]
        logits = output.masks_of(queries)  # [L, B, S, h, w]
        logits = logits.masked_fill((slots < 0)[..., None, None], IGNORE_LOGIT)
        logits = F.pad(logits, (0, 0, 0, 0, 0, 1), value=IGNORE_LOGIT)  # the plane is one more mask
        lattice = PixelLattice.draw(targets.label_map.shape[-2:], self.stride)
        complement = lattice.pick((targets.label_map == IGNORE) & ~targets.padding)
        focal, dice = upsampled_mask_losses(logits, complement, lattice.resize(logits), self.mask_losses)
        counted = (targets.tagged.any(1) & targets.has_masks).float()
        count = mean_over_ranks(counted.sum()) + 1e-5
        return {"focal": (focal * counted).sum() / count, "dice": (dice * counted).sum() / count}
