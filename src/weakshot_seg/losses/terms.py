"""What a loss term is, and those of proposals: classes, masks, complement, absence (method sections 4.1 to 4.3).

A new term is a subclass of :class:`LossTerm` and one entry in ``loss.terms``.
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from weakshot_seg.errors import ConfigError
from weakshot_seg.losses.functional import StridedGrid, mask_losses, union_mask_losses, with_gradient
from weakshot_seg.structures import IGNORE, Assignment, SegOutput, WeakTargets
from weakshot_seg.utils.compiling import Compilable
from weakshot_seg.utils.ranges import Count, NonNegative

Layers = Literal["all", "last"]
"""Decoder layers of a term: all (deep supervision) or the last one."""

IGNORE_LOGIT = -2.9444
"""Logit of the constant "ignore" plane of the complement loss: probability 0.05."""


class LossTerm(nn.Module, ABC):
    """A term of the criterion: named parts, each with a weight, times the weight of the term.

    Args:
        weight: weight of the whole term.
        layers: ``all`` (deep supervision, parts are summed over layers) or ``last`` decoder layer.
        part_weights: weight of each part that ``forward`` returns.
    """

    def __init__(self, weight: float, layers: Layers, part_weights: dict[str, float]) -> None:
        super().__init__()
        self.weight = weight
        self.layers = layers
        self.part_weights = part_weights

    @abstractmethod
    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Unweighted scalar of each part, summed over the layers in ``output``."""

    def diagnostics(self) -> dict[str, Tensor]:
        """Scalars about the latest call that are no losses, by name; asked for only at the steps that are logged."""
        return {}


def mean_over_ranks(value: Tensor) -> Tensor:
    """Mean of ``value`` over all DDP ranks, without gradient; ``value`` itself in a single process.

    A loss summed on each rank and divided by the mean normaliser gives, after DDP's averaging of gradients, the loss of
    the union batch.
    """
    value = value.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


class ClassificationLoss(LossTerm):
    """Cross-entropy over K+1 classes, for base and novel classes alike; proposals without a target are "no object".

    Of a class that may be in the image or not, nothing is taught: its class query weighs 0; a matched proposal without
    a target is "no object" or any such class.

    Args:
        weight, layers: see :class:`LossTerm`.
        no_object: class weight of "no object"; the other classes weigh 1.
    """

    def __init__(self, weight: NonNegative = 1.0, no_object: NonNegative = 0.1, layers: Layers = "all") -> None:
        super().__init__(weight, layers, {"cross_entropy": 1.0})
        self.no_object = no_object

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Weighted mean over all proposals of the (global) batch; 0 if all weigh 0."""
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
        chosen = log_probs.gather(-1, target[..., None])[..., 0]
        if assignment.by_class:
            weight = weight.masked_fill(targets.unknown, 0.0)
        else:  # a proposal without a target may well have found an unknown class
            allowed = F.pad(targets.unknown, (0, 1), value=True)[:, None]  # [B, 1, K+1]
            no_target = log_probs.masked_fill(~allowed, -torch.inf).logsumexp(-1)
            chosen = torch.where(target == num_classes, no_target, chosen)
        loss = -chosen * weight  # [L, B, Q]
        normaliser = mean_over_ranks(weight.sum((1, 2))).clamp(min=torch.finfo(weight.dtype).tiny)  # [L]
        return {"cross_entropy": (loss.sum((1, 2)) / normaliser).sum()}


class MaskTerm(LossTerm):
    """A term with two parts, the focal and the dice loss of masks on the pixels of a grid.

    Args:
        weight, focal_weight, dice_weight: of the term and its parts.
        layers: decoder layers.
        stride: take every n-th row and column of the target, from a random start; 1 = all pixels, as the paper.
    """

    def __init__(
        self,
        weight: NonNegative = 1.0,
        focal_weight: NonNegative = 20.0,
        dice_weight: NonNegative = 1.0,
        layers: Layers = "all",
        stride: Count = 1,
    ) -> None:
        super().__init__(weight, layers, {"focal": focal_weight, "dice": dice_weight})
        self.stride = stride
        self.mask_losses = Compilable(mask_losses)


class MaskLoss(MaskTerm):
    """Of the mask logits assigned to classes with masks, bilinearly upsampled to the target size."""

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Sum over targets with a mask, divided by their number (mean over ranks, at least 1)."""
        image, slot = targets.mask_index
        grid = StridedGrid.draw(targets.label_map.shape[-2:], self.stride)
        logits = output.masks_of(assignment.queries)[:, image, slot]  # [L, M, h, w]
        masks = grid.pick(targets.label_map)[image] == targets.classes[image, slot][:, None, None]
        focal, dice = union_mask_losses(logits[:, :, None], masks, grid, self.mask_losses)
        count = mean_over_ranks(logits.new_full((), len(image))).clamp(min=1)
        return {"focal": focal.sum() / count, "dice": dice.sum() / count}


class ComplementLoss(MaskTerm):
    """Base, novel and ignored regions are the whole image: the union of the novel masks is the rest of the base masks.

    The union is with a faint constant "ignore" plane (SimFormer; method section 4.3), and of all classes that an
    unlabelled pixel can be of: those known by tag only, which are the novel ones in the paper, and the unknown ones.
    The paper weighs the term 0.15 on COCO-Stuff-10K and 0.2 on ADE20K.
    """

    def forward(self, output: SegOutput, targets: WeakTargets, assignment: Assignment) -> dict[str, Tensor]:
        """Mean over the images with mask classes that have such classes; 0 when there are none.

        An image without a mask class has no complement.
        """
        layers, slots = len(assignment.queries), targets.tag_slots  # [B, S]
        queries = assignment.queries.gather(2, slots.clamp(min=0).expand(layers, -1, -1))  # [L, B, S]
        counted = targets.unlabelled.any(1) & targets.annotated.any(1)
        if assignment.by_class:
            slots = torch.cat([slots, targets.unknown_classes], 1)
            queries = torch.cat([queries, targets.unknown_classes.clamp(min=0).expand(layers, -1, -1)], 2)
        else:  # no proposal stands for an unknown class that may cover the rest
            counted = counted & ~targets.unknown.any(1)
        logits = output.masks_of(queries)  # [L, B, S, h, w]
        logits = logits.masked_fill((slots < 0)[..., None, None], IGNORE_LOGIT)
        logits = F.pad(logits, (0, 0, 0, 0, 0, 1), value=IGNORE_LOGIT)  # the plane is one more mask
        grid = StridedGrid.draw(targets.label_map.shape[-2:], self.stride)
        complement = grid.pick((targets.label_map == IGNORE) & ~targets.padding)
        focal, dice = union_mask_losses(logits, complement, grid, self.mask_losses)
        share = counted.float()
        count = mean_over_ranks(share.sum()) + 1e-5
        return {"focal": (focal * share).sum() / count, "dice": (dice * share).sum() / count}


class AbsenceLoss(LossTerm):
    """Focal loss of the masks of absent classes against nothing (ours, for class queries; not in the paper).

    Image-level labels say which classes are *not* there, for every pixel. With one query per class this is pixel
    supervision for base and novel classes alike, which the mask loss (classes with pixels only) never gives.
    """

    def __init__(self, weight: NonNegative = 20.0, layers: Layers = "all") -> None:
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
        logits = output.mask_logits  # [L, B, Q = K, h, w]
        losses = mask_losses(logits.detach(), torch.zeros_like(logits[0, 0, 0]))
        focal = with_gradient(losses.focal, logits, losses.gradients[0])
        count = mean_over_ranks(present.sum().float()).clamp(min=1)
        return {"focal": (focal * targets.absent).sum() / count}
