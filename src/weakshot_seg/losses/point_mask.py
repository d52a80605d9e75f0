"""Mask loss on sampled points (PointRend, arXiv 1912.08193; as Mask2Former, not in the paper)."""

from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor

from weakshot_seg.losses.functional import with_gradient
from weakshot_seg.losses.terms import Layers, MaskTerm, mean_over_ranks
from weakshot_seg.structures import Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.ranges import Count, NonNegative, Share


class PointMaskLoss(MaskTerm):
    """Focal and dice loss at points drawn anew for every mask and decoder layer, more of them where it is undecided.

    Args:
        weight, focal_weight, dice_weight, layers: see :class:`MaskTerm`.
        num_points: points per mask (12544 = 112 x 112 as in Mask2Former).
        oversample: times ``num_points`` are drawn to choose the undecided ones from; at least 1.
        importance: share of the points that are the undecided ones; the rest is uniform.
    """

    def __init__(
        self,
        weight: NonNegative = 1.0,
        focal_weight: NonNegative = 20.0,
        dice_weight: NonNegative = 1.0,
        layers: Layers = "all",
        num_points: Count = 12544,
        oversample: Annotated[float, Ge(1), Le(1000)] = 3.0,
        importance: Share = 0.75,
    ) -> None:
        super().__init__(weight, focal_weight, dice_weight, layers)
        self.num_points, self.oversample, self.importance = num_points, oversample, importance

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Sum over targets with a mask, divided by their number (mean over ranks, at least 1)."""
        image, slot = targets.mask_index
        logits = output.masks_of(assignment.queries)[:, image, slot].flatten(0, 1)  # [LM, h, w]
        points = self.draw(logits.detach())
        image = image.repeat(len(assignment.queries))
        classes = targets.classes[targets.mask_index[0], slot].repeat(len(assignment.queries))
        masks = labels_at(targets.label_map, image, points) == classes[:, None]
        values = logits_at(logits, points)  # [LM, P]
        losses = self.mask_losses(values.detach()[:, None], masks[:, None])
        count = mean_over_ranks(logits.new_full((), targets.mask_index.shape[1])).clamp(min=1)
        return {
            "focal": with_gradient(losses.focal, values, losses.gradients[0, :, 0]).sum() / count,
            "dice": with_gradient(losses.dice, values, losses.gradients[1, :, 0]).sum() / count,
        }

    def draw(self, logits: Tensor) -> Tensor:
        """Points ``[M, P, 2]``, (x, y) in [0, 1), for masks of logits ``[M, h, w]``."""
        undecided = round(self.num_points * self.importance)
        candidates = torch.rand(len(logits), round(self.num_points * self.oversample), 2, device=logits.device)
        nearest = logits_at(logits, candidates).abs().topk(undecided, dim=1, largest=False).indices
        uniform = torch.rand(len(logits), self.num_points - undecided, 2, device=logits.device)
        return torch.cat([candidates.gather(1, nearest[..., None].expand(-1, -1, 2)), uniform], dim=1)


def logits_at(logits: Tensor, points: Tensor) -> Tensor:
    """Logits ``[M, h, w]`` at points ``[M, P, 2]``, bilinear as resizing with align_corners=False: float ``[M, P]``."""
    grid = 2 * points[:, :, None].to(logits.dtype) - 1
    sampled = F.grid_sample(logits[:, None], grid, padding_mode="border", align_corners=False)
    return sampled[:, 0, :, 0]


def labels_at(label_map: Tensor, image: Tensor, points: Tensor) -> Tensor:
    """Labels ``[M, P]`` of the pixels of ``label_map`` (``[B, H, W]``) in which points of images ``[M]`` lie."""
    height, width = label_map.shape[-2:]
    x, y = (points * points.new_tensor([width, height])).long().unbind(-1)
    # a point just below 1 may be rounded up to the border
    return label_map[image[:, None], y.clamp(max=height - 1), x.clamp(max=width - 1)]
